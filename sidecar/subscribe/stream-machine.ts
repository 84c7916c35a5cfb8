// When a stream to the operator connects, counts as up, is given up, and tries again. PURE: events and the time go in, actions come out.
//
//              connect                 200                first frame that says what is so
//   Waiting ────────────▶ Connecting ────────▶ Open ─────────────────────────────────────▶ Up
//      ▲                      │                  │                                          │
//      └──────────────────────┴──────────────────┴──── failed, ended, silent ◀──────────────┘
//
// "Up" means that the state we hold was confirmed by the operator on this very connection; a connection that only beats is not up. A
// stream that was up for a while starts its backoff anew, one that fails each time soon after coming up does not.
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { type BackoffSettings, backoffMs } from './backoff.ts';

/** Why a stream is not up; what people see, and what decides whether there is something new to tell them. */
export type FailureReason =
  | 'unreachable'
  | 'untrusted'
  | 'no-token'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'unavailable'
  | 'unexpected-answer'
  | 'silent'
  | 'lost'
  | 'bad-frame'
  | 'ended';

export interface StreamSettings extends BackoffSettings {
  /** From the connect to the head of the response. */
  connectTimeoutMs: number;
  /** From the last line to giving the connection up. */
  silenceMs: number;
  /** Up this long, the backoff starts anew. */
  stableAfterMs: number;
}

export type StreamEvent =
  | { kind: 'start' }
  | { kind: 'opened' }
  /** A line arrived. */
  | { kind: 'heard' }
  /** A line arrived that makes what we hold what the operator has. */
  | { kind: 'confirmed' }
  | { kind: 'failed'; reason: FailureReason; detail: string }
  | { kind: 'timer' }
  | { kind: 'stop' };

export type StreamAction =
  | { kind: 'connect' }
  | { kind: 'disconnect' }
  | { kind: 'up'; afterFailure: boolean }
  | { kind: 'down'; reason: FailureReason }
  /** Only when the reason is another than last time. */
  | { kind: 'report'; reason: FailureReason; detail: string };

type State = 'idle' | 'waiting' | 'connecting' | 'open' | 'up';

export class StreamMachine {
  readonly #settings: StreamSettings;
  readonly #random: Random;
  #state: State = 'idle';
  #deadlineMs: MonotonicMs = Number.POSITIVE_INFINITY;
  #upSinceMs: MonotonicMs = 0;
  #failures = 0;
  #reported: FailureReason | null = null;

  constructor(settings: StreamSettings, random: Random) {
    this.#settings = settings;
    this.#random = random;
  }

  /** When `timer` is due; infinity when nothing waits. */
  get deadlineMs(): MonotonicMs {
    return this.#deadlineMs;
  }

  get isUp(): boolean {
    return this.#state === 'up';
  }

  handle(event: StreamEvent, nowMs: MonotonicMs): StreamAction[] {
    switch (event.kind) {
      case 'start':
        return this.#state === 'idle' ? this.#connect(nowMs) : [];
      case 'opened':
        if (this.#state === 'connecting') this.#enter('open', nowMs + this.#settings.silenceMs);
        return [];
      case 'heard':
        if (this.#state === 'open' || this.#state === 'up') this.#deadlineMs = nowMs + this.#settings.silenceMs;
        return [];
      case 'confirmed':
        return this.#confirm(nowMs);
      case 'failed':
        return this.#fail(event.reason, event.detail, nowMs);
      case 'timer':
        return this.#onTimer(nowMs);
      case 'stop':
        break;
    }
    return this.#stop();
  }

  #enter(state: State, deadlineMs: MonotonicMs): void {
    this.#state = state;
    this.#deadlineMs = deadlineMs;
  }

  #connect(nowMs: MonotonicMs): StreamAction[] {
    this.#enter('connecting', nowMs + this.#settings.connectTimeoutMs);
    return [{ kind: 'connect' }];
  }

  #confirm(nowMs: MonotonicMs): StreamAction[] {
    if (this.#state !== 'open' && this.#state !== 'up') return [];
    const wasUp = this.#state === 'up';
    this.#enter('up', nowMs + this.#settings.silenceMs);
    if (wasUp) return [];
    this.#upSinceMs = nowMs;
    const afterFailure = this.#reported !== null;
    this.#reported = null;
    return [{ kind: 'up', afterFailure }];
  }

  #fail(reason: FailureReason, detail: string, nowMs: MonotonicMs): StreamAction[] {
    if (this.#state === 'idle' || this.#state === 'waiting') return [];
    const wasUp = this.#state === 'up';
    if (wasUp && nowMs - this.#upSinceMs >= this.#settings.stableAfterMs) this.#failures = 0;
    this.#failures += 1;
    this.#enter('waiting', nowMs + backoffMs(this.#settings, this.#failures, this.#random));
    const actions: StreamAction[] = [{ kind: 'disconnect' }];
    if (wasUp) actions.push({ kind: 'down', reason });
    if (reason !== this.#reported) {
      this.#reported = reason;
      actions.push({ kind: 'report', reason, detail });
    }
    return actions;
  }

  #onTimer(nowMs: MonotonicMs): StreamAction[] {
    if (nowMs < this.#deadlineMs) return [];
    switch (this.#state) {
      case 'idle':
        return [];
      case 'waiting':
        return this.#connect(nowMs);
      case 'connecting':
        return this.#fail('unreachable', `no answer within ${this.#settings.connectTimeoutMs} ms`, nowMs);
      case 'open':
      case 'up':
        break;
    }
    // A process that was paused finds its timer due before it could read what had arrived meanwhile: it gets time to read first.
    const graceMs = this.#settings.silenceMs / 3;
    if (nowMs - this.#deadlineMs > graceMs) {
      this.#deadlineMs = nowMs + graceMs;
      return [];
    }
    return this.#fail('silent', `nothing was heard for ${this.#settings.silenceMs} ms, not even a heartbeat`, nowMs);
  }

  #stop(): StreamAction[] {
    const state = this.#state;
    this.#enter('idle', Number.POSITIVE_INFINITY);
    return state === 'idle' || state === 'waiting' ? [] : [{ kind: 'disconnect' }];
  }
}
