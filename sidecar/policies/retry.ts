// Which requests may run twice, and how long to wait before they do.
//
// Semantics: what was never sent may always be sent (gRPC A6, transparent retries) and is not asked here; anything else only if it is
// idempotent by its method (RFC 9110, 9.2.2), by a key of its own, or by word of the policy. Backoff is exponential with full jitter:
// the waits of many callers spread over the whole range instead of meeting again.
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
  const ceiling = spec.backoffInitialMs * 2 ** (retryNumber - 1);
  return random * (ceiling < spec.backoffMaxMs ? ceiling : spec.backoffMaxMs);
}
