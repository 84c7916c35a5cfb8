// What makes one failure of a call to the API server the same as another.
import { ApiError, ApiUnreachable } from './api-errors.ts';

const REASONS: ReadonlySet<string> = new Set(
  (
    'BadRequest Expired Forbidden Gone InternalError Invalid NotAcceptable NotFound ServerTimeout ServiceUnavailable Timeout ' +
    'TooManyRequests Unauthorized'
  ).split(' '),
);

/** One of a few words, for a label of a metric: a server in between must not make up series. */
export function failureReason(failure: unknown): string {
  if (failure instanceof ApiError) return REASONS.has(failure.reason) ? failure.reason : `HTTP${failure.status}`;
  return failure instanceof Error ? failure.name : 'Unknown';
}

/** Without the texts of a server, which may hold the number of the request. */
export function failureKind(failure: unknown): string {
  const cause = failure instanceof ApiUnreachable ? codeOf(failure.cause) : '';
  return `${failureReason(failure)} ${cause}`;
}

function codeOf(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
}

/** The API server is away, overloaded or does not know us: any other call would fail in the same way, and should wait as well. */
export function isAway(failure: unknown): boolean {
  if (failure instanceof ApiUnreachable) return true;
  return failure instanceof ApiError && (failure.status === 401 || failure.status === 429 || failure.status >= 500);
}
