// The only way to the API server. client-node gives kubeconfig and authentication; the connections are ours, because it makes a new
// dispatcher, and so a new TLS handshake, for every call. One undici Agent is shared by all calls and watches, and is made anew only when
// what it was made of (CA, client certificate, server name) has changed on disk.
//
// Single calls are retried by cockatiel where running twice does no harm. Watches are not: whoever watches must know that it was cut.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { DelegateBackoff, handleWhen, isTaskCancelledError, retry, TimeoutStrategy, timeout, wrap } from 'cockatiel';
import { Agent, type Dispatcher, ProxyAgent, request as send } from 'undici';
import { z } from 'zod';
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { type Fence, fenced, leftOf, NotLeadingError } from './fence.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export const CONTENT_TYPES = {
  json: 'application/json',
  mergePatch: 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export interface CallOptions {
  query?: Query;
  body?: unknown;
  /** One of CONTENT_TYPES; application/json by default. */
  contentType?: string;
  signal?: AbortSignal;
  /** Of each attempt; 10 s by default. */
  timeoutMs?: number;
  /** Whether the call may run twice. By default GET and server-side apply may. */
  repeatable?: boolean;
  /** A write that only the replica that leads may make; throws NotLeadingError where it does not, or no longer. */
  fence?: Fence;
}

/** The API server answered, with an error. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  /** CamelCase, as in a Status object: NotFound, AlreadyExists, Expired, … */
  readonly reason: string;
  readonly causes: readonly string[];
  /** What the server asks to wait, milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, reason: string, message: string, causes: readonly string[], retryAfterMs?: number) {
    super(`${status} ${reason}: ${message}`);
    this.status = status;
    this.reason = reason;
    this.causes = causes;
    this.retryAfterMs = retryAfterMs;
  }

  /** Of a Status, or of what a server in between says in its place: nothing of it is certain. */
  static fromStatus(body: object, httpStatus: number, retryAfter: string | undefined, unixMs: number): ApiError {
    const { code, reason, message, details } = statusObject.parse(body);
    return new ApiError(
      code ?? httpStatus,
      reason ?? 'Unknown',
      (message ?? 'no message').slice(0, MESSAGE_MAX),
      (details?.causes ?? []).map((cause) => cause?.reason ?? ''),
      parseRetryAfter(retryAfter, unixMs) ?? retryAfterOf(details?.retryAfterSeconds),
    );
  }
}

/** A field that is not what it should be is as good as absent: it must not hide the others. */
const optional = <T>(schema: z.ZodType<T>) => schema.optional().catch(undefined);
const statusObject = z.object({
  code: optional(z.number().int().min(400).max(599)),
  reason: optional(z.string().regex(/^\w{1,64}$/)),
  message: optional(z.string()),
  details: optional(
    z.object({
      retryAfterSeconds: optional(z.number().min(0)),
      causes: optional(z.array(optional(z.object({ reason: optional(z.string()) })))),
    }),
  ),
});

/** No complete answer came: refused, reset, timed out, unreadable. The cause says which. */
export class ApiUnreachable extends Error {
  override name = 'ApiUnreachable';

  /** We did not wait any longer. */
  get timedOut(): boolean {
    return isTaskCancelledError(this.cause);
  }
}

/** Seconds or an HTTP date → milliseconds from now, from 0 to MAX_RETRY_AFTER_MS; undefined where it is neither. */
export function parseRetryAfter(value: string | undefined, unixMs: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  if (/^\d+$/.test(value)) return retryAfterOf(Number(value));
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : retryAfterOf(Math.max(0, at - unixMs) / 1000);
}

function retryAfterOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.min(MAX_RETRY_AFTER_MS, seconds * 1000);
}

export interface ApiClientOptions {
  /** As audit logs name the caller; the operator by default. */
  userAgent?: string;
  kubeConfig: KubeConfig;
  clock: Clock;
  random: Random;
  /** Called once for each answer (or error, code "<error>"). */
  onRequest?: (method: Method, code: string) => void;
}

/** What client-node makes up where it finds nothing. */
const NOTHING_FOUND = 'http://localhost:8080';

/** In-cluster configuration or a kubeconfig; `file` wins over what the environment says. Throws where there is none that can be read. */
export function loadKubeConfig(file?: string): KubeConfig {
  const kubeConfig = new KubeConfig();
  if (file === undefined) kubeConfig.loadFromDefault();
  else kubeConfig.loadFromFile(file);
  if (file === undefined && kubeConfig.getCurrentCluster()?.server === NOTHING_FOUND) {
    throw new Error(
      'no API server is known: there is no KUBECONFIG, no ~/.kube/config and no service account of a pod',
    );
  }
  return kubeConfig;
}

interface Connection {
  /** What `dispatcher` was made of. */
  fingerprint: string;
  dispatcher: Dispatcher;
  headers: Record<string, string>;
  readAtMs: MonotonicMs;
}

/** Files of credentials are read again this often, and at once after a 401. */
const CREDENTIALS_MAX_AGE_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_RETRIES = 3;
/** A server that asks for more than this is not waited for inside a call: the caller's queue does that better. */
const MAX_RETRY_WAIT_MS = 2_000;
const MAX_ERROR_BODY_BYTES = 65_536;
/** Whatever a server asks for: stale endpoints hurt sooner, and timers of Node that are too long fire at once. */
const MAX_RETRY_AFTER_MS = 120_000;
/** What of a server's message is worth a line in a log or in a status. */
const MESSAGE_MAX = 1_000;

export class ApiClient {
  readonly host: string;
  readonly #options: ApiClientOptions;
  readonly #base: string;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;

  constructor(options: ApiClientOptions) {
    const server = options.kubeConfig.getCurrentCluster()?.server;
    if (server === undefined) throw new Error('the kubeconfig names no current cluster');
    this.#options = options;
    this.#base = server.replace(/\/+$/, '');
    this.host = new URL(server).host;
  }

  /** One call, its answer parsed as JSON and not checked further. Throws ApiError, ApiUnreachable, or the signal's reason. */
  async request<T = unknown>(method: Method, path: string, options: CallOptions = {}): Promise<T> {
    const repeatable = options.repeatable ?? (method === 'GET' || options.contentType === CONTENT_TYPES.apply);
    const limit = timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS, TimeoutStrategy.Aggressive);
    const attempt = (signal: AbortSignal) => this.#call<T>(method, path, options, signal);
    try {
      if (!repeatable) return await limit.execute(({ signal }) => attempt(signal), options.signal);
      const policy = wrap(
        retry(
          handleWhen((error) => isWorthRetrying(error)),
          {
            maxAttempts: MAX_RETRIES,
            backoff: new DelegateBackoff((context: { attempt: number; result: unknown }) =>
              this.#retryDelayMs(context.attempt, context.result),
            ),
          },
        ),
        limit,
      );
      return await policy.execute(({ signal }) => attempt(signal), options.signal);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw isOurs(error) ? error : unreachable(method, path, error);
    }
  }

  /**
   * Opens a long answer (a watch) and gives its bytes as they come. The head is waited for `headTimeoutMs`; after that only the signal
   * ends it. Throws as `request`; the iteration throws ApiUnreachable when the connection breaks.
   */
  async stream(
    path: string,
    options: { query?: Query; signal: AbortSignal; headTimeoutMs: number },
  ): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send('GET', path, { ...options }, options.signal, {
      headersTimeout: options.headTimeoutMs,
      bodyTimeout: 0,
    });
    return readBody(response.body, path, options.signal);
  }

  /** Closes all connections; calls and watches under way fail. */
  async close(): Promise<void> {
    await this.#connection?.dispatcher.destroy();
    this.#connection = undefined;
  }

  async #call<T>(method: Method, path: string, options: CallOptions, signal: AbortSignal): Promise<T> {
    const response = await this.#send(method, path, options, signal, {});
    try {
      return (await response.body.json()) as T;
    } catch (error) {
      throw unreachable(method, path, error);
    }
  }

  async #send(
    method: Method,
    path: string,
    options: Pick<CallOptions, 'query' | 'body' | 'contentType' | 'fence' | 'timeoutMs'>,
    callerSignal: AbortSignal,
    timeouts: { headersTimeout?: number; bodyTimeout?: number },
    isSecondTry = false,
  ): Promise<Dispatcher.ResponseData> {
    const { fence } = options;
    // The API server gives up by then as well, so that a write which it has and we lost sight of does not happen later.
    const promisedMs =
      fence === undefined ? undefined : Math.min(leftOf(fence), options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const signal = fence === undefined ? callerSignal : AbortSignal.any([callerSignal, fence.signal]);
    const query = promisedMs === undefined ? options.query : { ...options.query, timeout: `${promisedMs}ms` };
    let response: Dispatcher.ResponseData;
    try {
      const connection = await this.#connect(isSecondTry);
      const body = options.body === undefined ? undefined : JSON.stringify(options.body);
      response = await send(this.#base + path + queryString(query), {
        method,
        dispatcher:
          fence === undefined || promisedMs === undefined
            ? connection.dispatcher
            : fenced(connection.dispatcher, fence, promisedMs),
        headers: {
          ...connection.headers,
          accept: CONTENT_TYPES.json,
          'user-agent': this.#options.userAgent ?? 'breakwater-operator',
          ...(body === undefined ? {} : { 'content-type': options.contentType ?? CONTENT_TYPES.json }),
        },
        ...(body === undefined ? {} : { body }),
        signal,
        ...timeouts,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NotLeadingError) throw error;
      this.#options.onRequest?.(method, '<error>');
      throw unreachable(method, path, error);
    }
    this.#options.onRequest?.(method, String(response.statusCode));
    if (response.statusCode < 300) return response;
    const failure = await readError(response, this.#options.clock.unixMs());
    // A token that was rotated on disk since it was read last is not the caller's problem.
    if (failure.status === 401 && !isSecondTry) return this.#send(method, path, options, callerSignal, timeouts, true);
    throw failure;
  }

  async #connect(fresh: boolean): Promise<Connection> {
    const known = this.#connection;
    const nowMs = this.#options.clock.monotonicMs();
    if (!fresh && known !== undefined && nowMs - known.readAtMs < CREDENTIALS_MAX_AGE_MS) return known;
    this.#connecting ??= this.#readCredentials().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #readCredentials(): Promise<Connection> {
    const { kubeConfig, clock } = this.#options;
    const https: RequestOptions = {};
    await kubeConfig.applyToHTTPSOptions(https);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(https.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
    if (typeof https.auth === 'string')
      headers['authorization'] = `Basic ${Buffer.from(https.auth).toString('base64')}`;
    // client-node keeps the token of a file for a minute, whatever the server says of it.
    const tokenFile: unknown = kubeConfig.getCurrentUser()?.authProvider?.config?.tokenFile;
    if (typeof tokenFile === 'string') {
      headers['authorization'] = `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
    }
    const fingerprint = fingerprintOf(https);
    const known = this.#connection;
    const readAtMs = clock.monotonicMs();
    if (known?.fingerprint === fingerprint) {
      this.#connection = { ...known, headers, readAtMs };
      return this.#connection;
    }
    const dispatcher = createDispatcher(kubeConfig, https);
    this.#connection = { fingerprint, dispatcher, headers, readAtMs };
    // Not destroyed: calls and watches under way finish on the old connections, which then close by themselves.
    void known?.dispatcher.close().catch(() => undefined);
    return this.#connection;
  }

  #retryDelayMs(attempt: number, result: unknown): number {
    const error = typeof result === 'object' && result !== null && 'error' in result ? result.error : undefined;
    if (error instanceof ApiError && error.retryAfterMs !== undefined) return error.retryAfterMs;
    return this.#options.random() * Math.min(MAX_RETRY_WAIT_MS, 100 * 2 ** attempt);
  }
}

function isOurs(error: unknown): boolean {
  return error instanceof ApiError || error instanceof ApiUnreachable || error instanceof NotLeadingError;
}

function isWorthRetrying(error: unknown): boolean {
  if (!(error instanceof ApiError)) return error instanceof ApiUnreachable;
  if ((error.retryAfterMs ?? 0) > MAX_RETRY_WAIT_MS) return false;
  return error.status === 429 || error.status === 500 || error.status === 502 || error.status === 503;
}

function unreachable(method: string, path: string, cause: unknown): ApiUnreachable {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new ApiUnreachable(`${method} ${path}: ${detail}`, { cause });
}

function queryString(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function fingerprintOf(https: RequestOptions): string {
  const hash = createHash('sha256');
  for (const part of [https.ca, https.cert, https.key]) {
    hash.update(part === undefined ? '-' : Buffer.from(part as Buffer | string)).update('\0');
  }
  return hash.update(JSON.stringify([https.servername, https.rejectUnauthorized])).digest('hex');
}

function createDispatcher(kubeConfig: KubeConfig, https: RequestOptions): Dispatcher {
  const cluster = kubeConfig.getCurrentCluster();
  const tls = {
    ...(https.ca === undefined ? {} : { ca: https.ca }),
    ...(https.cert === undefined ? {} : { cert: https.cert }),
    ...(https.key === undefined ? {} : { key: https.key }),
    ...(https.servername === undefined ? {} : { servername: https.servername }),
    ...(https.rejectUnauthorized === undefined ? {} : { rejectUnauthorized: https.rejectUnauthorized }),
  };
  // A half-open connection is found by the kernel within seconds of silence, not by the first lost request.
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: 10_000, timeout: 5_000 };
  if (cluster?.proxyUrl !== undefined) {
    if (!cluster.proxyUrl.startsWith('http'))
      throw new Error(`proxy-url ${cluster.proxyUrl}: only http proxies are supported`);
    return new ProxyAgent({ uri: cluster.proxyUrl, requestTls: connect, allowH2: false });
  }
  // HTTP/2 is off: a watch must own its connection, or one lost connection silences all of them at once.
  return new Agent({ connect, allowH2: false, keepAliveTimeout: 30_000 });
}

async function readError(response: Dispatcher.ResponseData, unixMs: number): Promise<ApiError> {
  let text = '';
  try {
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > MAX_ERROR_BODY_BYTES) break;
    }
  } catch {
    // The status alone says enough; a body that breaks off adds nothing.
  }
  const header = response.headers['retry-after'];
  const retryAfter = typeof header === 'string' ? header : header?.[0];
  return ApiError.fromStatus(parseStatus(text), response.statusCode, retryAfter, unixMs);
}

function parseStatus(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Not a Status: a proxy in between, or the server's plain text for 429.
  }
  return { message: text.slice(0, 200).trim() };
}

async function* readBody(
  body: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (error) {
    signal.throwIfAborted();
    throw unreachable('GET', path, error);
  }
}
