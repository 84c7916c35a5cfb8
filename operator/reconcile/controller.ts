// Drives a work queue: takes keys, at most `workers` at a time, and puts each back as its reconciliation says. Nothing that a
// reconciliation throws gets any further than this: it is logged, counted, and the key comes again after its backoff. One that does not end
// is told to, and then left behind: a worker that waits for ever is a worker less.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { failureKind, isAway } from '../watch/failure-kind.ts';
import { NotLeadingError } from '../watch/fence.ts';
import { Outage } from '../watch/outage.ts';
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

/** More than all attempts of a call to the API server together may take. */
const DEADLINE_MS = 60_000;

export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #cancelWake: () => void = () => undefined;
  #started = false;
  readonly #outage: Outage;
  /** Keys whose last reconciliation failed: the outage lasts until there are none. */
  readonly #failing = new Set<string>();

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue(options.limits);
    const { name, clock, log, metrics } = options;
    this.#outage = new Outage({
      clock,
      log,
      level: 'error',
      fields: { controller: name },
      failed: 'reconciliation failed',
      lasts: 'reconciliation still fails',
      over: 'reconciliation works again',
    });
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
    const { name, clock, metrics } = this.#options;
    const startedMs = clock.monotonicMs();
    const outcome = await this.#outcome(key, this.#stop.signal);
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

  async #outcome(key: string, stopped: AbortSignal): Promise<Outcome> {
    try {
      const outcome = await this.#untilDeadline(key, stopped);
      if (outcome.kind === 'done') this.#failing.delete(key);
      if (this.#failing.size === 0) this.#outage.over();
      return outcome;
    } catch (error) {
      // The lead may end in the middle of a write: whoever leads next writes it.
      if (!stopped.aborted && !(error instanceof NotLeadingError)) {
        this.#failing.add(key);
        this.#outage.failed(kindOf(error, key), { err: error, key, keyFailures: this.#queue.failuresOf(key) + 1 });
      }
      return { kind: 'failed' };
    }
  }

  /** Rejects at the deadline, or when the controller stops, also where the reconciliation takes no notice. */
  async #untilDeadline(key: string, stopped: AbortSignal): Promise<Outcome> {
    const { clock, reconcile } = this.#options;
    const over = new AbortController();
    const onStop = () => over.abort(stopped.reason);
    stopped.addEventListener('abort', onStop, { once: true });
    const cancel = clock.after(DEADLINE_MS, () => {
      const error = new Error(`the work on a key did not end within ${DEADLINE_MS / 1000} s`);
      error.name = 'ReconcileTimeout';
      over.abort(error);
    });
    const givenUp = new Promise<never>((_resolve, reject) => {
      over.signal.addEventListener('abort', () => reject(over.signal.reason as Error), { once: true });
    });
    try {
      return await Promise.race([reconcile(key, over.signal), givenUp]);
    } finally {
      cancel();
      stopped.removeEventListener('abort', onStop);
    }
  }
}

/** What fails for the sake of a key is another failure for each; what fails because the API server is away is one for all. */
function kindOf(error: unknown, key: string): string {
  return isAway(error) ? failureKind(error) : `${failureKind(error)} ${key}`;
}
