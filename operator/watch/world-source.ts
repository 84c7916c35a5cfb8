// Where worlds come from: a cluster's API server or a folder of manifests. The rest of the operator sees no difference.

import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { InvalidObject, World, WorldPod } from '../compile/world.ts';

/** An object of ours as it is now: what was read of it, and the status that stands in it. */
export interface OwnObject {
  kind: 'ServiceDependency' | 'ResiliencePolicy';
  namespace: string;
  name: string;
  uid: string;
  generation: number;
  /** Of the API server; absent where there is none. */
  resourceVersion?: string;
  content: { model: ServiceDependency | ResiliencePolicy } | { invalid: InvalidObject };
  /** As found, unchecked: an older or newer operator may have written it. */
  status: unknown;
}

/** "ServiceDependency/shop/checkout" */
export function ownKey(kind: OwnObject['kind'], namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

export interface SourceListener {
  /** The world is another one; several changes close together are told once. */
  onWorld(): void;
  /** Only the status of an object of ours changed: by us, or by somebody who should not. */
  onStatus(key: string): void;
}

export interface WorldSource {
  /** Begins to read; returns at once. */
  start(listener: SourceListener): void;
  stop(): Promise<void>;
  /** Everything was read at least once; never false again. */
  readonly hasSynced: boolean;
  /** What is still missing, for people: "resiliencepolicies (404 NotFound: …)". */
  waitingFor(): readonly string[];
  /** Writes the gauges that change by mere time. Call it before the metrics are read. */
  observe(): void;
  /** The newest world; not meaningful before `hasSynced`. */
  world(): World;
  own(key: string): OwnObject | undefined;
  /**
   * The pod of this name and uid; asks the API server where the cache does not have it yet. Undefined where there is none.
   * Rejects where the API server cannot be asked.
   */
  pod(namespace: string, name: string, uid: string): Promise<WorldPod | StandIn | undefined>;
}

/** Standalone: what runs for a ServiceDependency that selects no pod, in the place of one. */
export interface StandIn {
  workloadId: string;
}
