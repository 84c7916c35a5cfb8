// The world arranged for look-ups, so that no step searches a list, and ordered, so that nothing depends on the order it came in.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { InjectionDefaults } from './capture.ts';
import type {
  InvalidObject,
  ObjectKey,
  World,
  WorldEndpointSlice,
  WorldNamespace,
  WorldPod,
  WorldRefusal,
  WorldService,
} from './world.ts';

export interface WorldIndex {
  clusterDomain: string;
  systemNamespace: string;
  injection: InjectionDefaults;
  namespaces: ReadonlyMap<string, WorldNamespace>;
  /** By "namespace/name", as all maps below unless they say otherwise. */
  services: ReadonlyMap<string, WorldService>;
  /** Slices of each Service. */
  slices: ReadonlyMap<string, readonly WorldEndpointSlice[]>;
  /** By namespace; pods that have not finished. */
  pods: ReadonlyMap<string, readonly WorldPod[]>;
  /** Oldest first. */
  serviceDependencies: ReadonlyMap<string, ServiceDependency>;
  /** Oldest first. */
  resiliencePolicies: readonly ResiliencePolicy[];
  invalid: readonly InvalidObject[];
  /** By namespace. */
  refusals: ReadonlyMap<string, readonly WorldRefusal[]>;
  /** "<kind> <namespace>/<name>" of what could not be parsed. */
  invalidKeys: ReadonlySet<string>;
}

export function keyOf(object: ObjectKey): string {
  return `${object.namespace}/${object.name}`;
}

/** Code unit order, the same everywhere; never the locale's. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Older first, as in Gateway API: by creationTimestamp, then by "namespace/name". */
export function compareAge(
  a: { metadata: ObjectKey & { creationTimestamp: string } },
  b: { metadata: ObjectKey & { creationTimestamp: string } },
): number {
  return (
    compareText(a.metadata.creationTimestamp, b.metadata.creationTimestamp) ||
    compareText(keyOf(a.metadata), keyOf(b.metadata))
  );
}

export function groupBy<T>(items: Iterable<T>, key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}

export function indexWorld(world: World): WorldIndex {
  const living = world.pods.filter((pod) => pod.phase !== 'Succeeded' && pod.phase !== 'Failed');
  const dependencies = [...world.serviceDependencies].sort(compareAge);
  return {
    clusterDomain: world.clusterDomain,
    systemNamespace: world.systemNamespace,
    injection: world.injection,
    namespaces: new Map(world.namespaces.map((namespace) => [namespace.name, namespace])),
    services: new Map(world.services.map((service) => [keyOf(service), service])),
    slices: groupBy(world.endpointSlices, (slice) => keyOf({ namespace: slice.namespace, name: slice.service })),
    pods: groupBy(living, (pod) => pod.namespace),
    serviceDependencies: new Map(dependencies.map((dependency) => [keyOf(dependency.metadata), dependency])),
    resiliencePolicies: [...world.resiliencePolicies].sort(compareAge),
    invalid: world.invalid,
    refusals: groupBy(
      [...world.refusals].sort((a, b) => compareText(keyOf(a), keyOf(b))),
      ({ namespace }) => namespace,
    ),
    invalidKeys: new Set(world.invalid.map((object) => `${object.kind} ${keyOf(object)}`)),
  };
}
