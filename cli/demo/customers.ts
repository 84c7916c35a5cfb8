// Customers: they come at fixed times, whether the shop answers or not, and go away when it takes too long.
import { Agent, request } from 'node:http';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import type { Measurement } from './measurements.ts';
import { CUSTOMERS_PER_SECOND, ORDER_EVERY, PATIENCE_MS } from './schedule.ts';

export interface Visit extends Measurement {
  order: boolean;
  /** HTTP status; 0 where none came in time. */
  status: number;
}

export class Customers {
  readonly visits: Visit[] = [];
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 512 });
  readonly #clock: Clock;
  #startMs = 0;
  #sent = 0;
  #latestMs = 0;
  #stop: () => void = () => undefined;
  #pending = 0;

  constructor(storefrontUrl: string, clock: Clock = systemClock) {
    this.#url = storefrontUrl;
    this.#clock = clock;
  }

  /** `startMs`: monotonic time of the first one; they come until `stop`. */
  start(startMs: number): void {
    this.#startMs = startMs;
    this.#next();
  }

  stop(): void {
    this.#stop();
  }

  close(): void {
    this.#stop();
    this.#agent.destroy();
  }

  /** Those who still wait for an answer. */
  get waiting(): number {
    return this.#pending;
  }

  /** By how many milliseconds the latest of them came after his time: by a few, unless this machine is too busy to send them. */
  get latestMs(): number {
    return this.#latestMs;
  }

  /** The next one comes at his own time, not some time after the last: a slow shop does not slow its customers down. */
  #next(): void {
    const dueMs = this.#startMs + (this.#sent * 1000) / CUSTOMERS_PER_SECOND;
    this.#stop = this.#clock.after(Math.max(0, dueMs - this.#clock.monotonicMs()), () => {
      this.#latestMs = Math.max(this.#latestMs, this.#clock.monotonicMs() - dueMs);
      this.#visit(this.#sent % ORDER_EVERY === 0);
      this.#sent++;
      this.#next();
    });
  }

  #visit(order: boolean): void {
    const begunMs = this.#clock.monotonicMs();
    this.#pending++;
    const outgoing = request(this.#url + (order ? '/orders' : '/basket'), {
      agent: this.#agent,
      method: order ? 'POST' : 'GET',
      headers: order ? { 'content-length': '0' } : {},
    });
    let isSettled = false;
    const settle = (status: number) => {
      if (isSettled) return;
      isSettled = true;
      cancel();
      this.#pending--;
      const durationMs = this.#clock.monotonicMs() - begunMs;
      this.visits.push({ atMs: begunMs - this.#startMs, ok: status > 0 && status < 500, durationMs, order, status });
    };
    const cancel = this.#clock.after(PATIENCE_MS, () => {
      settle(0);
      outgoing.destroy();
    });
    outgoing.on('response', (incoming) => {
      incoming.resume();
      incoming.on('end', () => settle(incoming.statusCode ?? 0));
      incoming.on('error', () => settle(0));
    });
    outgoing.on('error', () => settle(0));
    outgoing.end();
  }
}
