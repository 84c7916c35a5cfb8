// Relations between blocks, which none of them can see alone. They only tell: what each block does stays as it is.
import { formatDuration } from '../../../crds/duration.ts';
import type { Blocks, Findings } from './block.ts';
import { type AllNumbers, active } from './blocks.ts';

/** Looks at the merged blocks and what they mean in numbers. */
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

export const RELATIONS: readonly Relation[] = [tellRetriesThatCannotFinish];
