// What compile returns: plans, endpoint sets and problems, all of them values.
import type { EndpointSet, Placement } from '../../plan/endpoints.ts';
import type { WorkloadPlan } from '../../plan/plan.ts';
import type { ObjectKey } from './world.ts';

export type OwnKind = 'ServiceDependency' | 'ResiliencePolicy';

/** A user's mistake, or something a user should know; ends in a condition of the object, never in a log line alone. */
export interface Problem {
  kind: OwnKind;
  object: ObjectKey;
  /** Path of the field in the object: "spec.dependsOn[0].service.name"; empty where it concerns the whole. */
  field: string;
  /** The condition it sets, and its status. `Warning` problems leave the status of the condition True and only add their message. */
  condition: 'Accepted' | 'ResolvedRefs' | 'Programmed';
  severity: 'Error' | 'Warning';
  /** CamelCase, stable: TargetNotFound, Conflicted, ServiceNotFound, PortNotFound, Headless, … listed in problem.ts. */
  reason: string;
  /** What is wrong and what to change. */
  message: string;
}

/** One workload: a namespace and the set of ServiceDependencies that select a pod. */
export interface CompiledWorkload {
  /** "<namespace>/<names of the ServiceDependencies, sorted, joined by +>". */
  id: string;
  namespace: string;
  plan: WorkloadPlan;
  /** Equal where the plans are equal, different where they differ. */
  version: string;
  /** Keys of the endpoint sets that its dependencies need. */
  endpointKeys: readonly string[];
  /** "namespace/name" of the pods selected, present and not finished. */
  pods: readonly string[];
  /** Those of them that run a sidecar now, and so are expected to apply the plan. */
  sidecars?: readonly string[];
}

export interface CompileResult {
  workloads: readonly CompiledWorkload[];
  endpointSets: ReadonlyMap<string, EndpointSet>;
  /** Where sidecars run, by "namespace/name" of the pod; empty where no endpoint carries hints. */
  placements?: ReadonlyMap<string, Placement>;
  problems: readonly Problem[];
  /** What status shows of each resource beside its problems. */
  facts: {
    /** key "namespace/name" of a ServiceDependency */
    dependencies: ReadonlyMap<string, { workloads: readonly string[]; entries: number; resolved: number }>;
    /** key "namespace/name" of a ResiliencePolicy; ids of the dependencies it acts on, and the workloads concerned */
    policies: ReadonlyMap<string, { dependencies: readonly string[]; workloads: readonly string[] }>;
  };
}
