// Pods → workloads: a namespace and the set of ServiceDependencies that select a pod. Each distinct set gets one plan, the union of what
// its members declare.
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { PLAN_FORMAT_VERSION, PLAN_LIMITS, type WorkloadPlan } from '../../plan/plan.ts';
import { certificateProblems } from './certificates.ts';
import type { CompiledDependency } from './dependencies.ts';
import { enforcementOf } from './enforcement.ts';
import { versionOf } from './identity.ts';
import { missedPods } from './injection.ts';
import { problem } from './problem.ts';
import { refusalProblems } from './refusals.ts';
import type { CompiledWorkload, Problem } from './result.ts';
import { withoutRules } from './routes.ts';
import { createSelection } from './selector.ts';
import { undeclaredProblems, unprivilegedProblems } from './unprivileged.ts';
import type { WorldPod } from './world.ts';
import { compareAge, compareText, groupBy, keyOf, type WorldIndex } from './world-index.ts';

/** Room for what a frame holds besides the plan. */
const FRAME_OVERHEAD_BYTES = 4096;

export interface Workloads {
  /** By id. */
  workloads: readonly CompiledWorkload[];
  problems: readonly Problem[];
}

/** "<namespace>/<names, sorted, joined by +>": what a workload is. No name for a pod that no ServiceDependency selects. */
export function workloadId(namespace: string, serviceDependencies: readonly string[]): string {
  return `${namespace}/${[...serviceDependencies].sort().join('+')}`;
}

/** By the key of the ServiceDependency that declares them. */
type ByOwner = ReadonlyMap<string, readonly CompiledDependency[]>;

interface Group {
  namespace: string;
  /** Oldest first. */
  members: readonly ServiceDependency[];
  pods: WorldPod[];
}

export function compileWorkloads(index: WorldIndex, dependencies: readonly CompiledDependency[]): Workloads {
  const problems: Problem[] = [];
  const byOwner = groupBy(dependencies, (dependency) => keyOf(dependency.owner.metadata));
  const enforced = (member: ServiceDependency) => enforcementOf(index, member).value === 'Enabled';
  const groups = groupPods(index, byOwner, problems);
  const workloads = groups.map((group) => compileWorkload(group, byOwner, enforced, problems));
  return { workloads: workloads.sort((a, b) => compareText(a.id, b.id)), problems };
}

/**
 * Every set of ServiceDependencies that selects a pod, and each that selects none on its own, so that it has a plan before its first pod.
 * Pods without any are a workload of their own only where they have a sidecar, which waits for a plan.
 */
function groupPods(index: WorldIndex, byOwner: ByOwner, problems: Problem[]): Group[] {
  const groups = new Map<string, Group>();
  const selectedPods = new Map<ServiceDependency, WorldPod[]>();
  const declared = groupBy(index.serviceDependencies.values(), (dependency) => dependency.metadata.namespace);
  const add = (namespace: string, members: readonly ServiceDependency[]): Group => {
    const id = workloadId(
      namespace,
      members.map((member) => member.metadata.name),
    );
    const group = groups.get(id) ?? { namespace, members, pods: [] };
    groups.set(id, group);
    return group;
  };
  for (const [namespace, pods] of index.pods) {
    const select = createSelection(declared.get(namespace) ?? []);
    for (const pod of pods) {
      const members = select(pod.labels).sort(compareAge);
      if (members.length === 0 && !pod.injected) continue;
      add(namespace, members).pods.push(pod);
      for (const member of members) {
        const selected = selectedPods.get(member);
        if (selected) selected.push(pod);
        else selectedPods.set(member, [pod]);
      }
    }
  }
  for (const dependency of index.serviceDependencies.values()) {
    const { namespace } = dependency.metadata;
    const place = { kind: dependency.kind, object: dependency.metadata, field: 'spec.consumer.selector' };
    const pods = selectedPods.get(dependency);
    problems.push(...refusalProblems(index, place, pods ?? []));
    if (pods === undefined) {
      add(namespace, [dependency]);
      problems.push(problem('NoPodsSelected', place, { namespace }));
    } else {
      problems.push(
        ...missedPods(index, place, pods),
        ...unprivilegedProblems(place, pods, byOwner.get(keyOf(dependency.metadata)) ?? []),
        ...certificateProblems(place, pods, byOwner.get(keyOf(dependency.metadata)) ?? []),
        ...undeclaredProblems(place, dependency.spec.undeclared, pods),
      );
    }
  }
  return [...groups.values()];
}

function compileWorkload(
  group: Group,
  byOwner: ByOwner,
  enforced: (member: ServiceDependency) => boolean,
  problems: Problem[],
): CompiledWorkload {
  const { namespace, members } = group;
  const names = members.map((member) => member.metadata.name).sort();
  const id = workloadId(namespace, names);
  const dependencies = union(
    members.flatMap((member) => byOwner.get(keyOf(member.metadata)) ?? []),
    problems,
  );
  const parts = fit(dependencies, id, problems).sort((a, b) => compareText(a.plan.id, b.plan.id));
  const head = {
    formatVersion: PLAN_FORMAT_VERSION,
    namespace,
    serviceDependencies: names,
    // The kill switch lets through what it is thrown for: calls that a ServiceDependency would have refused among them.
    undeclared: strictest(members.filter(enforced)),
  } as const;
  const plan: WorkloadPlan = { ...head, dependencies: parts.map((part) => part.plan) };
  return {
    id,
    namespace,
    plan,
    // Made of the versions of its parts, which are shared by many plans.
    version: versionOf([head, parts.map((part) => part.version)]),
    endpointKeys: [
      ...new Set(plan.dependencies.flatMap(({ service, endpointsKey }) => (service === null ? [] : [endpointsKey]))),
    ].sort(),
    pods: group.pods.map(keyOf).sort(),
    sidecars: group.pods.filter(runsSidecar).map(keyOf).sort(),
  };
}

const UNDECLARED = ['Allow', 'Warn', 'Deny'] as const;

function strictest(members: readonly ServiceDependency[]): WorkloadPlan['undeclared'] {
  const said = members.map(({ spec }) => UNDECLARED.indexOf(spec.undeclared ?? 'Allow'));
  return UNDECLARED[Math.max(0, ...said)] ?? 'Allow';
}

function runsSidecar(pod: WorldPod): boolean {
  return pod.injected && !pod.terminating && pod.phase === 'Running';
}

/** The workload of a pod that no ServiceDependency selects: everything it sends passes untouched. */
export function emptyWorkload(namespace: string): CompiledWorkload {
  return compileWorkload({ namespace, members: [], pods: [] }, new Map(), () => true, []);
}

/** Of two entries with one destination the first counts: that of the older ServiceDependency, in one of them the upper. */
function union(candidates: readonly CompiledDependency[], problems: Problem[]): CompiledDependency[] {
  const byDestination = new Map<string, CompiledDependency>();
  const byName = new Map<string, CompiledDependency>();
  for (const candidate of candidates) {
    const { owner, field, plan } = candidate;
    const place = { kind: owner.kind, object: owner.metadata, field };
    const known = byDestination.get(plan.endpointsKey);
    if (known !== undefined) {
      const by = `${describe(known)} of ServiceDependency ${keyOf(known.owner.metadata)}`;
      problems.push(problem('DuplicateDestination', place, { destination: plan.endpointsKey, by }));
      continue;
    }
    if (byDestination.size === PLAN_LIMITS.dependencies) {
      const details = { dependency: plan.id, limit: PLAN_LIMITS.dependencies };
      problems.push(problem('TooManyDependencies', place, details));
      continue;
    }
    byDestination.set(plan.endpointsKey, candidate);
    const namesake = byName.get(plan.name);
    if (namesake === undefined) byName.set(plan.name, candidate);
    else {
      const by = `ServiceDependency ${keyOf(namesake.owner.metadata)}`;
      problems.push(problem('DuplicateName', { ...place, field: `${field}.name` }, { name: plan.name, by }));
    }
  }
  return [...byDestination.values()];
}

function describe(dependency: CompiledDependency): string {
  return `entry ${dependency.plan.name}`;
}

type Part = Pick<CompiledDependency, 'plan' | 'version'>;

/** A sidecar refuses a frame beyond the limit whole; so the largest tables lose their rules, the largest first, until the plan fits. */
function fit(dependencies: readonly CompiledDependency[], workload: string, problems: Problem[]): Part[] {
  const limit = PLAN_LIMITS.frameBytes - FRAME_OVERHEAD_BYTES;
  let total = dependencies.reduce((sum, dependency) => sum + dependency.bytes, 0);
  if (total <= limit) return [...dependencies];
  const reduced = new Map<CompiledDependency, Part>();
  for (const dependency of [...dependencies].sort((a, b) => b.bytes - a.bytes || compareText(a.plan.id, b.plan.id))) {
    if (total <= limit) break;
    const plan = { ...dependency.plan, ...withoutRules(dependency.plan) };
    reduced.set(dependency, { plan, version: versionOf(plan) });
    total += Buffer.byteLength(JSON.stringify(plan)) - dependency.bytes;
    for (const policy of dependency.policies) {
      if (!policy.spec.rules?.length) continue;
      const place = { kind: policy.kind, object: policy.metadata, field: 'spec.rules' };
      problems.push(problem('PlanTooLarge', place, { dependency: dependency.plan.id, workload, limit }));
    }
  }
  return dependencies.map((dependency) => reduced.get(dependency) ?? dependency);
}
