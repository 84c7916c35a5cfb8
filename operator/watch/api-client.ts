// The only way to the API server; api-connection.ts holds the connections to it.
//
// Single calls are retried by cockatiel where running twice does no harm. Watches are not: whoever watches must know that it was cut.
import type { KubeConfig } from '@kubernetes/client-node';
import { DelegateBackoff, handleWhen, retry, TimeoutStrategy, timeout, wrap } from 'cockatiel';
import { type Dispatcher, request as send } from 'undici';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { ApiConnection } from './api-connection.ts';
import { ApiError, ApiUnreachable, readError, unreachable } from './api-errors.ts';
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

export interface ApiClientOptions {
  /** As audit logs name the caller; the operator by default. */
  userAgent?: string;
  kubeConfig: KubeConfig;
  clock: Clock;
  random: Random;
  /** Called once for each answer (or error, code "<error>"). */
  onRequest?: (method: Method, code: string) => void;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_RETRIES = 3;
/** A server that asks for more than this is not waited for inside a call: the caller's queue does that better. */
const MAX_RETRY_WAIT_MS = 2_000;

export class ApiClient {
  readonly host: string;
  readonly #options: ApiClientOptions;
  readonly #base: string;
  readonly #connection: ApiConnection;

  constructor(options: ApiClientOptions) {
    const server = options.kubeConfig.getCurrentCluster()?.server;
    if (server === undefined) throw new Error('the kubeconfig names no current cluster');
    this.#options = options;
    this.#connection = new ApiConnection(options.kubeConfig, options.clock);
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
    await this.#connection.close();
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
      const connection = await this.#connection.connect(isSecondTry);
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

function queryString(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
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
