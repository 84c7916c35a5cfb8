// What a status is about: which problems, dependencies and sidecars concern an object of ours. Pure.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { CompileResult, OwnKind, Problem } from '../compile/result.ts';
import type { InvalidObject } from '../compile/world.ts';
import { compareText, keyOf } from '../compile/world-index.ts';
import type { ExclusionSummary } from '../distribute/exclusions.ts';
import type { OpaqueSummary } from '../distribute/opaque.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import type { TlsSummary } from '../distribute/tls-reports.ts';

/** The object as it stands: what was read of it, and the status it has now, unchecked. */
export interface StatusSubject {
  kind: OwnKind;
  namespace: string;
  name: string;
  generation: number;
  content: { model: ServiceDependency | ResiliencePolicy } | { invalid: InvalidObject };
  status: unknown;
}

/** What the sidecars say, over all of them. */
export interface SidecarReports {
  /** By id of the workload; none where no sidecar of it was seen. */
  applied: ReadonlyMap<
    string,
    {
      /** Sidecars that apply the present plan, of those that are connected. */
      applied: number;
      of: number;
      nacks: readonly { pod: string; message: string }[];
      /** Names of the pods that apply it. */
      appliedPods: readonly string[];
      /** Names of the pods whose local kill switch is thrown. */
      locallyDisabled: readonly string[];
    }
  >;
  circuits: readonly CircuitSummary[];
  exclusions: readonly ExclusionSummary[];
  opaque: readonly OpaqueSummary[];
  tls: readonly TlsSummary[];
}

/** Problems of the targets of a policy are told by both conditions: it has no effect, and something it refers to is missing. */
const REFERENCE_REASONS: ReadonlySet<string> = new Set(['TargetNotFound', 'TargetInvalid', 'SectionNotFound']);

// ---- What the object is about ----

/** What an object is about. */
export interface Scope {
  /** Ids of the dependencies it declares or acts on. */
  dependencies: (id: string) => boolean;
  /** False where the compiler has not seen the object yet. */
  compiled: boolean;
  /** Whether it concerns any dependency at all. */
  concernsAny: boolean;
  workloads: readonly string[];
  /** Entries or targets, and how many of them exist. */
  entries: number;
  resolved: number;
}

export function scopeOf(subject: StatusSubject, result: CompileResult): Scope {
  const key = keyOf(subject);
  if (!('model' in subject.content)) {
    return { dependencies: () => false, compiled: true, concernsAny: false, workloads: [], entries: 0, resolved: 0 };
  }
  const { model } = subject.content;
  if (model.kind === 'ServiceDependency') {
    const facts = result.facts.dependencies.get(key);
    const prefix = `${key}/`;
    return {
      dependencies: (id) => id.startsWith(prefix),
      compiled: facts !== undefined,
      concernsAny: (facts?.resolved ?? 0) > 0,
      workloads: facts?.workloads ?? [],
      entries: facts?.entries ?? model.spec.dependsOn.length,
      resolved: facts?.resolved ?? 0,
    };
  }
  const facts = result.facts.policies.get(key);
  const ids = new Set(facts?.dependencies);
  const missing = problemsOf(result, subject).filter((it) => REFERENCE_REASONS.has(it.reason)).length;
  const entries = model.spec.targetRefs.length;
  return {
    dependencies: (id) => ids.has(id),
    compiled: facts !== undefined,
    concernsAny: ids.size > 0,
    workloads: facts?.workloads ?? [],
    entries,
    resolved: facts === undefined ? 0 : entries - missing,
  };
}

/** One pass over all problems per result, not per object. */
const problemIndexes = new WeakMap<readonly Problem[], ReadonlyMap<string, readonly Problem[]>>();

export function problemsOf(result: CompileResult, subject: StatusSubject): readonly Problem[] {
  let index = problemIndexes.get(result.problems);
  if (index === undefined) {
    index = Map.groupBy(result.problems, (it) => `${it.kind} ${keyOf(it.object)}`);
    problemIndexes.set(result.problems, index);
  }
  return index.get(`${subject.kind} ${keyOf(subject)}`) ?? [];
}

/** What the sidecars say of it. */
export interface Applied {
  appliedBy: number;
  of: number;
  nacks: readonly string[];
  locallyDisabled: number;
  /** "namespace/name" of pods that run a sidecar which does not apply it. */
  missing: readonly string[];
}

/** Expected are the sidecars that run, whether or not they are connected: one that cannot reach the operator must be missed. */
export function sumApplied(workloads: readonly string[], result: CompileResult, reports: SidecarReports): Applied {
  const sum = { appliedBy: 0, of: 0, nacks: [] as string[], locallyDisabled: 0, missing: [] as string[] };
  const running = runningSidecars(result);
  for (const id of workloads) {
    const report = reports.applied.get(id);
    const known = running.get(id) ?? [];
    sum.appliedBy += report?.applied ?? 0;
    sum.of += Math.max(report?.of ?? 0, known.length);
    sum.locallyDisabled += report?.locallyDisabled.length ?? 0;
    for (const { pod, message } of report?.nacks ?? []) {
      sum.nacks.push(pod === '*' ? message : `${pod}: ${message}`);
    }
    const applies = new Set(report?.appliedPods);
    sum.missing.push(...known.filter((pod) => !applies.has(pod.slice(pod.indexOf('/') + 1))));
  }
  return { ...sum, nacks: sum.nacks.sort(compareText), missing: sum.missing.sort(compareText) };
}

const runningByResult = new WeakMap<CompileResult, ReadonlyMap<string, readonly string[]>>();

/** By workload: "namespace/name" of the pods that run a sidecar. */
function runningSidecars(result: CompileResult): ReadonlyMap<string, readonly string[]> {
  let running = runningByResult.get(result);
  if (running === undefined) {
    running = new Map(result.workloads.map((workload) => [workload.id, workload.sidecars ?? []]));
    runningByResult.set(result, running);
  }
  return running;
}

/** It is about something that the object refers to. */
export function concernsReferences(it: Problem): boolean {
  return it.condition === 'ResolvedRefs' || REFERENCE_REASONS.has(it.reason);
}
