// What status tells of an object beside its problems: how much of it is resolved, and whom it concerns.
import { type Attachments, targetKey, targetsOf } from './attach.ts';
import type { CompiledDependency } from './dependencies.ts';
import { problem } from './problem.ts';
import type { ResolvedDependency } from './resolve.ts';
import type { CompiledWorkload, CompileResult, Problem } from './result.ts';
import { groupBy, keyOf, type WorldIndex } from './world-index.ts';

type Facts = CompileResult['facts'];

export function dependencyFacts(
  index: WorldIndex,
  resolved: readonly ResolvedDependency[],
  workloads: readonly CompiledWorkload[],
): Facts['dependencies'] {
  const resolvedByOwner = groupBy(resolved, (dependency) => keyOf(dependency.owner.metadata));
  const workloadsByOwner = new Map<string, string[]>();
  for (const { id, namespace, plan } of workloads) {
    for (const name of plan.serviceDependencies) append(workloadsByOwner, keyOf({ namespace, name }), id);
  }
  return new Map(
    [...index.serviceDependencies].map(([key, { spec }]) => [
      key,
      {
        workloads: workloadsByOwner.get(key) ?? [],
        entries: spec.dependsOn.length,
        resolved: resolvedByOwner.get(key)?.length ?? 0,
      },
    ]),
  );
}

/** Only what a plan really holds counts: a dependency that lost to an older declaration is not acted on. */
export function policyFacts(
  index: WorldIndex,
  attachments: Attachments,
  dependencies: readonly CompiledDependency[],
  workloads: readonly CompiledWorkload[],
): { facts: Facts['policies']; problems: readonly Problem[] } {
  const workloadsByDependency = new Map<string, string[]>();
  for (const { id, plan } of workloads) {
    for (const dependency of plan.dependencies) append(workloadsByDependency, dependency.id, id);
  }
  const targets = new Set<string>();
  const dependenciesByPolicy = new Map<string, string[]>();
  for (const { owner, target: called, plan, policies } of dependencies) {
    for (const target of targetsOf(owner.metadata, plan.name, called?.service)) targets.add(target);
    if (!workloadsByDependency.has(plan.id)) continue;
    for (const policy of policies) append(dependenciesByPolicy, keyOf(policy.metadata), plan.id);
  }
  const problems: Problem[] = [];
  const facts = new Map<string, { dependencies: readonly string[]; workloads: readonly string[] }>();
  for (const policy of index.resiliencePolicies) {
    const key = keyOf(policy.metadata);
    const ids = (dependenciesByPolicy.get(key) ?? []).sort();
    const concerned = new Set(ids.flatMap((id) => workloadsByDependency.get(id) ?? []));
    facts.set(key, { dependencies: ids, workloads: [...concerned].sort() });
    policy.spec.targetRefs.forEach((reference, position) => {
      const target = targetKey(policy.metadata.namespace, reference);
      if (attachments.byTarget.get(target) !== policy || targets.has(target)) return;
      const place = { kind: policy.kind, object: policy.metadata, field: `spec.targetRefs[${position}]` };
      problems.push(problem('ActsOnNothing', place, { target }));
    });
  }
  return { facts, problems };
}

function append(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
