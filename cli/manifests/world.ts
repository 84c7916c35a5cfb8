// The world that manifests describe, for the compiler: what is written in them, and where the compiler needs more than manifests say, the
// least that must be assumed. Pure.
import { OWN_GROUP } from '../../crds/kubernetes.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { ManifestError, objectKey } from '../../operator/compile/objects.ts';
import type { ObjectKey, World, WorldPod, WorldService } from '../../operator/compile/world.ts';
import { addObject, buildWorld, createWorldBuilder } from '../../operator/compile/world-builder.ts';
import type { SourceObject } from './document.ts';
import { type PodTemplate, podTemplateOf } from './pod-template.ts';

const CLUSTER_DOMAIN = 'cluster.local';
const CLUSTER_SCOPED = new Set(['Namespace']);

export interface ManifestWorld {
  /** Every pod template is one pod that runs a sidecar. */
  world: World;
  templates: readonly PodTemplate[];
  /** By "<kind> <namespace>/<name>"; of several of one name the last, which is what applying all of them leaves. */
  sources: ReadonlyMap<string, SourceObject>;
  /** Objects that are not what their kind says. */
  unreadable: readonly { source: SourceObject; message: string }[];
  /** Objects of other kinds than ours that were looked at: Services, Namespaces, whatever has pods. */
  considered: number;
  /** Objects of kinds that tell nothing here. */
  passedOver: number;
  /** Later objects of the same kind, namespace and name. */
  repeated: readonly { source: SourceObject; first: SourceObject }[];
}

export function worldOf(objects: readonly SourceObject[], defaultNamespace: string): ManifestWorld {
  const builder = createWorldBuilder();
  const sources = new Map<string, SourceObject>();
  const templates: PodTemplate[] = [];
  const unreadable: { source: SourceObject; message: string }[] = [];
  const repeated: { source: SourceObject; first: SourceObject }[] = [];
  let considered = 0;
  let passedOver = 0;
  for (const source of objects) {
    const raw = inNamespace(source.raw, defaultNamespace);
    const template = podTemplateOf(raw, defaultNamespace);
    if (template !== undefined) templates.push(template);
    let isKnown = false;
    try {
      isKnown = template?.kind === 'Pod' || addObject(builder, raw);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      unreadable.push({ source, message: error.message });
      continue;
    }
    if (!isKnown && template === undefined) passedOver += 1;
    else if (!isOwn(raw)) considered += 1;
    const key = objectKey(raw);
    if (key === undefined) continue;
    const identity = identityOf(String(raw['kind']), key);
    const first = sources.get(identity);
    if (first !== undefined && isKnown) repeated.push({ source, first });
    sources.set(identity, source);
  }
  const world = { ...buildWorld(builder, CLUSTER_DOMAIN), pods: templates.map(podOf) };
  return { world, templates, sources, unreadable, considered, passedOver, repeated };
}

const isOwn = ({ apiVersion }: Record<string, unknown>): boolean => String(apiVersion).startsWith(`${OWN_GROUP}/`);

export const identityOf = (kind: string, { namespace, name }: ObjectKey): string => `${kind} ${namespace}/${name}`;

/** As kubectl apply does it with --namespace. */
function inNamespace(raw: Record<string, unknown>, namespace: string): Record<string, unknown> {
  const metadata = raw['metadata'];
  if (typeof metadata !== 'object' || metadata === null || CLUSTER_SCOPED.has(String(raw['kind']))) return raw;
  return { ...raw, metadata: { ...metadata, namespace: Reflect.get(metadata, 'namespace') ?? namespace } };
}

export function podOf({ kind, namespace, name, labels }: PodTemplate): WorldPod {
  return {
    namespace,
    name: `${kind}/${name}`,
    uid: `${kind}/${namespace}/${name}`,
    labels,
    annotations: {},
    creationTimestamp: '',
    phase: 'Running',
    terminating: false,
    ip: undefined,
    node: undefined,
    serviceAccountName: 'default',
    hostNetwork: false,
    mirror: false,
    injected: true,
    capture: undefined,
    birth: undefined,
    certificates: undefined,
    owner: undefined,
  };
}

/** The Service and port that an entry refers to. */
export interface ServiceReference extends ObjectKey {
  port: number | string;
  owner: ServiceDependency;
  /** "spec.dependsOn[0].service.name" */
  field: string;
}

export function serviceReferences(dependencies: readonly ServiceDependency[]): ServiceReference[] {
  return dependencies.flatMap((owner) =>
    owner.spec.dependsOn.flatMap(({ service }, index) =>
      service === undefined
        ? []
        : [
            {
              namespace: service.namespace ?? owner.metadata.namespace,
              name: service.name,
              port: service.port,
              owner,
              field: `spec.dependsOn[${index}].service`,
            },
          ],
    ),
  );
}

/** An address of the documentation's own network: nobody has it. */
const ASSUMED_ADDRESS = '192.0.2.1';
const ASSUMED_PORT = 80;

/** Stands in for a Service that is not there, so that what merges on it can be seen: ordinary, with the ports that are asked for. */
export function assumedService(key: ObjectKey, ports: readonly (number | string)[]): WorldService {
  const distinct = [...new Set(ports)];
  return {
    namespace: key.namespace,
    name: key.name,
    type: 'ClusterIP',
    clusterIPs: [ASSUMED_ADDRESS],
    headless: false,
    ports: distinct.map((port, index) => ({
      name: typeof port === 'string' ? port : '',
      port: typeof port === 'number' ? port : ASSUMED_PORT + index,
      protocol: 'TCP',
      appProtocol: undefined,
    })),
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
  };
}
