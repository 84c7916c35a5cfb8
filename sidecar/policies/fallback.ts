// What a fallback may take the place of, as bits: whether it acts is then one AND.
import type { FallbackReason } from '../../plan/policies/fallback.ts';
import { LOCAL_ANSWERS, type LocalAnswer } from '../errors.ts';

export const FallbackBit = {
  CircuitOpen: 1,
  BulkheadFull: 1 << 1,
  QueueTimeout: 1 << 2,
  NoEndpoints: 1 << 3,
  ConnectFailure: 1 << 4,
  Reset: 1 << 5,
  InvalidResponse: 1 << 6,
  AttemptTimeout: 1 << 7,
  Deadline: 1 << 8,
  /** 502, 503, 504. */
  GatewayError: 1 << 9,
  /** Any 5xx. */
  ServerError: 1 << 10,
  /** 429. */
  TooManyRequests: 1 << 11,
  /** 429 of our own. */
  RateLimited: 1 << 12,
} as const satisfies Record<FallbackReason, number>;

/** An answer that is not named here is about the request itself, or about this sidecar: nothing takes its place. */
const BY_ANSWER: ReadonlyMap<string, number> = new Map([
  [LOCAL_ANSWERS.circuitOpen.code, FallbackBit.CircuitOpen],
  [LOCAL_ANSWERS.bulkheadFull.code, FallbackBit.BulkheadFull],
  [LOCAL_ANSWERS.queueTimeout.code, FallbackBit.QueueTimeout],
  [LOCAL_ANSWERS.rateLimited.code, FallbackBit.RateLimited],
  [LOCAL_ANSWERS.noEndpoints.code, FallbackBit.NoEndpoints],
  [LOCAL_ANSWERS.connectFailed.code, FallbackBit.ConnectFailure],
  [LOCAL_ANSWERS.reset.code, FallbackBit.Reset],
  [LOCAL_ANSWERS.invalidResponse.code, FallbackBit.InvalidResponse],
  [LOCAL_ANSWERS.attemptTimeout.code, FallbackBit.AttemptTimeout],
  [LOCAL_ANSWERS.deadline.code, FallbackBit.Deadline],
]);

export function fallbackMask(reasons: readonly FallbackReason[]): number {
  let mask = 0;
  for (const reason of reasons) mask |= FallbackBit[reason];
  return mask;
}

/** Of a status that the dependency answered, or that a fault stands for; 0: it is no failure. A status above 599 is read as 5xx. */
export function statusBits(status: number): number {
  if (status === 429) return FallbackBit.TooManyRequests;
  if (status < 500) return 0;
  return status >= 502 && status <= 504 ? FallbackBit.GatewayError | FallbackBit.ServerError : FallbackBit.ServerError;
}

/** Of an answer that the sidecar is about to give; an injected fault is what its status is. */
export function answerBits(answer: LocalAnswer): number {
  if (answer.code === LOCAL_ANSWERS.faultInjected.code) return statusBits(answer.status);
  return BY_ANSWER.get(answer.code) ?? 0;
}

/** RFC 9110, 9.2.1: sending it again, elsewhere or not at all changes nothing. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}
