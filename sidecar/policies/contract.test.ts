// Every policy keeps one contract: contract/contract.ts says which, and how to add a policy to the table.
import { describe, it } from 'vitest';
import { adaptiveSubject } from './contract/adaptive-limit.ts';
import { bulkheadSubject } from './contract/bulkhead.ts';
import { breakerSubject } from './contract/circuit-breaker.ts';
import { policy } from './contract/contract.ts';
import { healthSubject } from './contract/health-check.ts';
import { hedgingSubject } from './contract/hedging.ts';
import { lastGoodSubject } from './contract/last-good.ts';
import { loadBalancingSubject } from './contract/load-balancing.ts';
import { shedderSubject } from './contract/load-shedder.ts';
import { outlierSubject } from './contract/outlier-detection.ts';
import { rateLimitSubject } from './contract/rate-limit.ts';
import { budgetSubject } from './contract/retry-budget.ts';
import { shadowSubject } from './contract/shadow.ts';
import { wheelSubject } from './contract/timer-wheel.ts';

const BALANCING = ['PeakEwma', 'LeastRequest', 'RoundRobin', 'ConsistentHash'].flatMap((algorithm) => [
  algorithm,
  `${algorithm}, starting slowly`,
  `${algorithm}, starting slowly, excluding`,
]);

const POLICIES = [
  policy('bulkhead', ['free', 'full', 'queueing'], bulkheadSubject),
  policy('adaptive bulkhead', ['unknown', 'probing', 'following'], adaptiveSubject),
  policy('circuit breaker', ['Closed', 'Open', 'HalfOpen', 'probing', 'ForcedOpen', 'ForcedClosed'], breakerSubject),
  policy('health checks', ['all healthy', 'some unhealthy'], healthSubject),
  policy('outlier detection', ['all in', 'ejected', 'ejected, another withheld'], outlierSubject),
  policy('rate limit', ['granted', 'refused'], rateLimitSubject(false)),
  policy('rate limit by header', ['granted', 'refused', 'shared'], rateLimitSubject(true)),
  policy('load balancing', ['nobody', 'panicking', ...BALANCING], loadBalancingSubject),
  policy('load shedding', ['at rest', 'late', 'no memory'], shedderSubject),
  policy('last good answers', ['kept', 'given up', 'full', 'too large'], lastGoodSubject),
  policy('hedging', ['unknown', 'shortest', 'by latency', 'longest'], hedgingSubject),
  policy('retry budget', ['granted', 'refused'], budgetSubject),
  policy('shadows of a route', ['free', 'held', 'queueing', 'open', 'probing'], shadowSubject),
  policy('timer wheel', ['empty', 'armed'], wheelSubject),
];

describe('the contract of every policy', () => {
  it.each(POLICIES)('is kept by: $name', ({ keepsContract }) => keepsContract());
});
