import { formatDuration } from '../../../crds/duration.ts';
import { retriesDefaults as defaults } from '../../../crds/policies/retries.ts';
import type { BlockCompiler } from './block.ts';
import { connectionFailures } from './connection-failures.ts';

export const retries: BlockCompiler<'retries'> = {
  absent: null,
  hasState: true,
  needsCodec: ['methods', 'retryOnStatusCodes', 'retryOnGrpcStatusCodes', 'maxRetryAfter'],
  // What it wants of a connection may be nothing: then none is tried twice.
  onConnections: (numbers) => ({ ...numbers, retryOn: connectionFailures(numbers.retryOn) }),
  toPlan(block, { tell, follow }) {
    let initial = block.backoff?.initial ?? defaults.backoff.initial;
    let max = block.backoff?.max ?? defaults.backoff.max;
    if (initial > max) {
      // A bound that somebody wrote holds; a default gives way to what somebody wrote.
      const writtenMax = block.backoff?.max !== undefined;
      const writtenInitial = block.backoff?.initial !== undefined;
      if (writtenMax && writtenInitial) {
        tell({
          reason: 'BackoffExceedsMax',
          fields: [
            ['retries', 'backoff.initial'],
            ['retries', 'backoff.max'],
          ],
          details: { initial: formatDuration(initial), max: formatDuration(max) },
        });
      }
      if (writtenMax) {
        initial = max;
        follow('retries.backoff.initial', 'retries.backoff.max');
      } else {
        max = initial;
        follow('retries.backoff.max', 'retries.backoff.initial');
      }
    }
    return {
      maxAttempts: block.maxAttempts ?? defaults.maxAttempts,
      retryOn: [...(block.retryOn ?? defaults.retryOn)].sort(),
      retryOnStatusCodes: [...(block.retryOnStatusCodes ?? defaults.retryOnStatusCodes)].sort(
        (one, other) => one - other,
      ),
      retryOnGrpcStatusCodes: [...(block.retryOnGrpcStatusCodes ?? defaults.retryOnGrpcStatusCodes)].sort(),
      methods: block.methods ?? defaults.methods,
      backoffInitialMs: initial,
      backoffMaxMs: max,
      maxRetryAfterMs: block.maxRetryAfter ?? defaults.maxRetryAfter,
      budgetPercent: block.budget?.percent ?? defaults.budget.percent,
      budgetMinPerSecond: block.budget?.minPerSecond ?? defaults.budget.minPerSecond,
    };
  },
  fields: {
    maxAttempts: 'maxAttempts',
    retryOn: 'retryOn',
    retryOnStatusCodes: 'retryOnStatusCodes',
    retryOnGrpcStatusCodes: 'retryOnGrpcStatusCodes',
    methods: 'methods',
    backoffInitialMs: 'backoff.initial',
    backoffMaxMs: 'backoff.max',
    maxRetryAfterMs: 'maxRetryAfter',
    budgetPercent: 'budget.percent',
    budgetMinPerSecond: 'budget.minPerSecond',
  },
};
