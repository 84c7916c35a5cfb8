// Keeps the status of every object of ours true, and tells the transitions of circuits as Events. One replica at a time may do this: start
// it on the one that leads, stop it on the one that no longer does.
//
// Level-triggered: whatever happened, the status is computed anew from the newest result and summaries, compared with what stands in the
// object, and written where it differs, at most once a second per object. What circuits alone change is written less often: a hundred sidecars
// that go half-open and open again for hours must not write a hundred times as often, nor every second.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { CompileResult } from '../compile/result.ts';
import type { World } from '../compile/world.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { differsInCircuitsOnly } from '../status/circuits.ts';
import type { StatusSink, WriteResult } from '../status/writer.ts';
import { ApiError } from '../watch/api-errors.ts';
import { Backoff } from '../watch/backoff.ts';
import { Debounce } from '../watch/debounce.ts';
import { isAway } from '../watch/failure-kind.ts';
import type { Outcome } from '../watch/work-queue.ts';
import { type OwnObject, ownKey, type WorldSource } from '../watch/world-source.ts';
import type { CircuitEvents } from './circuit-events.ts';
import { Controller } from './controller.ts';
import type { MissedPods } from './missed-pods.ts';
import { TokenBucket } from './token-bucket.ts';

const WORKERS = 4;
/** Between two writes of one object. */
const WRITE_INTERVAL_MS = 1_000;
/** Between two writes of one object that only circuits want: some at once, so that who looks sees it happen, then at this pace. */
const CIRCUIT_WRITES = { burst: 6, intervalMs: 10_000 };
/**
 * All objects are looked at after something changed, once it is quiet: a new plan is applied everywhere within moments, and a status that
 * said "applied by 0 of 12" in between would only frighten.
 */
const SWEEP = { quietMs: 150, maxMs: 500 };
/**
 * In a process that has just begun no sidecar is connected yet, which is not news about the objects: a status of the present generation stays
 * for this long. Otherwise each restart of the operator would make every object "not programmed" for a moment. A replica that takes the lead
 * later knows all sidecars by then, and waits no more.
 */
const SETTLE_MS = 10_000;
/** A failing write is tried again after 100 ms, doubling to a minute, whatever changes meanwhile but the object itself. */
const LIMITS = { initialMs: 100, maxMs: 60_000 };
/** Where the API server is away or overloaded, all writes wait together: each of a thousand objects asking anew is what it needs least. */
const AWAY_LIMITS = { initialMs: 250, maxMs: 30_000, resetAfterMs: 120_000 };

export interface StatusKeeperOptions<Summaries> {
  source: WorldSource;
  result: () => CompileResult | undefined;
  /** Whether that is about the object as it stands: of a newer one it says nothing, and there will be another result. */
  isCompiled: (object: OwnObject) => boolean;
  summaries: () => Summaries;
  statusOf: (object: OwnObject, result: CompileResult, summaries: Summaries, nowUnixMs: number) => object;
  sink: StatusSink;
  circuits: CircuitEvents;
  missedPods: MissedPods;
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
}

export class StatusKeeper<Summaries> {
  readonly #options: StatusKeeperOptions<Summaries>;
  readonly #controller: Controller;
  readonly #sweep: Debounce;
  /** Keys of the objects of which something is kept here, or in the sink. */
  readonly #known = new Set<string>();
  readonly #writtenAt = new Map<string, MonotonicMs>();
  /** By key of the object: what was written last, and how often circuits may have it written. */
  readonly #written = new Map<string, object>();
  readonly #circuitWrites = new Map<string, TokenBucket>();
  /** By key of the object: failed writes of this generation in a row, and when the next one may be. */
  readonly #failed = new Map<string, { generation: number; failures: number; untilMs: MonotonicMs }>();
  /** One replica writes: there is nobody to keep out of step with. */
  readonly #away = new Backoff(AWAY_LIMITS, () => 0);
  #awayUntilMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  #isRunning = false;
  #settledMs: MonotonicMs | undefined;
  /** Of the present state; adding up the reports of all sidecars for each object anew would cost their product. */
  #summaries: Summaries | undefined;

  constructor(options: StatusKeeperOptions<Summaries>) {
    this.#options = options;
    const { clock, log, metrics } = options;
    this.#sweep = new Debounce(clock, SWEEP, () => this.#lookAtAll());
    const reconcile = (key: string, signal: AbortSignal) => this.#reconcile(key, signal);
    this.#controller = new Controller({
      name: 'status',
      workers: WORKERS,
      reconcile,
      clock,
      log,
      metrics,
      limits: LIMITS,
    });
  }

  /** May be called again after a stop: what others wrote meanwhile is looked at anew. */
  start(): void {
    this.#isRunning = true;
    this.#writtenAt.clear();
    this.#written.clear();
    this.#failed.clear();
    this.#awayUntilMs = Number.NEGATIVE_INFINITY;
    this.#controller.start();
    this.changed();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#sweep.cancel();
    this.#options.circuits.stop();
    await this.#controller.stop();
  }

  observe(): void {
    this.#controller.observe();
  }

  /** Something that any status may depend on is another: the result, an acknowledgement, a circuit. */
  changed(): void {
    this.#settledMs ??= this.#options.clock.monotonicMs() + SETTLE_MS;
    this.#summaries = undefined;
    if (this.#isRunning) this.#sweep.call();
  }

  /** The status of one object is another than before. */
  statusChanged(key: string): void {
    if (this.#isRunning) this.#controller.add(key);
  }

  #lookAtAll(): void {
    const { source, result, circuits, missedPods } = this.#options;
    if (result() === undefined) return;
    const world = source.world();
    for (const key of ownKeys(world)) this.#controller.add(key);
    for (const key of this.#known) if (source.own(key) === undefined) this.#controller.add(key);
    circuits.compare();
    missedPods.report(world);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { source, result, isCompiled, summaries, statusOf, clock } = this.#options;
    const object = source.own(key);
    const compiled = result();
    if (object === undefined) {
      this.#forget(key);
      return { kind: 'done' };
    }
    // Once there is a result that is about it, all are looked at.
    if (compiled === undefined || !isCompiled(object)) return { kind: 'done' };
    this.#known.add(key);
    const nowMs = clock.monotonicMs();
    const dueMs = Math.max(
      this.#notBeforeMs(object),
      this.#retryAtMs(key, object),
      (this.#writtenAt.get(key) ?? Number.NEGATIVE_INFINITY) + WRITE_INTERVAL_MS,
    );
    if (nowMs < dueMs) return { kind: 'requeue', afterMs: dueMs - nowMs };
    this.#summaries ??= summaries();
    const status = statusOf(object, compiled, this.#summaries, clock.unixMs());
    // In standalone mode no object holds a status.
    const isCircuits = differsInCircuitsOnly(object.status ?? this.#written.get(key), status);
    const waitMs = isCircuits ? this.#circuitBucket(key).waitMs(nowMs) : 0;
    if (waitMs > 0) return { kind: 'requeue', afterMs: waitMs };
    const written = await this.#write(key, object, status, signal);
    if (written === 'Missed') return { kind: 'requeue', afterMs: this.#waitAfterFailure(key, object) };
    this.#failed.delete(key);
    if (written === 'Written') {
      this.#writtenAt.set(key, clock.monotonicMs());
      this.#written.set(key, status);
      if (isCircuits) this.#circuitBucket(key).take(clock.monotonicMs());
    }
    return { kind: 'done' };
  }

  #forget(key: string): void {
    this.#known.delete(key);
    this.#writtenAt.delete(key);
    this.#written.delete(key);
    this.#circuitWrites.delete(key);
    this.#failed.delete(key);
    this.#options.sink.forget(key);
  }

  async #write(key: string, object: OwnObject, status: object, signal: AbortSignal): Promise<WriteResult> {
    const { sink, clock } = this.#options;
    try {
      const result = await sink.write(object, status, signal);
      if (result === 'Written') this.#away.reset();
      return result;
    } catch (error) {
      this.#waitAfterFailure(key, object);
      const nowMs = clock.monotonicMs();
      // Of several writes that failed at the same time the first one says it for all.
      if (isAway(error) && nowMs >= this.#awayUntilMs) {
        const askedMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
        this.#awayUntilMs = nowMs + Math.max(this.#away.nextMs(nowMs), askedMs);
      }
      throw error;
    }
  }

  #retryAtMs(key: string, { generation }: OwnObject): MonotonicMs {
    const failed = this.#failed.get(key);
    // What was refused of the object before may be right now.
    const keyMs = failed?.generation === generation ? failed.untilMs : Number.NEGATIVE_INFINITY;
    return Math.max(keyMs, this.#awayUntilMs);
  }

  #waitAfterFailure(key: string, { generation }: OwnObject): number {
    const known = this.#failed.get(key);
    const failures = known?.generation === generation ? known.failures : 0;
    const waitMs = Math.min(LIMITS.maxMs, LIMITS.initialMs * 2 ** Math.min(failures, 30));
    this.#failed.set(key, { generation, failures: failures + 1, untilMs: this.#options.clock.monotonicMs() + waitMs });
    return waitMs;
  }

  #circuitBucket(key: string): TokenBucket {
    let bucket = this.#circuitWrites.get(key);
    if (bucket === undefined) {
      bucket = new TokenBucket(CIRCUIT_WRITES, this.#options.clock.monotonicMs());
      this.#circuitWrites.set(key, bucket);
    }
    return bucket;
  }

  #notBeforeMs(object: OwnObject): MonotonicMs {
    const { status, generation } = object;
    const isOfThisGeneration =
      typeof status === 'object' &&
      status !== null &&
      'observedGeneration' in status &&
      status.observedGeneration === generation;
    const isWritten = this.#writtenAt.has(ownKey(object.kind, object.namespace, object.name));
    return isOfThisGeneration && !isWritten && this.#settledMs !== undefined
      ? this.#settledMs
      : Number.NEGATIVE_INFINITY;
  }
}

function ownKeys(world: World): string[] {
  return [
    ...world.serviceDependencies.map(({ kind, metadata }) => ownKey(kind, metadata.namespace, metadata.name)),
    ...world.resiliencePolicies.map(({ kind, metadata }) => ownKey(kind, metadata.namespace, metadata.name)),
    ...world.invalid.map(({ kind, namespace, name }) => ownKey(kind, namespace, name)),
  ];
}
