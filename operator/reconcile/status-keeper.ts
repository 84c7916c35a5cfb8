// Keeps the status of every object of ours true, and tells the transitions of circuits as Events. One replica at a time may do this: start
// it on the one that leads, stop it on the one that no longer does.
//
// Level-triggered: whatever happened, the status is computed anew from the newest result and summaries, compared with what stands in the
// object, and written where it differs, at most once a second per object.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { CompileResult } from '../compile/result.ts';
import type { World } from '../compile/world.ts';
import type { OperatorMetrics } from '../metrics.ts';
import type { StatusSink } from '../status/writer.ts';
import { Debounce } from '../watch/debounce.ts';
import type { Outcome } from '../watch/work-queue.ts';
import { type OwnObject, ownKey, type WorldSource } from '../watch/world-source.ts';
import type { CircuitEvents } from './circuit-events.ts';
import { Controller } from './controller.ts';
import type { MissedPods } from './missed-pods.ts';

const WORKERS = 4;
/** Between two writes of one object. */
const WRITE_INTERVAL_MS = 1_000;
/**
 * All objects are looked at after something changed, once it is quiet: a new plan is applied everywhere within moments, and a status that
 * said "applied by 0 of 12" in between would only frighten.
 */
const SWEEP = { quietMs: 150, maxMs: 500 };
/**
 * After a start no sidecar is connected yet, which is not news about the objects: a status of the present generation stays for this long.
 * Otherwise each restart of the operator would make every object "not programmed" for a moment.
 */
const SETTLE_MS = 10_000;
/** A failing write is tried again after 100 ms, doubling to a minute. */
const LIMITS = { initialMs: 100, maxMs: 60_000 };

export interface StatusKeeperOptions<Summaries> {
  source: WorldSource;
  result: () => CompileResult | undefined;
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
  readonly #writtenAt = new Map<string, MonotonicMs>();
  #settledMs = Number.POSITIVE_INFINITY;
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

  start(): void {
    this.#settledMs = this.#options.clock.monotonicMs() + SETTLE_MS;
    this.#controller.start();
    this.changed();
  }

  async stop(): Promise<void> {
    this.#sweep.cancel();
    await this.#controller.stop();
  }

  observe(): void {
    this.#controller.observe();
  }

  /** Something that any status may depend on is another: the result, an acknowledgement, a circuit. */
  changed(): void {
    this.#summaries = undefined;
    this.#sweep.call();
  }

  /** The status of one object is another than before. */
  statusChanged(key: string): void {
    this.#controller.add(key);
  }

  #lookAtAll(): void {
    const { source, result, circuits, missedPods } = this.#options;
    if (result() === undefined) return;
    const world = source.world();
    for (const key of ownKeys(world)) this.#controller.add(key);
    circuits.compare();
    missedPods.report(world);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { source, result, summaries, statusOf, sink, clock } = this.#options;
    const object = source.own(key);
    const compiled = result();
    if (object === undefined) {
      this.#writtenAt.delete(key);
      sink.forget(key);
      return { kind: 'done' };
    }
    if (compiled === undefined) return { kind: 'done' };
    const nowMs = clock.monotonicMs();
    const dueMs = Math.max(
      this.#notBeforeMs(object),
      (this.#writtenAt.get(key) ?? Number.NEGATIVE_INFINITY) + WRITE_INTERVAL_MS,
    );
    if (nowMs < dueMs) return { kind: 'requeue', afterMs: dueMs - nowMs };
    this.#summaries ??= summaries();
    const status = statusOf(object, compiled, this.#summaries, clock.unixMs());
    if (await sink.write(object, status, signal)) this.#writtenAt.set(key, clock.monotonicMs());
    return { kind: 'done' };
  }

  #notBeforeMs(object: OwnObject): MonotonicMs {
    const { status, generation } = object;
    const isOfThisGeneration =
      typeof status === 'object' &&
      status !== null &&
      'observedGeneration' in status &&
      status.observedGeneration === generation;
    const startedBefore = this.#options.clock.monotonicMs() < this.#settledMs;
    return isOfThisGeneration &&
      startedBefore &&
      !this.#writtenAt.has(ownKey(object.kind, object.namespace, object.name))
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
