// Relations between blocks, which none of them can see alone: numbers that are bounded by those of another block, and what is only told.
import { formatDuration } from '../../../crds/duration.ts';
import type { Blocks, Findings } from './block.ts';
import { type AllNumbers, active } from './blocks.ts';

/** The numbers, with those settled that follow numbers of another block. */
type Settlement = (blocks: Blocks, numbers: AllNumbers, findings: Findings) => AllNumbers;
/** Looks at the merged blocks and what they mean in numbers, and only tells. */
type Relation = (blocks: Blocks, numbers: AllNumbers, tell: Findings['tell']) => void;

/**
 * Only where somebody wrote an attempt timeout: by default an attempt may take as long as the request, and retries are then for what
 * fails sooner than that.
 */
function tellRetriesThatCannotFinish(blocks: Blocks, { timeouts, retries }: AllNumbers, tell: Findings['tell']): void {
  const written = active(blocks, 'timeouts')?.attempt;
  if (retries === null || !written || timeouts.requestMs === 0) return;
  if (retries.maxAttempts < 2 || !retries.retryOn.includes('AttemptTimeout')) return;
  let needed = retries.maxAttempts * timeouts.attemptMs;
  let pause = retries.backoffInitialMs;
  for (let retry = 1; retry < retries.maxAttempts; retry++) {
    needed += pause;
    pause = Math.min(pause * 2, retries.backoffMaxMs);
  }
  if (needed <= timeouts.requestMs) return;
  tell({
    reason: 'RetriesCannotFinish',
    fields: [
      ['retries', 'maxAttempts'],
      ['timeouts', 'attempt'],
      ['timeouts', 'request'],
    ],
    details: {
      maxAttempts: retries.maxAttempts,
      attempt: formatDuration(timeouts.attemptMs),
      needed: formatDuration(needed),
      request: formatDuration(timeouts.requestMs),
    },
  });
}

/** A probe is an attempt too: it has its own time where that is shorter, and otherwise that of an attempt. */
function settleProbeTimeout(blocks: Blocks, numbers: AllNumbers, { tell, follow }: Findings): AllNumbers {
  const { circuitBreaker, timeouts } = numbers;
  const { attemptMs } = timeouts;
  const written = active(blocks, 'circuitBreaker')?.halfOpen?.probeTimeout;
  if (circuitBreaker === null || attemptMs === 0 || (written !== undefined && written <= attemptMs)) return numbers;
  if (written !== undefined) {
    tell({
      reason: 'ProbeTimeoutExceedsAttempt',
      fields: [
        ['circuitBreaker', 'halfOpen.probeTimeout'],
        ['timeouts', 'attempt'],
        ['timeouts', 'request'],
      ],
      details: { probeTimeout: formatDuration(written), attempt: formatDuration(attemptMs) },
    });
  }
  follow('circuitBreaker.halfOpen.probeTimeout', 'timeouts.attempt');
  return { ...numbers, circuitBreaker: { ...circuitBreaker, halfOpenProbeTimeoutMs: attemptMs } };
}

function tellDelayThatReachesTheDeadline(
  _blocks: Blocks,
  { timeouts, faultInjection }: AllNumbers,
  tell: Findings['tell'],
): void {
  const delay = faultInjection?.delay ?? null;
  if (delay === null || delay.percent === 0 || timeouts.requestMs === 0 || delay.fixedMs < timeouts.requestMs) return;
  tell({
    reason: 'DelayReachesDeadline',
    fields: [
      ['faultInjection', 'delay.fixed'],
      ['timeouts', 'request'],
    ],
    details: { delay: formatDuration(delay.fixedMs), request: formatDuration(timeouts.requestMs) },
  });
}

function tellHedgingThatNeverActs(
  _blocks: Blocks,
  { hedging, retries, bulkhead, timeouts }: AllNumbers,
  tell: Findings['tell'],
): void {
  if (hedging === null) return;
  const block = ['hedging', ''] as const;
  if (retries === null) {
    tell({ reason: 'HedgingWithoutRetries', fields: [block], details: {} });
    return;
  }
  if (retries.budgetPercent === 0 && retries.budgetMinPerSecond === 0)
    tell({
      reason: 'HedgingWithoutBudget',
      fields: [block, ['retries', 'budget.percent'], ['retries', 'budget.minPerSecond']],
      details: {},
    });
  if (bulkhead?.maxConcurrent === 1)
    tell({ reason: 'HedgingWithoutPlace', fields: [block, ['bulkhead', 'maxConcurrent']], details: {} });
  if (timeouts.attemptMs === 0 || hedging.minDelayMs < timeouts.attemptMs) return;
  tell({
    reason: 'HedgingAfterAttempt',
    fields: [['hedging', 'minDelay'], ['timeouts', 'attempt'], ['timeouts', 'request'], block],
    details: { minDelay: formatDuration(hedging.minDelayMs), attempt: formatDuration(timeouts.attemptMs) },
  });
}

export const SETTLEMENTS: readonly Settlement[] = [settleProbeTimeout];
export const RELATIONS: readonly Relation[] = [
  tellRetriesThatCannotFinish,
  tellDelayThatReachesTheDeadline,
  tellHedgingThatNeverActs,
];
