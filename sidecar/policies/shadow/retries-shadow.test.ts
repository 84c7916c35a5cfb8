// The edges of retries in shadow, and what they leave to others.
import { describe, expect, it } from 'vitest';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import { GrpcStatus } from '../../grpc/status.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { RateLimit } from '../rate-limit.ts';
import { RetryBudget } from '../retry-budget.ts';
import { RateLimitShadow } from './rate-limit-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { type Happens, Route } from './testing.ts';

const RETRIES: RetriesPlan = {
  stateKey: '',
  maxAttempts: 3,
  retryOn: ['Reset'],
  retryOnStatusCodes: [409],
  retryOnGrpcStatusCodes: ['Unavailable'],
  maxRetryAfterMs: 1_000,
  methods: 'Idempotent',
  backoffInitialMs: 20,
  backoffMaxMs: 100,
  budgetPercent: 0,
  budgetMinPerSecond: 100,
};
function retries(changes: Partial<RetriesPlan> = {}) {
  const plan = { ...RETRIES, ...changes };
  return new RetriesShadow(plan, new RetryBudget(plan, 0));
}
const RESET = { endMs: 10, bits: FailureBit.Reset };

describe('a retry in shadow', () => {
  it.each<[string, Happens, Partial<RetriesPlan>, Record<string, number>]>([
    ['no answer, though one before it had a status', { endMs: 10, outcome: Outcome.Ignored, status: 409 }, {}, {}],
    [
      'a failure that its caller is to blame for, whose answer is listed',
      { endMs: 10, status: 409, outcome: Outcome.Ignored, answered: true },
      {},
      { retry: 1 },
    ],
    ['no answer, and so no Retry-After, however short one may be', RESET, { maxRetryAfterMs: 0 }, { retry: 1 }],
    ['no answer, though one before it asked for a long wait', { ...RESET, retryAfterMs: 9_000 }, {}, { retry: 1 }],
    ['no answer, though one before it refused', { ...RESET, refusesRetry: true }, {}, { retry: 1 }],
    [
      'a Retry-After that is just as long as the longest',
      { endMs: 10, status: 409, retryAfterMs: 1_000 },
      {},
      { retry: 1 },
    ],
  ])('is counted, or not: %s', (_, happens, changes, decisions) => {
    const route = new Route(retries(changes));
    route.request(happens);
    expect(route.decisions).toEqual(decisions);
  });

  it('follows a status of gRPC that is listed', () => {
    const told = (grpcStatus: number) => {
      const route = new Route(retries());
      const call = route.begin(0);
      route.attempt(call, 0);
      call.grpcStatus = grpcStatus;
      route.endAttempt(call, { endMs: 10, status: 200 });
      route.shadow.end(call, 10);
      return route.decisions;
    };
    expect([GrpcStatus.Unavailable, GrpcStatus.Internal, -1].map(told)).toEqual([{ retry: 1 }, {}, {}]);
  });

  it('comes before the deadline, and not at it', () => {
    // In the mean the first wait is half of its bound.
    const told = (deadlineMs: number) => {
      const route = new Route(retries());
      route.request(RESET, 'GET', deadlineMs);
      return route.decisions;
    };
    expect([20, 20.5].map(told)).toEqual([{ 'suppressed-deadline': 1 }, { retry: 1 }]);
  });

  it('waits for longer after each attempt', () => {
    const route = new Route(retries());
    const call = route.begin(0, 'GET', 35);
    for (const startMs of [0, 10]) {
      route.attempt(call, startMs);
      route.endAttempt(call, { endMs: startMs + 10, bits: FailureBit.Reset });
    }
    expect(route.decisions).toEqual({ retry: 1, 'suppressed-deadline': 1 });
  });

  it('is none of a request that another shadow would have ended', () => {
    const limit = new RateLimit({ requestsPerSecond: 1, burst: 1, perHeader: null }, 0);
    const route = new Route(new RateLimitShadow(limit), retries());
    for (let nth = 0; nth < 3; nth += 1) route.request(RESET);
    expect(route.decisions).toEqual({ 'rate-limited': 2, retry: 1 });
  });

  it('is paid for by requests, of those that come to it', () => {
    const paid = { budgetPercent: 50, budgetMinPerSecond: 0 };
    const route = new Route(retries(paid));
    // It is full at first, which is one; and two requests bring another one.
    for (let nth = 0; nth < 6; nth += 1) route.request(RESET);
    expect(route.decisions).toEqual({ retry: 3, 'suppressed-budget': 3 });
    const limit = new RateLimit({ requestsPerSecond: 1, burst: 2, perHeader: null }, 0);
    const limited = new Route(new RateLimitShadow(limit), retries(paid));
    for (let nth = 0; nth < 6; nth += 1) limited.request({ endMs: 10 });
    for (const startMs of [1_000, 1_001]) limited.request({ ...RESET, startMs, endMs: startMs + 1 });
    limited.request({ ...RESET, startMs: 2_000, endMs: 2_001 });
    expect(limited.decisions).toEqual({ 'rate-limited': 5, retry: 2 });
  });
});
