// Faults that are injected on purpose are told to whom they concern for as long as they are there, so that nobody takes them for failures
// of a dependency, or forgets them.
import { formatDuration } from '../../crds/duration.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { FaultInjectionPlan } from '../../plan/policies/fault-injection.ts';
import type { CompiledDependency } from './dependencies.ts';
import { enforcingPlaces, type Layer } from './layers.ts';
import { active } from './policies/blocks.ts';
import { problem } from './problem.ts';
import type { Problem } from './result.ts';

/** One for the entry that is called, and one for every policy that writes them. */
export function activeFaults(dependencies: readonly CompiledDependency[]): Problem[] {
  return dependencies.flatMap(({ owner, field, plan, policies }) => {
    const faults = [...new Set(plan.policies.flatMap(({ faultInjection }) => describe(faultInjection)))].sort();
    if (faults.length === 0 || plan.enforcement === 'Disabled') return [];
    const entry = { kind: owner.kind, object: owner.metadata, field };
    const writers = policies.filter(injects);
    return [
      problem('FaultsInjected', entry, { dependency: plan.id, faults }),
      ...writers.map(({ kind, metadata }) =>
        problem(
          'FaultsInjected',
          { kind, object: metadata, field: 'spec.faultInjection' },
          { dependency: plan.id, faults },
        ),
      ),
    ];
  });
}

/** Somewhere, and not only in shadow. */
function injects(policy: ResiliencePolicy): boolean {
  const base: Layer = { policy, rule: undefined, position: -1 };
  const layers = [base, ...(policy.spec.rules ?? []).map((rule, position): Layer => ({ policy, rule, position }))];
  const places = layers.flatMap((layer) => enforcingPlaces([layer], 'faultInjection'));
  return places.some(({ blocks }) => active(blocks, 'faultInjection') !== undefined);
}

function describe(faults: FaultInjectionPlan | null): string[] {
  const told: string[] = [];
  if (faults?.delay && faults.delay.percent > 0)
    told.push(`${faults.delay.percent} % wait for ${formatDuration(faults.delay.fixedMs)}`);
  if (faults?.abort && faults.abort.percent > 0)
    told.push(`${faults.abort.percent} % are answered ${faults.abort.statusCode}`);
  return told;
}
