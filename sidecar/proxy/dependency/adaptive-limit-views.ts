// Limits that follow the latency, as status shows them.
import type { AdaptiveLimitView } from '../../data-plane.ts';
import type { DependencyRuntime } from './dependency.ts';

export function adaptiveLimitViews(dependencies: Iterable<DependencyRuntime>): AdaptiveLimitView[] {
  const views: AdaptiveLimitView[] = [];
  for (const { plan, policies } of dependencies)
    for (const [stateKey, bulkhead] of policies.bulkheads.entries()) {
      const { adaptive, limit, maxConcurrent, inFlight, queued } = bulkhead;
      if (adaptive === null) continue;
      const { baselineMs, medianMs } = adaptive;
      views.push({ dependency: plan.id, stateKey, limit, maxConcurrent, inFlight, queued, baselineMs, medianMs });
    }
  return views;
}
