// Kubernetes Events (events.k8s.io/v1). The name of an Event is made of what it says, so that the same Event told again, by this operator
// or by the one that replaces it, becomes a series of the first one instead of another line in `kubectl events`.
// Events inform and decide nothing: they are sent one after the other, never waited for, and dropped where there are too many.
import { createHash } from 'node:crypto';
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { cutToBytes } from '../../runtime/printable.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { type ApiClient, CONTENT_TYPES } from '../watch/api-client.ts';
import { ApiError } from '../watch/api-errors.ts';
import { failureKind } from '../watch/failure-kind.ts';
import { NotLeadingError } from '../watch/fence.ts';
import { Outage } from '../watch/outage.ts';
import { TokenBucket } from './token-bucket.ts';

const REPORTING_CONTROLLER = 'breakwater.dev/operator';
/** The same Event again within this time is not told. */
const REPEAT_MS = 10_000;
const REMEMBERED = 4_096;
const WAITING_LIMIT = 1_000;
/** Sent at most. */
const PACE = { burst: 50, intervalMs: 200 };
const NOTE_MAX_BYTES = 1_024;
/** Of what an owner reference says; the API server checks only that it is there. */
const NAME_MAX = 253;

export interface EventInput {
  regarding: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
  type: 'Normal' | 'Warning';
  /** CamelCase: CircuitOpened. */
  reason: string;
  /** What was done or observed: ObserveCircuit. */
  action: string;
  note: string;
}

export interface EventSink {
  /** Returns at once; never throws. */
  record(event: EventInput): void;
}

export interface EventRecorderOptions {
  api: Pick<ApiClient, 'request'>;
  /** Name of this replica's pod. */
  instance: string;
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
}

export class EventRecorder implements EventSink {
  readonly #options: EventRecorderOptions;
  readonly #told = new Map<string, { atMs: MonotonicMs; count: number }>();
  readonly #waiting: EventInput[] = [];
  readonly #stop = new AbortController();
  readonly #outage: Outage;
  #sending: Promise<void> | undefined;
  readonly #bucket: TokenBucket;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#outage = new Outage({
      clock: options.clock,
      log: options.log,
      level: 'warn',
      fields: {},
      failed: 'an Event could not be written',
      lasts: 'Events still cannot be written',
      over: 'Events are written again',
    });
    this.#bucket = new TokenBucket(PACE, options.clock.monotonicMs());
    for (const result of ['created', 'repeated', 'throttled', 'error']) options.metrics.events.inc({ result }, 0);
  }

  record(event: EventInput): void {
    const { clock, metrics } = this.#options;
    const name = eventName(event);
    const nowMs = clock.monotonicMs();
    const told = this.#told.get(name);
    const tooSoon = told !== undefined && nowMs - told.atMs < REPEAT_MS;
    if (tooSoon || this.#waiting.length >= WAITING_LIMIT || this.#stop.signal.aborted) {
      metrics.events.inc({ result: 'throttled' });
      return;
    }
    this.#told.delete(name);
    this.#told.set(name, { atMs: nowMs, count: (told?.count ?? 0) + 1 });
    if (this.#told.size > REMEMBERED) {
      const oldest = this.#told.keys().next().value;
      if (oldest !== undefined) this.#told.delete(oldest);
    }
    this.#waiting.push(event);
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the operator stops'));
    await this.#sending;
  }

  async #sendAll(): Promise<void> {
    const { metrics } = this.#options;
    for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) {
      try {
        await this.#takeToken();
        metrics.events.inc({ result: await this.#send(event) });
        this.#outage.over();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        // Whoever leads now compares for itself with what was told.
        if (error instanceof NotLeadingError) continue;
        metrics.events.inc({ result: 'error' });
        this.#outage.failed(failureKind(error), { err: error, reason: event.reason, regarding: event.regarding });
      }
    }
  }

  async #takeToken(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#bucket.take(clock.monotonicMs())) {
      await clock.sleep(this.#bucket.waitMs(clock.monotonicMs()), this.#stop.signal);
    }
  }

  async #send(event: EventInput): Promise<'created' | 'repeated'> {
    const { api, clock, instance } = this.#options;
    const { regarding, type, reason, action } = event;
    const path = `/apis/events.k8s.io/v1/namespaces/${regarding.namespace}/events`;
    const name = eventName(event);
    const now = microTime(clock.unixMs());
    const signal = this.#stop.signal;
    try {
      await api.request('POST', path, {
        signal,
        body: {
          apiVersion: 'events.k8s.io/v1',
          kind: 'Event',
          metadata: { name, namespace: regarding.namespace },
          eventTime: now,
          reportingController: REPORTING_CONTROLLER,
          reportingInstance: instance.slice(0, 128),
          type,
          reason,
          action,
          regarding: { ...regarding, name: regarding.name.slice(0, NAME_MAX) },
          note: cutToBytes(event.note, NOTE_MAX_BYTES),
        },
      });
      return 'created';
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
    }
    // An Event that the operator before this one told has at least been told twice by now; reading the number is not worth a right.
    const count = Math.max(2, this.#told.get(name)?.count ?? 2);
    await api.request('PATCH', `${path}/${name}`, {
      signal,
      contentType: CONTENT_TYPES.mergePatch,
      body: { series: { count, lastObservedTime: now } },
    });
    return 'repeated';
  }
}

/** RFC 3339 with six digits: the API server refuses the three of `toISOString` for a MicroTime. */
export function microTime(unixMs: number): string {
  return new Date(unixMs).toISOString().replace('Z', '000Z');
}

function eventName({ regarding, type, reason, note }: EventInput): string {
  const said = createHash('sha256')
    .update(JSON.stringify([regarding.kind, regarding.uid, type, reason, note]))
    .digest('hex');
  // An owner reference may hold any name, and the cut may end in the middle of one.
  const name = regarding.name.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-');
  const label = name
    .slice(0, 200)
    .replaceAll(/[.-]*[.][.-]*/g, '.')
    .replaceAll(/^[.-]+|[.-]+$/g, '');
  return `${label || 'unnamed'}.${said.slice(0, 16)}`;
}
