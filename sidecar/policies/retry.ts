// Which requests may run twice, which failures are worth it, and how long to wait before they do.
//
// Semantics: what was never sent may always be sent (gRPC A6, transparent retries) and is not asked here; anything else only if it is
// idempotent by its method (RFC 9110, 9.2.2), by a key of its own, or by word of the policy. Backoff is exponential with full jitter:
// the waits of many callers spread over the whole range instead of meeting again.
//
// What the answer itself says is obeyed in one direction only: it can forbid or postpone a retry, never bring one about. Retry-After (RFC
// 9110, 10.2.3) is the least wait; the jitter comes on top, or all callers that were sent away together would be back together.
import type { RetriesPlan } from '../../plan/policies/retries.ts';

/** Whether a request that may have been executed may be sent again. Methods are case-sensitive. */
export function mayRunTwice(method: string, hasIdempotencyKey: boolean, methods: RetriesPlan['methods']): boolean {
  if (hasIdempotencyKey || methods === 'All') return true;
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'TRACE':
    case 'PUT':
    case 'DELETE':
      return true;
    default:
      return false;
  }
}

/**
 * How long to wait before retry `retryNumber` (1 for the first): uniform in [0, min(initial · 2^(n-1), max)), milliseconds. `random` is
 * in [0, 1).
 */
export function backoffMs(
  spec: Pick<RetriesPlan, 'backoffInitialMs' | 'backoffMaxMs'>,
  retryNumber: number,
  random: number,
): number {
  return random * Math.min(spec.backoffInitialMs * 2 ** (retryNumber - 1), spec.backoffMaxMs);
}

/** Whether Retry-After asks for a longer wait than the policy takes on. `maxRetryAfterMs` 0: it is not looked at. */
export function isRetryAfterTooLong(retryAfterMs: number, maxRetryAfterMs: number): boolean {
  return maxRetryAfterMs > 0 && retryAfterMs > maxRetryAfterMs;
}

/** How long to wait before retry `retryNumber`, milliseconds: what the answer asked for (-1: nothing), and the backoff behind it. */
export function retryDelayMs(
  spec: Pick<RetriesPlan, 'backoffInitialMs' | 'backoffMaxMs' | 'maxRetryAfterMs'>,
  retryNumber: number,
  retryAfterMs: number,
  random: number,
): number {
  const pauseMs = backoffMs(spec, retryNumber, random);
  return spec.maxRetryAfterMs > 0 ? Math.max(retryAfterMs, 0) + pauseMs : pauseMs;
}

/** Marks the statuses that are retried by number; null: none is. */
export function statusTable(statusCodes: readonly number[]): Uint8Array | null {
  if (statusCodes.length === 0) return null;
  const table = new Uint8Array(1_000);
  for (const status of statusCodes) table[status] = 1;
  return table;
}
