// One stream, kept alive: carries out what the machine decides, and hands every line to a follower.
import { PLAN_LIMITS } from '../../plan/plan.ts';
import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import { LineSplitter, LineTooLongError } from '../../runtime/line-splitter.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { OperatorConnection } from './operator-client.ts';
import {
  type FailureReason,
  type StreamAction,
  type StreamEvent,
  StreamMachine,
  type StreamSettings,
} from './stream-machine.ts';

/** What a line meant for the stream that brought it. */
export type LineVerdict =
  | { kind: 'heard' }
  | { kind: 'confirmed' }
  /** The stream cannot be used any further. */
  | { kind: 'failed'; reason: FailureReason; detail: string };

export interface StreamFollower {
  readonly stream: 'plan' | 'endpoints';
  /** Path with the version to go on from. */
  path(): string;
  /** Never throws. */
  onLine(line: string): LineVerdict;
  /** A line grew beyond its bound; `head` is how it begins. */
  onOversizeLine(head: string, message: string): void;
  onUp(): void;
  onDown(): void;
}

export const STREAM_SETTINGS: StreamSettings = {
  initialMs: 200,
  maxMs: 10_000,
  connectTimeoutMs: 10_000,
  silenceMs: 3 * HEARTBEAT_INTERVAL_MS,
  stableAfterMs: 10_000,
};

/** Of lines on one stream, and the time they are counted over; pods come and go a few hundred times a second at most. */
const MAX_LINES = 20_000;
const MAX_LINES_WITHIN_MS = 1_000;

export interface StreamClientOptions {
  follower: StreamFollower;
  client: Pick<OperatorConnection, 'open'>;
  settings: StreamSettings;
  clock: Clock;
  random: Random;
  log: Logger;
}

const REPORTS: Record<FailureReason, string> = {
  unreachable: 'the operator cannot be reached; what was applied last stays in force',
  untrusted: 'the operator is not trusted; its certificate must come from the CA bundle of this pod',
  'no-token': 'there is no token to show to the operator',
  unauthorized: 'the operator does not accept the token of this pod',
  forbidden: 'the operator refuses this pod',
  'not-found': 'the operator knows no plan for this pod',
  unavailable: 'the operator cannot answer at the moment',
  'unexpected-answer': 'the operator answered what it should not; is this its address?',
  silent: 'the operator fell silent',
  lost: 'the connection to the operator was lost',
  'bad-frame': 'the operator sent a frame that cannot be used',
  ended: 'the operator ended the stream',
};

export class StreamClient {
  readonly #options: StreamClientOptions;
  readonly #machine: StreamMachine;
  #connection: { close(): void } | null = null;
  #cancelTimer: () => void = () => {};
  #timerAtMs = Number.POSITIVE_INFINITY;
  #lines = 0;
  #linesSinceMs = Number.NEGATIVE_INFINITY;

  constructor(options: StreamClientOptions) {
    this.#options = options;
    this.#machine = new StreamMachine(options.settings, options.random);
  }

  get isUp(): boolean {
    return this.#machine.isUp;
  }

  start(): void {
    this.#handle({ kind: 'start' });
  }

  stop(): void {
    this.#handle({ kind: 'stop' });
  }

  #handle(event: StreamEvent): void {
    for (const action of this.#machine.handle(event, this.#options.clock.monotonicMs())) this.#perform(action);
    this.#setTimer();
  }

  #perform(action: StreamAction): void {
    const { follower, log } = this.#options;
    switch (action.kind) {
      case 'connect':
        this.#connect();
        return;
      case 'disconnect':
        this.#connection?.close();
        this.#connection = null;
        return;
      case 'up':
        log.info({ stream: follower.stream }, 'stream is up');
        follower.onUp();
        return;
      case 'down':
        follower.onDown();
        return;
      case 'report': {
        const fields = { stream: follower.stream, reason: action.reason, detail: action.detail };
        if (action.reason === 'ended') log.info(fields, REPORTS.ended);
        else log.warn(fields, REPORTS[action.reason]);
      }
    }
  }

  #connect(): void {
    const { client, follower } = this.#options;
    const splitter = new LineSplitter(PLAN_LIMITS.frameBytes);
    const connection = client.open(follower.path(), {
      opened: () => {
        if (this.#connection === connection) this.#handle({ kind: 'opened' });
      },
      chunk: (bytes) => {
        if (this.#connection === connection) this.#read(splitter, bytes, () => this.#connection === connection);
      },
      failed: (error) => {
        if (this.#connection !== connection) return;
        const cut =
          splitter.pendingBytes > 0 ? `, in the middle of a frame (${splitter.pendingBytes} bytes of it had come)` : '';
        this.#handle({ kind: 'failed', reason: error.reason, detail: error.message + cut });
      },
    });
    this.#connection = connection;
  }

  #read(splitter: LineSplitter, bytes: Buffer, isCurrent: () => boolean): void {
    const { follower } = this.#options;
    let lines: string[];
    try {
      lines = splitter.push(bytes);
    } catch (error) {
      const { head, message } = error as LineTooLongError;
      follower.onOversizeLine(head, message);
      this.#handle({ kind: 'failed', reason: 'bad-frame', detail: message });
      return;
    }
    // A long frame arrives over many chunks: each is a sign of life.
    if (lines.length === 0) this.#handle({ kind: 'heard' });
    if (this.#isFlood(lines.length)) {
      const detail = `more than ${MAX_LINES} frames within ${MAX_LINES_WITHIN_MS} ms`;
      this.#handle({ kind: 'failed', reason: 'bad-frame', detail });
      return;
    }
    for (const line of lines) {
      if (!isCurrent()) return;
      this.#handle(follower.onLine(line));
    }
  }

  #isFlood(lines: number): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#linesSinceMs >= MAX_LINES_WITHIN_MS) {
      this.#linesSinceMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += lines;
    return this.#lines > MAX_LINES;
  }

  #setTimer(): void {
    const deadlineMs = this.#machine.deadlineMs;
    // The deadline of a live stream moves with every line: a timer that fires early finds out and is set again.
    if (
      this.#timerAtMs <= deadlineMs &&
      this.#timerAtMs !== Number.POSITIVE_INFINITY &&
      deadlineMs !== Number.POSITIVE_INFINITY
    )
      return;
    this.#cancelTimer();
    this.#timerAtMs = deadlineMs;
    if (deadlineMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options;
    this.#cancelTimer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#handle({ kind: 'timer' });
    });
  }
}
