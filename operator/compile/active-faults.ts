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
    const writers = policies.flatMap((policy) => {
      const field = fieldOf(policy);
      return field === undefined ? [] : [{ kind: policy.kind, object: policy.metadata, field }];
    });
    return [entry, ...writers].map((place) => problem('FaultsInjected', place, { dependency: plan.id, faults }));
  });
}

/** Where it injects faults, and not only in shadow: first beside its rules, then in them. Undefined: nowhere. */
function fieldOf(policy: ResiliencePolicy): string | undefined {
  const base: Layer = { policy, rule: undefined, position: -1 };
  const layers = [base, ...(policy.spec.rules ?? []).map((rule, position): Layer => ({ policy, rule, position }))];
  const places = layers.flatMap((layer) => enforcingPlaces([layer], 'faultInjection'));
  const found = places.find(({ blocks }) => active(blocks, 'faultInjection') !== undefined);
  return found && `${found.path}.faultInjection`;
}

function describe(faults: FaultInjectionPlan | null): string[] {
  const told: string[] = [];
  if (faults?.delay && faults.delay.percent > 0)
    told.push(`${faults.delay.percent} % wait for ${formatDuration(faults.delay.fixedMs)}`);
  if (faults?.abort && faults.abort.percent > 0)
    told.push(`${faults.abort.percent} % are answered ${faults.abort.statusCode}`);
  return told;
}
