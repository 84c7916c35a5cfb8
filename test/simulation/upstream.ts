// The dependency as the simulation sees it: endpoints that work, dawdle, fail, reset, refuse or hang, and change their minds.

import type { Random } from '../../runtime/random.ts';
import type { EndpointLoad } from '../../sidecar/balance/pick.ts';
import type { VirtualTime } from './virtual-time.ts';

const MODES = [
  'Healthy',
  'Healthy',
  'Healthy',
  'Slow',
  'Failing',
  'Failing',
  'Resetting',
  'Refusing',
  'Hanging',
] as const;
type Mode = (typeof MODES)[number];

/** What an attempt is told, each at most once and nothing after `abort`. */
export interface AttemptEvents {
  /** The connection was refused: no byte was sent. */
  onRefused(): void;
  /** The connection was lost; before the head, or (`afterHead`) within the content. */
  onReset(afterHead: boolean): void;
  onHead(status: number): void;
  onEnd(): void;
}

export class SimulatedEndpoint implements EndpointLoad {
  inFlight = 0;
  mode: Mode = 'Healthy';
}

/** One attempt under way; `abort` closes its connection. */
export class SimulatedAttempt {
  #aborted = false;

  get aborted(): boolean {
    return this.#aborted;
  }

  abort(): void {
    this.#aborted = true;
  }
}

export class SimulatedUpstream {
  endpoints: SimulatedEndpoint[];
  /** How often each request reached an endpoint that may have executed it. */
  readonly executions = new Map<number, number>();
  readonly #time: VirtualTime;
  readonly #random: Random;

  constructor(time: VirtualTime, random: Random, count: number) {
    this.#time = time;
    this.#random = random;
    this.endpoints = Array.from({ length: count }, () => new SimulatedEndpoint());
  }

  /** All endpoints change together (an outage), or one of them does, or one is replaced (a rolling update). */
  disturb(): void {
    const mode = this.#pick(MODES);
    const kind = this.#random();
    if (kind < 0.4) {
      for (const endpoint of this.endpoints) endpoint.mode = mode;
    } else if (kind < 0.8) {
      const endpoint = this.endpoints[this.#below(this.endpoints.length)];
      if (endpoint !== undefined) endpoint.mode = mode;
    } else {
      this.endpoints = this.endpoints.toSpliced(this.#below(this.endpoints.length), 1, new SimulatedEndpoint());
    }
  }

  heal(): void {
    for (const endpoint of this.endpoints) endpoint.mode = 'Healthy';
  }

  /** Sends a request to an endpoint. */
  send(requestId: number, endpoint: SimulatedEndpoint, events: AttemptEvents): SimulatedAttempt {
    const attempt = new SimulatedAttempt();
    const later = (delayMs: number, run: () => void) =>
      this.#time.after(delayMs, () => {
        if (!attempt.aborted) run();
      });
    const connectMs = this.#random() * 3;
    if (endpoint.mode === 'Refusing') {
      later(connectMs, () => events.onRefused());
      return attempt;
    }
    this.executions.set(requestId, (this.executions.get(requestId) ?? 0) + 1);
    this.#answer(endpoint.mode, connectMs, later, events);
    return attempt;
  }

  #answer(
    mode: Mode,
    connectMs: number,
    later: (delayMs: number, run: () => void) => void,
    events: AttemptEvents,
  ): void {
    if (mode === 'Hanging') return;
    const headMs = connectMs + this.#random() * (mode === 'Slow' ? 3000 : 30);
    if (mode === 'Resetting' && this.#random() < 0.8) {
      later(headMs, () => events.onReset(false));
      return;
    }
    const status =
      mode === 'Failing'
        ? this.#pick([500, 502, 503, 504, 429])
        : this.#random() < 0.01
          ? 500
          : this.#pick([200, 200, 200, 404]);
    later(headMs, () => {
      events.onHead(status);
      const bodyMs = this.#random() * 20;
      if (mode === 'Resetting') later(bodyMs, () => events.onReset(true));
      else later(bodyMs, () => events.onEnd());
    });
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #pick<T>(values: readonly [T, ...T[]]): T {
    return values[this.#below(values.length)] ?? values[0];
  }
}
