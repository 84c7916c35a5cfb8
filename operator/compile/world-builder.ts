// A world, gathered from Kubernetes objects of any kind, one by one or in lists.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { INJECTION_DEFAULTS } from './capture.ts';
import {
  describe,
  field,
  ManifestError,
  toResiliencePolicy,
  toServiceDependency,
  toWorldEndpointSlice,
  toWorldNamespace,
  toWorldPod,
  toWorldRefusal,
  toWorldService,
} from './objects.ts';
import {
  DEFAULT_SYSTEM_NAMESPACE,
  type InvalidObject,
  type ObjectKey,
  type World,
  type WorldEndpointSlice,
  type WorldNamespace,
  type WorldPod,
  type WorldRefusal,
  type WorldService,
} from './world.ts';

/** Gathers a world object by object; of two with the same kind, namespace and name the later one counts, as with kubectl apply. */
export interface WorldBuilder {
  readonly namespaces: Map<string, WorldNamespace>;
  readonly services: Map<string, WorldService>;
  readonly endpointSlices: Map<string, WorldEndpointSlice>;
  readonly pods: Map<string, WorldPod>;
  readonly serviceDependencies: Map<string, ServiceDependency>;
  readonly resiliencePolicies: Map<string, ResiliencePolicy>;
  readonly invalid: Map<string, InvalidObject>;
  readonly refusals: Map<string, WorldRefusal>;
}

export function createWorldBuilder(): WorldBuilder {
  return {
    namespaces: new Map(),
    services: new Map(),
    endpointSlices: new Map(),
    pods: new Map(),
    serviceDependencies: new Map(),
    resiliencePolicies: new Map(),
    invalid: new Map(),
    refusals: new Map(),
  };
}

const nameOf = (object: ObjectKey) => `${object.namespace}/${object.name}`;

const ADDERS: Readonly<Record<string, (builder: WorldBuilder, raw: unknown) => void>> = {
  'v1 Namespace': (builder, raw) => {
    const namespace = toWorldNamespace(raw);
    builder.namespaces.set(namespace.name, namespace);
  },
  'v1 Service': (builder, raw) => {
    const service = toWorldService(raw);
    builder.services.set(nameOf(service), service);
  },
  'v1 Pod': (builder, raw) => {
    const pod = toWorldPod(raw);
    builder.pods.set(nameOf(pod), pod);
  },
  'discovery.k8s.io/v1 EndpointSlice': (builder, raw) => {
    const slice = toWorldEndpointSlice(raw);
    builder.endpointSlices.set(nameOf(slice), slice);
  },
  'events.k8s.io/v1 Event': (builder, raw) => {
    const refusal = toWorldRefusal(raw);
    if (refusal !== undefined) builder.refusals.set(nameOf(refusal), refusal);
  },
  'breakwater.dev/v1alpha1 ServiceDependency': (builder, raw) =>
    addOwn(builder, builder.serviceDependencies, 'ServiceDependency', toServiceDependency(raw)),
  'breakwater.dev/v1alpha1 ResiliencePolicy': (builder, raw) =>
    addOwn(builder, builder.resiliencePolicies, 'ResiliencePolicy', toResiliencePolicy(raw)),
};

function addOwn<Model extends { metadata: ObjectKey }>(
  builder: WorldBuilder,
  models: Map<string, Model>,
  kind: InvalidObject['kind'],
  result: { model: Model } | { invalid: InvalidObject },
): void {
  const name = nameOf('model' in result ? result.model.metadata : result.invalid);
  models.delete(name);
  builder.invalid.delete(`${kind} ${name}`);
  if ('model' in result) models.set(name, result.model);
  else builder.invalid.set(`${kind} ${name}`, result.invalid);
}

/**
 * Adds one manifest, or every item of a List. False where nothing in it is of a kind that a world holds: a folder may hold Deployments
 * and more besides. An object of ours that does not fit is kept as invalid; another one that does not fit throws ManifestError.
 */
export function addObject(builder: WorldBuilder, raw: unknown): boolean {
  const kind = field(raw, 'kind');
  const apiVersion = field(raw, 'apiVersion');
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    throw new ManifestError(`object ${describe(raw)} has no apiVersion or no kind; it is not a Kubernetes manifest`);
  }
  const items = field(raw, 'items');
  if (apiVersion === 'v1' && kind === 'List' && Array.isArray(items)) {
    let added = false;
    for (const item of items) added = addObject(builder, item) || added;
    return added;
  }
  const type = `${apiVersion} ${kind}`;
  const add = Object.hasOwn(ADDERS, type) ? ADDERS[type] : undefined;
  add?.(builder, raw);
  return add !== undefined;
}

/** The world gathered so far; the builder may be filled further and built again. `clusterDomain`: such as "cluster.local". */
export function buildWorld(builder: WorldBuilder, clusterDomain: string, injection = INJECTION_DEFAULTS): World {
  return {
    clusterDomain,
    systemNamespace: DEFAULT_SYSTEM_NAMESPACE,
    injection,
    namespaces: [...builder.namespaces.values()],
    services: [...builder.services.values()],
    endpointSlices: [...builder.endpointSlices.values()],
    pods: [...builder.pods.values()],
    serviceDependencies: [...builder.serviceDependencies.values()],
    resiliencePolicies: [...builder.resiliencePolicies.values()],
    invalid: [...builder.invalid.values()],
    refusals: [...builder.refusals.values()],
  };
}
