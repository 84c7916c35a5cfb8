// What may go wrong with an attempt, as bits: whether a policy cares is then one AND.
import type { FailureKind } from '../../plan/policies/values.ts';

export const FailureBit = {
  ConnectFailure: 1,
  Reset: 2,
  AttemptTimeout: 4,
  /** 502, 503, 504. */
  GatewayError: 8,
  /** Any 5xx. */
  ServerError: 16,
  /** 429. */
  TooManyRequests: 32,
} as const satisfies Record<FailureKind, number>;

const NARROW_FIRST = Object.entries(FailureBit) as [FailureKind, number][];

export function failureMask(kinds: readonly FailureKind[]): number {
  let mask = 0;
  for (const kind of kinds) mask |= FailureBit[kind];
  return mask;
}

/** What the sidecar itself sees, where no status tells it. */
export const LOCAL_ORIGIN = FailureBit.ConnectFailure | FailureBit.Reset | FailureBit.AttemptTimeout;

/** The narrowest name of a failure among those that are counted; empty where none of them is. */
export function failureName(bits: number): FailureKind | '' {
  for (const [kind, bit] of NARROW_FIRST) if ((bits & bit) !== 0) return kind;
  return '';
}

/** The failures that a status is; 0 for a status that is none. A status above 599 is invalid and counts as 5xx (RFC 9110, 15). */
export function statusFailures(status: number): number {
  if (status >= 500) {
    return status >= 502 && status <= 504 ? FailureBit.GatewayError | FailureBit.ServerError : FailureBit.ServerError;
  }
  return status === 429 ? FailureBit.TooManyRequests : 0;
}
