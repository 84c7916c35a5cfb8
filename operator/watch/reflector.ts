// Keeps a store equal to one resource of the API server: list, then watch, forever. client-node's informer stops for good on most errors,
// so this follows client-go's reflector instead. What it guarantees:
//
// - The store is only ever replaced by a complete list. While the API server is away, or a list is under way, it keeps what it has.
// - The first list is at resourceVersion "0" (from the server's cache); after "410 Gone" it is at "" (from etcd), for the server's cache
//   may be what is behind. A watch never starts at "": that would make the server replay everything from etcd.
// - A watch that ends goes on where it was. Watches that end at once, again and again, without an event are a server's way of not saying
//   410: they lead to a new list. So does a line that is not JSON.
// - Silence is watched: the server sends bookmarks about once a minute, so a connection that says nothing for much longer is dead.
// - Failures wait, with jitter, 0.8 s doubling to 30 s; a Retry-After of the server is honoured.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import { Backoff } from './backoff.ts';
import { type Change, type RawObject, Store, type Transform } from './store.ts';

const PAGE_SIZE = 500;
const LIST_TIMEOUT_MS = 60_000;
const WATCH_HEAD_TIMEOUT_MS = 30_000;
const WATCH_TIMEOUT_MIN_SECONDS = 300;
const WATCH_TIMEOUT_MAX_SECONDS = 600;
/** Beyond the timeout that the server was asked for, it has forgotten us. */
const WATCH_GRACE_MS = 30_000;
/** Two and a half bookmark intervals. */
const WATCH_SILENCE_MS = 150_000;
/** A watch that ends sooner than this without an event is "very short". */
const VERY_SHORT_MS = 1_000;
const VERY_SHORT_LIMIT = 3;
/** An object of Kubernetes is below 1.5 MB, a line beyond this is damage. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;
/** 404 and 403 mend by an administrator's hand, and then at once: they are asked for steadily rather than ever less often. */
const NOT_THERE_YET_MAX_MS = 5_000;

export interface ReflectorOptions<T> {
  api: Pick<ApiClient, 'request' | 'stream'>;
  /** "/api/v1/pods" */
  path: string;
  /** "pods": for logs and metrics. */
  resource: string;
  transform: Transform<T>;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Never called with an empty list, but once after the first list even where it is. Must not throw. */
  onChange: (changes: readonly Change<T>[]) => void;
  onList?: () => void;
  onRestart?: (reason: string) => void;
}

interface ListAnswer {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: RawObject[];
  kind?: string;
}

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: RawObject;
}

/** The watch cannot go on where it was: list anew. */
class MustList extends Error {
  override name = 'MustList';
}

export class Reflector<T> {
  readonly store: Store<T>;
  readonly #options: ReflectorOptions<T>;
  readonly #backoff: Backoff;
  #resourceVersion: string | undefined;
  #listAt: '0' | '' = '0';
  #hasSynced = false;
  #veryShortWatches = 0;
  #lastFailure = '';
  #stop: AbortController | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.store = new Store(options.transform);
    this.#backoff = new Backoff({ initialMs: 800, maxMs: 30_000, resetAfterMs: 120_000 }, options.random);
  }

  get resource(): string {
    return this.#options.resource;
  }

  /** A complete list has been in the store; stays true from then on. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Why the last list or watch failed; empty while all is well. */
  get lastFailure(): string {
    return this.#lastFailure;
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
    const { clock, log, resource, onRestart } = this.#options;
    const mustList = failure instanceof MustList || isExpired(failure);
    if (mustList) {
      this.#resourceVersion = undefined;
      this.#listAt = '';
    }
    let delayMs = this.#backoff.nextMs(clock.monotonicMs());
    if (failure instanceof ApiError) {
      if (failure.status === 404 || failure.status === 403) delayMs = Math.min(delayMs, NOT_THERE_YET_MAX_MS);
      if (failure.retryAfterMs !== undefined) delayMs = Math.max(delayMs, failure.retryAfterMs);
    }
    const message = failure instanceof Error ? failure.message : String(failure);
    onRestart?.(failure instanceof ApiError ? failure.reason : failure instanceof Error ? failure.name : 'Unknown');
    const fields = { resource, reason: message, delayMs: Math.round(delayMs), mustList, hasSynced: this.#hasSynced };
    // The same failure again and again is one fact, not a line each.
    if (message === this.#lastFailure) log.debug(fields, 'watch failed again');
    else log.warn(fields, 'watch failed; what is known is kept until it is back');
    this.#lastFailure = message;
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { onChange, onList, log, resource } = this.#options;
    const answer = await this.#listAll(this.#listAt, signal);
    onList?.();
    const isFirst = !this.#hasSynced;
    const changes = this.store.replace(answer.items);
    this.#resourceVersion = answer.resourceVersion;
    this.#hasSynced = true;
    this.#veryShortWatches = 0;
    this.#succeeded();
    log.debug({ resource, objects: this.store.size, changes: changes.length, isFirst }, 'listed');
    if (changes.length > 0 || isFirst) onChange(changes);
  }

  async #listAll(
    resourceVersion: string,
    signal: AbortSignal,
  ): Promise<{ items: RawObject[]; resourceVersion: string }> {
    const items: RawObject[] = [];
    let page: ListAnswer = await this.#page({ limit: PAGE_SIZE, resourceVersion }, signal);
    items.push(...itemsOf(page));
    while (page.metadata?.continue) {
      try {
        page = await this.#page({ limit: PAGE_SIZE, continue: page.metadata.continue }, signal);
        items.push(...itemsOf(page));
      } catch (error) {
        if (!isExpired(error)) throw error;
        // The pages were too slow for etcd's compaction: everything in one answer instead.
        items.length = 0;
        page = await this.#page({ resourceVersion }, signal);
        items.push(...itemsOf(page));
      }
    }
    const listedAt = page.metadata?.resourceVersion;
    if (!listedAt) throw new Error(`the list of ${this.#options.resource} has no resourceVersion`);
    return { items, resourceVersion: listedAt };
  }

  #page(query: Record<string, string | number>, signal: AbortSignal): Promise<ListAnswer> {
    const { api, path } = this.#options;
    return api.request<ListAnswer>('GET', path, { query, signal, timeoutMs: LIST_TIMEOUT_MS, repeatable: false });
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { api, path, clock, random } = this.#options;
    const span = WATCH_TIMEOUT_MAX_SECONDS - WATCH_TIMEOUT_MIN_SECONDS;
    const timeoutSeconds = Math.round(WATCH_TIMEOUT_MIN_SECONDS + random() * span);
    const startedMs = clock.monotonicMs();
    const watchdog = new Watchdog(clock, signal);
    let events = 0;
    try {
      watchdog.limit(WATCH_HEAD_TIMEOUT_MS, timeoutSeconds * 1000 + WATCH_GRACE_MS);
      const bytes = await api.stream(path, {
        query: {
          watch: 1,
          allowWatchBookmarks: true,
          timeoutSeconds,
          resourceVersion: this.#resourceVersion,
        },
        signal: watchdog.signal,
        headTimeoutMs: WATCH_HEAD_TIMEOUT_MS,
      });
      watchdog.heard();
      for await (const line of lines(bytes, () => watchdog.heard())) {
        this.#apply(parseEvent(line));
        events += 1;
        this.#veryShortWatches = 0;
        this.#succeeded();
      }
    } finally {
      watchdog.stop();
    }
    await this.#watchEnded(clock.monotonicMs() - startedMs, events, signal);
  }

  async #watchEnded(lastedMs: number, events: number, signal: AbortSignal): Promise<void> {
    const { clock, resource } = this.#options;
    if (lastedMs >= VERY_SHORT_MS) return;
    if (events === 0) this.#veryShortWatches += 1;
    if (this.#veryShortWatches >= VERY_SHORT_LIMIT) {
      this.#veryShortWatches = 0;
      throw new MustList(`${VERY_SHORT_LIMIT} watches of ${resource} ended at once and without an event`);
    }
    await clock.sleep(this.#backoff.nextMs(clock.monotonicMs()), signal).catch(() => undefined);
  }

  #apply(event: WatchEvent): void {
    if (event.type === 'ERROR') {
      // The object of an ERROR event is a Status.
      throw ApiError.fromStatus(event.object as object, 500, undefined, this.#options.clock.unixMs());
    }
    const resourceVersion = event.object.metadata.resourceVersion;
    if (event.type !== 'BOOKMARK') {
      const change = event.type === 'DELETED' ? this.store.delete(event.object) : this.store.set(event.object);
      if (change !== undefined) this.#options.onChange([change]);
    }
    if (resourceVersion) this.#resourceVersion = resourceVersion;
  }

  #succeeded(): void {
    if (this.#lastFailure === '') return;
    this.#options.log.info({ resource: this.#options.resource }, 'watch is back');
    this.#lastFailure = '';
  }
}

/** Aborts a watch that was silent for too long, or has outlived what the server was asked for. */
class Watchdog {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #onOuterAbort = () => this.#controller.abort(this.#outer.reason);
  #cancelSilence: () => void = () => undefined;
  #cancelTotal: () => void = () => undefined;

  constructor(clock: Clock, outer: AbortSignal) {
    this.#clock = clock;
    this.#outer = outer;
    outer.addEventListener('abort', this.#onOuterAbort, { once: true });
    if (outer.aborted) this.#onOuterAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  limit(silenceMs: number, totalMs: number): void {
    this.#cancelSilence = this.#clock.after(silenceMs, () => this.#bark('no answer to a watch'));
    this.#cancelTotal = this.#clock.after(totalMs, () => this.#bark('a watch outlived its timeout'));
  }

  heard(): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#clock.after(WATCH_SILENCE_MS, () => this.#bark('a watch fell silent'));
  }

  stop(): void {
    this.#cancelSilence();
    this.#cancelTotal();
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
    // Also ends the response where the reader left it early.
    this.#controller.abort(new Error('the watch is over'));
  }

  #bark(message: string): void {
    const error = new Error(message);
    error.name = 'WatchSilent';
    this.#controller.abort(error);
  }
}

function itemsOf(answer: ListAnswer): RawObject[] {
  if (answer.items === undefined || answer.items === null) return [];
  return answer.items;
}

/** 410, or a server whose cache is behind the version we have seen: only a list helps against either. */
function isExpired(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 410 || error.reason === 'Expired' || error.causes.includes('ResourceVersionTooLarge');
}

function parseEvent(line: string): WatchEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new MustList(`a watch event is not JSON (${line.length} characters)`);
  }
  const event = value as Partial<WatchEvent> | null;
  const isEvent =
    event !== null && typeof event === 'object' && typeof event.type === 'string' && typeof event.object === 'object';
  if (!isEvent || event.object === null || (event.type !== 'ERROR' && event.object?.metadata === undefined)) {
    throw new MustList('a watch event has no type or no object');
  }
  return event as WatchEvent;
}

/** Whole lines only: what is left when the connection ends was cut, and comes again from the version before it. */
async function* lines(bytes: AsyncIterable<Uint8Array>, onBytes: () => void): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let pending: string[] = [];
  let pendingLength = 0;
  for await (const chunk of bytes) {
    onBytes();
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      pending.push(text.slice(from, end));
      const line = pending.join('');
      pending = [];
      pendingLength = 0;
      from = end + 1;
      if (line.trim() !== '') yield line;
    }
    if (from < text.length) {
      pending.push(text.slice(from));
      pendingLength += text.length - from;
      if (pendingLength > MAX_LINE_CHARACTERS) throw new MustList('a line of a watch has no end');
    }
  }
}
