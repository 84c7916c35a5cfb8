// Keeps a store equal to one resource of the API server: list, then watch, forever. client-node's informer stops for good on most errors,
// so this follows client-go's reflector instead. What it guarantees:
//
// - The store is only ever replaced by a complete list. While the API server is away, or a list is under way, it keeps what it has.
// - The first list is at resourceVersion "0" (from the server's cache); after "410 Gone" it is at "" (from etcd), for the server's cache
//   may be what is behind. A watch never starts at "": that would make the server replay everything from etcd.
// - A watch that ends goes on where it was. Watches that end at once, again and again, without an event are a server's way of not saying
//   410: they lead to a new list. So do watches that are refused again and again, a line that is no event, and an event from before the
//   one before it.
// - Silence is watched: the server sends bookmarks about once a minute, so a connection that says nothing for much longer is dead.
// - Failures wait, with jitter, 0.8 s doubling to 30 s; a Retry-After of the server is honoured. After the longest of these waits, or two
//   and a half minutes of silence, whatever was wrong and is over has been noticed.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError, ApiUnreachable } from './api-errors.ts';
import { Backoff, type BackoffLimits } from './backoff.ts';
import { failureKind, failureReason } from './failure-kind.ts';
import { Outage } from './outage.ts';
import { isExpired, listAll } from './pages.ts';
import { isBefore } from './resource-version.ts';
import { type Change, type RawObject, Store, type Transform } from './store.ts';
import { lines, MustList, parseEvent, type WatchEvent } from './watch-events.ts';
import { Watchdog } from './watchdog.ts';

export interface ReflectorTimings {
  backoff: BackoffLimits;
  /** 404 and 403 mend by an administrator's hand, and then at once: they are asked for steadily rather than ever less often. */
  notThereYetMaxMs: number;
  /** Of a page of a list. One that was not enough is doubled for the next attempt, up to the maximum: a slow server is not a dead one. */
  listTimeoutMs: number;
  listTimeoutMaxMs: number;
  watchHeadTimeoutMs: number;
  /** How long the server is asked to keep a watch open: between these. */
  watchTimeoutMinSeconds: number;
  watchTimeoutMaxSeconds: number;
  /** Beyond the timeout that the server was asked for, it has forgotten us. */
  watchGraceMs: number;
  watchSilenceMs: number;
  /** A watch that ends sooner than this without an event is "very short". */
  veryShortMs: number;
}

export const DEFAULT_TIMINGS: ReflectorTimings = {
  backoff: { initialMs: 800, maxMs: 30_000, resetAfterMs: 120_000 },
  notThereYetMaxMs: 5_000,
  listTimeoutMs: 60_000,
  listTimeoutMaxMs: 600_000,
  watchHeadTimeoutMs: 30_000,
  watchTimeoutMinSeconds: 300,
  watchTimeoutMaxSeconds: 600,
  watchGraceMs: 30_000,
  // Two and a half bookmark intervals.
  watchSilenceMs: 150_000,
  veryShortMs: 1_000,
};

const VERY_SHORT_LIMIT = 3;
/** So many refusals of a watch in a row, without an event in between, and it is not tried any more where it was. */
const REFUSALS_LIMIT = 3;

export interface ReflectorOptions<T> {
  api: Pick<ApiClient, 'request' | 'stream'>;
  /** "/api/v1/pods" */
  path: string;
  /** "reason=FailedCreate": only what matches is listed and watched. */
  fieldSelector?: string | undefined;
  /** "pods": for logs and metrics. */
  resource: string;
  transform: Transform<T>;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Never called with an empty list, but once after the first list even where it is. Must not throw. */
  onChange: (changes: readonly Change<T>[]) => void;
  onList?: () => void;
  /** `reason` is one of a few words. */
  onRestart?: (reason: string) => void;
  timings?: ReflectorTimings;
}

export class Reflector<T> {
  readonly store: Store<T>;
  readonly #options: ReflectorOptions<T>;
  readonly #timings: ReflectorTimings;
  readonly #backoff: Backoff;
  readonly #outage: Outage;
  #resourceVersion: string | undefined;
  #listAt: '0' | '' = '0';
  #listTimeoutMs: number;
  #hasSynced = false;
  #veryShortWatches = 0;
  #refusals = 0;
  #lastFailure = '';
  #heardAtMs: MonotonicMs;
  #stop: AbortController | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ReflectorOptions<T>) {
    const { clock, log, random, resource } = options;
    this.#options = options;
    this.#timings = options.timings ?? DEFAULT_TIMINGS;
    this.store = new Store(options.transform);
    this.#backoff = new Backoff(this.#timings.backoff, random);
    this.#listTimeoutMs = this.#timings.listTimeoutMs;
    this.#heardAtMs = clock.monotonicMs();
    this.#outage = new Outage({
      clock,
      log,
      level: 'warn',
      fields: { resource },
      failed: 'watch failed; what is known is kept until it is back',
      lasts: 'watch still fails; what is known is kept until it is back',
      over: 'watch is back',
    });
  }

  get resource(): string {
    return this.#options.resource;
  }

  /** A complete list has been in the store; stays true from then on. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Why the last list or watch failed; empty after a list or an event. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** Something failed, and no watch has worked since. */
  get isFailing(): boolean {
    return this.#outage.isOn;
  }

  /** Since when the store may be behind: the time of the last word of the API server, which speaks once a minute at least. */
  get heardAtMs(): MonotonicMs {
    return this.#heardAtMs;
  }

  start(): void {
    if (this.#stop !== undefined) throw new Error(`the reflector of ${this.#options.resource} was started twice`);
    this.#stop = new AbortController();
    this.#running = this.#run(this.#stop.signal);
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stop?.abort(new Error('the reflector stops'));
    await this.#running;
  }

  /**
   * Takes an object that was read by itself, ahead of the watch; undefined where it changes nothing. The watch may have been ahead of it,
   * though: what it would have shown by now it has shown, and an object that is missing then was deleted after it was read.
   */
  take(raw: RawObject): Change<T> | undefined {
    const { resourceVersion = '' } = raw.metadata;
    const seen = this.#resourceVersion;
    if (seen !== undefined && (resourceVersion === seen || isBefore(resourceVersion, seen))) return undefined;
    return this.store.set(raw);
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#list(signal);
        await this.#watch(signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
  }

  async #recover(failure: unknown, signal: AbortSignal): Promise<void> {
    const { clock, onRestart } = this.#options;
    const mustList = this.#mustList(failure);
    if (mustList) {
      this.#resourceVersion = undefined;
      this.#listAt = '';
    }
    let delayMs = this.#backoff.nextMs(clock.monotonicMs());
    if (failure instanceof ApiError) {
      if (failure.status === 404 || failure.status === 403) delayMs = Math.min(delayMs, this.#timings.notThereYetMaxMs);
      if (failure.retryAfterMs !== undefined) delayMs = Math.max(delayMs, failure.retryAfterMs);
    }
    this.#lastFailure = failure instanceof Error ? failure.message : String(failure);
    onRestart?.(failureReason(failure));
    this.#outage.failed(failureKind(failure), {
      reason: this.#lastFailure,
      delayMs: Math.round(delayMs),
      mustList,
      hasSynced: this.#hasSynced,
    });
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }

  #mustList(failure: unknown): boolean {
    if (failure instanceof MustList || isExpired(failure)) return true;
    if (this.#resourceVersion === undefined || !isRefusal(failure)) return false;
    this.#refusals += 1;
    return this.#refusals >= REFUSALS_LIMIT;
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { api, path, fieldSelector, clock, onChange, onList, log, resource } = this.#options;
    const timeoutMs = this.#listTimeoutMs;
    const answer = await listAll({ api, path, fieldSelector, resourceVersion: this.#listAt, timeoutMs, signal }).catch(
      (error) => {
        if (error instanceof ApiUnreachable && error.timedOut) {
          this.#listTimeoutMs = Math.min(timeoutMs * 2, this.#timings.listTimeoutMaxMs);
        }
        throw error;
      },
    );
    onList?.();
    const isFirst = !this.#hasSynced;
    const changes = this.store.replace(answer.items);
    this.#resourceVersion = answer.resourceVersion;
    this.#hasSynced = true;
    this.#heardAtMs = clock.monotonicMs();
    this.#lastFailure = '';
    this.#veryShortWatches = 0;
    this.#refusals = 0;
    log.debug({ resource, objects: this.store.size, changes: changes.length, isFirst }, 'listed');
    if (changes.length > 0 || isFirst) onChange(changes);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { api, path, fieldSelector, clock, random } = this.#options;
    const { watchTimeoutMinSeconds, watchTimeoutMaxSeconds, watchHeadTimeoutMs, watchSilenceMs, watchGraceMs } =
      this.#timings;
    const timeoutSeconds = Math.round(
      watchTimeoutMinSeconds + random() * (watchTimeoutMaxSeconds - watchTimeoutMinSeconds),
    );
    const totalMs = timeoutSeconds * 1000 + watchGraceMs;
    const watchdog = new Watchdog(clock, { headMs: watchHeadTimeoutMs, silenceMs: watchSilenceMs, totalMs }, signal);
    const startedMs = clock.monotonicMs();
    let events = 0;
    try {
      const bytes = await api.stream(path, {
        query: {
          watch: 1,
          allowWatchBookmarks: true,
          timeoutSeconds,
          resourceVersion: this.#resourceVersion,
          ...(fieldSelector ? { fieldSelector } : {}),
        },
        signal: watchdog.signal,
        headTimeoutMs: watchHeadTimeoutMs,
      });
      watchdog.heard();
      for await (const line of lines(bytes, () => watchdog.heard())) {
        this.#apply(parseEvent(line));
        events += 1;
        this.#veryShortWatches = 0;
        this.#works();
      }
    } finally {
      watchdog.stop();
      // Whoever watched for as long as the longest wait may start anew without one.
      if (clock.monotonicMs() - startedMs >= this.#timings.backoff.maxMs) this.#backoff.reset();
    }
    await this.#watchEnded(clock.monotonicMs() - startedMs, events, signal);
  }

  async #watchEnded(lastedMs: number, events: number, signal: AbortSignal): Promise<void> {
    const { clock, resource } = this.#options;
    if (lastedMs >= this.#timings.veryShortMs) {
      this.#works();
      return;
    }
    if (events === 0) this.#veryShortWatches += 1;
    if (this.#veryShortWatches >= VERY_SHORT_LIMIT) {
      this.#veryShortWatches = 0;
      throw new MustList(`${VERY_SHORT_LIMIT} watches of ${resource} ended at once and without an event`);
    }
    await clock.sleep(this.#backoff.nextMs(clock.monotonicMs()), signal).catch(() => undefined);
  }

  #apply(event: WatchEvent): void {
    if (event.type === 'ERROR') {
      throw ApiError.fromStatus(event.status, 500, undefined, this.#options.clock.unixMs());
    }
    const { resourceVersion } = event.type === 'BOOKMARK' ? event : event.object.metadata;
    const isOld = resourceVersion !== undefined && isBefore(resourceVersion, this.#resourceVersion ?? '');
    if (event.type !== 'BOOKMARK') {
      // What is told twice may also be told in the wrong order, and then the older state would stand.
      if (isOld) throw new MustList('an event of a watch is older than the one before it');
      const change = event.type === 'DELETED' ? this.store.delete(event.object) : this.store.set(event.object);
      if (change !== undefined) this.#options.onChange([change]);
    }
    if (resourceVersion && !isOld) this.#resourceVersion = resourceVersion;
  }

  #works(): void {
    this.#heardAtMs = this.#options.clock.monotonicMs();
    this.#refusals = 0;
    this.#lastFailure = '';
    this.#outage.over();
  }
}

/** These say nothing about the version that a watch asks for: a list would be answered in the same way, or should wait as well. */
const NOT_ABOUT_THE_VERSION: ReadonlySet<number> = new Set([401, 403, 404, 429, 502, 503, 504]);

function isRefusal(failure: unknown): boolean {
  return failure instanceof ApiError && !NOT_ABOUT_THE_VERSION.has(failure.status);
}
