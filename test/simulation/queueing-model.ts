// A dependency whose capacity is known, behind an adaptive bulkhead: `servers` calls are worked on at a time, further ones wait in it, first
// come, first served. Calls arrive at random at a given rate, and everything about it may change on the way.
import { seededRandom } from '../../runtime/random.ts';
import { AdaptiveLimit, type AdaptiveLimitNumbers } from '../../sidecar/policies/adaptive-limit.ts';
import { Admission, Bulkhead, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { VirtualTime } from './virtual-time.ts';

export interface Conditions {
  /** Calls that the dependency works on at a time. */
  servers: number;
  /** Median time of work on one call, milliseconds. */
  serviceMs: number;
  /** Standard deviation of its logarithm: 0 is always the same, 1 is wild. */
  spread: number;
  arrivalsPerSecond: number;
}

export interface Observation {
  atMs: number;
  limit: number;
  probing: boolean;
  inFlight: number;
  baselineMs: number;
  /** Latency of the latest finished call in the dependency. */
  latencyMs: number;
  /** Totals since the start. */
  finished: number;
  refused: number;
}

interface Call extends BulkheadWaiter {
  startMs: number;
}

const QUEUE = 100;

export interface ModelOptions {
  spec: AdaptiveLimitNumbers;
  seed: number;
  durationMs: number;
  everyMs: number;
  /** Asked before each call arrives. */
  conditions(atMs: number): Conditions;
}

/** Runs the model and looks at it every `everyMs`. */
export function runQueueingModel(options: ModelOptions): Observation[] {
  const model = new QueueingModel(options);
  const seen: Observation[] = [];
  for (let atMs = options.everyMs; atMs <= options.durationMs; atMs += options.everyMs) seen.push(model.runUntil(atMs));
  return seen;
}

class QueueingModel {
  readonly #options: ModelOptions;
  readonly #random;
  readonly #time = new VirtualTime(0);
  readonly #adaptive: AdaptiveLimit;
  readonly #bulkhead: Bulkhead;
  readonly #waiting: Call[] = [];
  #working = 0;
  #latencyMs = 0;
  #finished = 0;
  #refused = 0;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#adaptive = new AdaptiveLimit(options.spec, this.#random, 0);
    this.#bulkhead = new Bulkhead({ maxConcurrent: this.#adaptive.limit, maxQueued: QUEUE });
    this.#arriveLater();
  }

  runUntil(atMs: number): Observation {
    this.#time.runUntil(atMs);
    const { limit, probing, baselineMs } = this.#adaptive;
    return {
      atMs,
      limit,
      probing,
      baselineMs,
      inFlight: this.#bulkhead.inFlight,
      latencyMs: this.#latencyMs,
      finished: this.#finished,
      refused: this.#refused,
    };
  }

  get #now(): Conditions {
    return this.#options.conditions(this.#time.nowMs);
  }

  #arriveLater(): void {
    const meanMs = 1000 / this.#now.arrivalsPerSecond;
    this.#time.after(-Math.log(1 - this.#random()) * meanMs, () => {
      this.#arrive();
      this.#arriveLater();
    });
  }

  #arrive(): void {
    const call: Call = { bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false, startMs: 0 };
    const admission = this.#bulkhead.acquire(call);
    if (admission === Admission.Granted) this.#send(call);
    else if (admission === Admission.Full) this.#refused += 1;
  }

  #send(call: Call): void {
    call.startMs = this.#time.nowMs;
    this.#waiting.push(call);
    this.#workOn();
  }

  /** A capacity that fell is honoured as calls finish. */
  #workOn(): void {
    const { servers, serviceMs, spread } = this.#now;
    while (this.#working < servers) {
      const call = this.#waiting.shift();
      if (call === undefined) return;
      this.#working += 1;
      this.#time.after(serviceMs * Math.exp(spread * this.#normal()), () => this.#finish(call));
    }
  }

  #finish(call: Call): void {
    const { nowMs } = this.#time;
    this.#working -= 1;
    this.#finished += 1;
    this.#latencyMs = nowMs - call.startMs;
    if (this.#adaptive.record(this.#latencyMs, this.#bulkhead.inFlight, nowMs))
      this.#bulkhead.update({ maxConcurrent: this.#adaptive.limit, maxQueued: QUEUE });
    let next = this.#bulkhead.release();
    while (next !== null) {
      this.#send(next as Call);
      next = this.#bulkhead.takeGrantable();
    }
    this.#workOn();
  }

  /** Standard normal, by Box and Muller. */
  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
  }
}
