// Drives a work queue: takes keys, at most `workers` at a time, and puts each back as its reconciliation says. Nothing that a
// reconciliation throws gets any further than this: it is logged, counted, and the key comes again after its backoff.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { NotLeadingError } from '../watch/fence.ts';
import { type Outcome, WorkQueue, type WorkQueueLimits } from '../watch/work-queue.ts';

export interface ControllerOptions {
  /** Label of its metrics. */
  name: string;
  workers: number;
  reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
  limits?: WorkQueueLimits;
}

export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #cancelWake: () => void = () => undefined;
  #started = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue(options.limits);
    const { name, metrics } = options;
    metrics.workQueue.adds.inc({ name }, 0);
    metrics.workQueue.retries.inc({ name }, 0);
    metrics.reconcileErrors.inc({ controller: name }, 0);
    for (const result of ['success', 'error', 'requeue_after']) {
      metrics.reconcileTotal.inc({ controller: name, result }, 0);
    }
    this.observe();
  }

  /** Keys are accepted before the start, and wait for it. After a stop it may be started again. */
  start(): void {
    if (this.#stop.signal.aborted) this.#stop = new AbortController();
    this.#started = true;
    this.#pump();
  }

  /** Takes no further key, aborts the work in progress and waits for it. */
  async stop(): Promise<void> {
    this.#started = false;
    this.#cancelWake();
    this.#stop.abort(new Error('the controller stops'));
    await Promise.all(this.#running);
  }

  add(key: string): void {
    const { name, clock, metrics } = this.#options;
    if (this.#queue.add(key, clock.monotonicMs())) metrics.workQueue.adds.inc({ name });
    this.#pump();
  }

  /** Writes the gauges that change by mere time. Call it before the metrics are read. */
  observe(): void {
    const { name, clock, metrics } = this.#options;
    const nowMs = clock.monotonicMs();
    let unfinishedMs = 0;
    let longestMs = 0;
    for (const sinceMs of this.#queue.processingSince()) {
      unfinishedMs += nowMs - sinceMs;
      longestMs = Math.max(longestMs, nowMs - sinceMs);
    }
    metrics.workQueue.depth.set({ name }, this.#queue.depth);
    metrics.workQueue.unfinishedSeconds.set({ name }, unfinishedMs / 1000);
    metrics.workQueue.longestRunningSeconds.set({ name }, longestMs / 1000);
  }

  #pump(): void {
    const { name, clock, metrics, workers } = this.#options;
    while (this.#started && this.#queue.processing < workers) {
      const taken = this.#queue.take(clock.monotonicMs());
      if (taken === undefined) break;
      metrics.workQueue.queueSeconds.observe({ name }, taken.waitedMs / 1000);
      const work = this.#work(taken.key);
      this.#running.add(work);
      void work.finally(() => this.#running.delete(work));
    }
    this.#wakeLater();
  }

  #wakeLater(): void {
    this.#cancelWake();
    const dueMs = this.#queue.nextDueMs();
    if (!this.#started || dueMs === undefined) return;
    const delayMs = Math.max(1, Math.ceil(dueMs - this.#options.clock.monotonicMs()));
    this.#cancelWake = this.#options.clock.after(delayMs, () => this.#pump());
  }

  async #work(key: string): Promise<void> {
    const { name, clock, log, metrics, reconcile } = this.#options;
    const startedMs = clock.monotonicMs();
    const { signal } = this.#stop;
    let outcome: Outcome;
    try {
      outcome = await reconcile(key, signal);
    } catch (error) {
      outcome = { kind: 'failed' };
      // The lead may end in the middle of a write: whoever leads next writes it.
      if (!signal.aborted && !(error instanceof NotLeadingError)) {
        log.error(
          { err: error, controller: name, key, failures: this.#queue.failuresOf(key) + 1 },
          'reconciliation failed',
        );
      }
    }
    const endedMs = clock.monotonicMs();
    const result = { done: 'success', requeue: 'requeue_after', failed: 'error' }[outcome.kind];
    metrics.workQueue.workSeconds.observe({ name }, (endedMs - startedMs) / 1000);
    metrics.reconcileSeconds.observe({ controller: name }, (endedMs - startedMs) / 1000);
    metrics.reconcileTotal.inc({ controller: name, result });
    if (outcome.kind === 'failed') {
      metrics.reconcileErrors.inc({ controller: name });
      metrics.workQueue.retries.inc({ name });
    }
    this.#queue.finish(key, outcome, endedMs);
    this.#pump();
  }
}
