// An open loop over keep-alive connections: requests go out when they are due, not when the one before was answered.
import { connect, type Socket } from 'node:net';
import type { LoadSummary } from '../load.ts';
import { AnswerReader } from './answer.ts';
import { keepPace, nowMicros } from './pacer.ts';
import { type Rate, Schedule } from './schedule.ts';

const MICROS = 1e6;
/** For connections to be there and the pacer to have started. */
const START_AFTER_MICROS = 100_000;
const READ_BYTES = 65_536;

export interface Target extends Rate {
  port: number;
  path: string;
  /** Since it was due. A request that takes longer makes the load count for nothing. */
  timeoutSeconds: number;
}

/** Resolves when all requests are answered, or the time of the last one is over. */
export async function openLoop(target: Target): Promise<LoadSummary> {
  const loop = new OpenLoop(target);
  try {
    await loop.connect();
    await loop.run();
  } finally {
    loop.close();
  }
  return loop.summary();
}

class OpenLoop {
  readonly #target: Target;
  readonly #schedule: Schedule;
  readonly #request: Buffer;
  readonly #sockets: (Socket | undefined)[] = [];
  #startMicros = 0;
  #endMicros = 0;
  #bytes = 0;
  #socketErrors = 0;
  #badStatuses = 0;
  #finish: () => void = () => undefined;

  constructor(target: Target) {
    this.#target = target;
    this.#schedule = new Schedule(target);
    this.#request = Buffer.from(`GET ${target.path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n\r\n`);
  }

  async connect(): Promise<void> {
    const { connections } = this.#target;
    await Promise.all(Array.from({ length: connections }, (_, connection) => this.#connectOne(connection)));
  }

  #connectOne(connection: number): Promise<void> {
    const { port } = this.#target;
    const answer = new AnswerReader();
    const callback = (length: number, buffer: Uint8Array): boolean => {
      this.#read(connection, answer, buffer as Buffer, length);
      return true;
    };
    return new Promise((resolve, reject) => {
      const onread = { buffer: Buffer.allocUnsafe(READ_BYTES), callback };
      const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread }, resolve);
      socket.on('error', reject);
      socket.on('close', () => {
        if (this.#sockets[connection] === socket) this.#lost();
      });
      this.#sockets[connection] = socket;
    });
  }

  async run(): Promise<void> {
    const { requestsPerSecond } = this.#target;
    this.#startMicros = nowMicros() + START_AFTER_MICROS;
    const { total } = this.#schedule;
    const pace = { startMicros: this.#startMicros, intervalMicros: MICROS / requestsPerSecond, count: total };
    const finished = new Promise<void>((resolve) => (this.#finish = resolve));
    const pacer = keepPace(pace, () => this.#send());
    const lastMicros = START_AFTER_MICROS + this.#schedule.dueMicros(total) + this.#target.timeoutSeconds * MICROS;
    const timer = setTimeout(this.#finish, lastMicros / 1000);
    await finished;
    clearTimeout(timer);
    this.#endMicros = nowMicros();
    await pacer.terminate();
  }

  #send(): void {
    for (;;) {
      const connection = this.#schedule.next(nowMicros() - this.#startMicros);
      if (connection === undefined) return;
      this.#sockets[connection]?.write(this.#request);
    }
  }

  #read(connection: number, answer: AnswerReader, buffer: Buffer, length: number): void {
    this.#bytes += length;
    try {
      if (!answer.read(buffer.subarray(0, length))) return;
    } catch (error) {
      this.#sockets[connection]?.destroy(error as Error);
      return;
    }
    if (answer.status >= 400) this.#badStatuses++;
    this.#schedule.answered(connection, nowMicros() - this.#startMicros);
    if (this.#schedule.isDone) this.#finish();
    else if (answer.closes) this.#replace(connection);
    else this.#reuse(connection);
  }

  #reuse(connection: number): void {
    this.#schedule.free(connection, nowMicros() - this.#startMicros);
    this.#send();
  }

  /** Whoever closes a connection in good order has the client pay for the next one: its requests wait meanwhile. */
  #replace(connection: number): void {
    const old = this.#sockets[connection];
    this.#sockets[connection] = undefined;
    old?.destroy();
    this.#connectOne(connection).then(
      () => this.#reuse(connection),
      () => this.#lost(),
    );
  }

  #lost(): void {
    this.#socketErrors++;
    // Nothing of this run counts any more.
    this.#finish();
  }

  close(): void {
    for (const [connection, socket] of this.#sockets.entries()) {
      this.#sockets[connection] = undefined;
      socket?.destroy();
    }
  }

  summary(): LoadSummary {
    const schedule = this.#schedule;
    // Where nothing was recorded there are errors or timeouts, and the figures count for nothing.
    const nothing = { p50Micros: 0, p99Micros: 0, lateP99Micros: 0 };
    const { p50Micros, p99Micros, lateP99Micros } = schedule.latencies() ?? nothing;
    return {
      requests: schedule.answeredCount,
      durationMicros: this.#endMicros - this.#startMicros,
      bytes: this.#bytes,
      p50Micros,
      p99Micros,
      lateP99Micros,
      socketErrors: this.#socketErrors,
      timeouts: schedule.total - schedule.answeredCount + schedule.slowerThan(this.#target.timeoutSeconds * MICROS),
      badStatuses: this.#badStatuses,
    };
  }
}
