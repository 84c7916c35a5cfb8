// What the API server says where it refuses, and what is said where it does not answer.
import { isTaskCancelledError } from 'cockatiel';
import type { Dispatcher } from 'undici';
import { z } from 'zod';

const MAX_ERROR_BODY_BYTES = 65_536;
/** Whatever a server asks for: stale endpoints hurt sooner, and timers of Node that are too long fire at once. */
const MAX_RETRY_AFTER_MS = 120_000;
/** What of a server's message is worth a line in a log or in a status. */
const MESSAGE_MAX = 1_000;

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

/** Of an answer that is none of success. Never rejects. */
export async function readError(response: Dispatcher.ResponseData, unixMs: number): Promise<ApiError> {
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

/** `cause`: whatever was thrown instead of an answer. */
export function unreachable(method: string, path: string, cause: unknown): ApiUnreachable {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new ApiUnreachable(`${method} ${path}: ${detail}`, { cause });
}
