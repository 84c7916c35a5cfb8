// Raw Kubernetes objects (JSON of the API server, or a manifest from a folder) → the trimmed values of world.ts. Everything that is
// read from an object is named here; all else is dropped, so that caches of large clusters stay small.
//
// What the API server would have filled in (protocol, phase, service account, conditions of endpoints) may be missing in a manifest and
// gets the API server's default. `null` is read as absent: Go writes nil lists so. A value of the wrong type throws ManifestError.
import { z } from 'zod';
import type {
  ObjectKey,
  WorldEndpointSlice,
  WorldNamespace,
  WorldPod,
  WorldService,
  WorldServicePort,
} from './world.ts';

/** An object that is not what its kind says; the API server never sends one, a folder of manifests may. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

/** Name of the sidecar's container, and so the mark of an injected pod. */
export const SIDECAR_CONTAINER = 'breakwater';

const DEFAULT_NAMESPACE = 'default';
/** Only annotations of ours are kept: those of others may be large (`last-applied-configuration`) and decide nothing here. */
const OWN_ANNOTATION_PREFIX = 'breakwater.dev/';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

/** Absent and null mean the same in Kubernetes objects. */
function or<T, D>(schema: z.ZodType<T>, fallback: D) {
  return schema.nullish().transform((value): T | D => value ?? fallback);
}

const text = or(z.string(), '');
const textMap = or(z.record(z.string(), z.string()), {} as Record<string, string>);
const port = z.number().int().min(1).max(65_535);

const metadata = z.object({
  name: z.string().min(1),
  namespace: or(z.string(), DEFAULT_NAMESPACE),
  uid: text,
  labels: textMap,
  annotations: textMap,
  creationTimestamp: text,
  deletionTimestamp: text,
});

const namespaceObject = z.object({ metadata });

const serviceObject = z.object({
  metadata,
  spec: or(
    z.object({
      type: or(z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']), 'ClusterIP' as const),
      clusterIP: text,
      clusterIPs: or(z.array(z.string()), [] as string[]),
      ports: or(
        z.array(
          z.object({
            name: text,
            port,
            protocol: or(z.enum(['TCP', 'UDP', 'SCTP']), 'TCP' as const),
            appProtocol: or(z.string(), undefined),
          }),
        ),
        [] as WorldServicePort[],
      ),
      sessionAffinity: or(z.enum(['None', 'ClientIP']), 'None' as const),
      internalTrafficPolicy: or(z.enum(['Cluster', 'Local']), 'Cluster' as const),
    }),
    undefined,
  ),
});

const endpointSliceObject = z.object({
  metadata,
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  ports: or(
    z.array(z.object({ name: text, port: or(port, undefined), appProtocol: or(z.string(), undefined) })),
    [] as { name: string; port: number | undefined; appProtocol: string | undefined }[],
  ),
  endpoints: or(
    z.array(
      z.object({
        addresses: or(z.array(z.string()), [] as string[]),
        conditions: or(
          z.object({
            ready: or(z.boolean(), undefined),
            serving: or(z.boolean(), undefined),
            terminating: or(z.boolean(), undefined),
          }),
          undefined,
        ),
        targetRef: or(z.object({ kind: text, namespace: text, name: text }), undefined),
      }),
    ),
    [],
  ),
});

const containers = or(z.array(z.object({ name: text })), [] as { name: string }[]);
const podObject = z.object({
  metadata,
  spec: or(
    z.object({
      serviceAccountName: text,
      hostNetwork: or(z.boolean(), false),
      containers,
      initContainers: containers,
    }),
    undefined,
  ),
  status: or(z.object({ phase: text, podIP: text }), undefined),
});

function read<T>(kind: string, schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.join('.') || 'its root';
  throw new ManifestError(`${kind} ${describe(raw)} does not fit at ${where}: ${issue?.message ?? 'unreadable'}`);
}

function describe(raw: unknown): string {
  const key = objectKey(raw);
  return key === undefined ? '(without a name)' : `${key.namespace}/${key.name}`;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** Namespace ("default" where none is written) and name; undefined where the object has no name. */
export function objectKey(raw: unknown): ObjectKey | undefined {
  const meta = field(raw, 'metadata');
  const name = field(meta, 'name');
  const namespace = field(meta, 'namespace');
  if (typeof name !== 'string' || name === '') return undefined;
  return { namespace: typeof namespace === 'string' && namespace !== '' ? namespace : DEFAULT_NAMESPACE, name };
}

function ownAnnotations(annotations: Record<string, string>): Record<string, string> {
  const own: Record<string, string> = {};
  for (const [key, value] of Object.entries(annotations)) if (key.startsWith(OWN_ANNOTATION_PREFIX)) own[key] = value;
  return own;
}

/** Throws ManifestError. */
export function toWorldNamespace(raw: unknown): WorldNamespace {
  const { metadata } = read('Namespace', namespaceObject, raw);
  return { name: metadata.name, labels: metadata.labels, annotations: ownAnnotations(metadata.annotations) };
}

/** Throws ManifestError. */
export function toWorldService(raw: unknown): WorldService {
  const { metadata, spec } = read('Service', serviceObject, raw);
  const given = spec?.clusterIPs.length ? spec.clusterIPs : spec?.clusterIP ? [spec.clusterIP] : [];
  const type = spec?.type ?? 'ClusterIP';
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    type,
    clusterIPs: type === 'ExternalName' ? [] : given.filter((address) => address !== '' && address !== 'None'),
    headless: type !== 'ExternalName' && given.includes('None'),
    ports: spec?.ports ?? [],
    sessionAffinity: spec?.sessionAffinity ?? 'None',
    internalTrafficPolicy: spec?.internalTrafficPolicy ?? 'Cluster',
  };
}

/** `service` is empty for a slice without the label kubernetes.io/service-name: it belongs to no Service. Throws ManifestError. */
export function toWorldEndpointSlice(raw: unknown): WorldEndpointSlice {
  const slice = read('EndpointSlice', endpointSliceObject, raw);
  return {
    namespace: slice.metadata.namespace,
    name: slice.metadata.name,
    service: slice.metadata.labels[SERVICE_NAME_LABEL] ?? '',
    addressType: slice.addressType,
    ports: slice.ports,
    endpoints: slice.endpoints.map(({ addresses, conditions, targetRef }) => {
      const ready = conditions?.ready ?? true;
      return {
        addresses,
        ready,
        serving: conditions?.serving ?? ready,
        terminating: conditions?.terminating ?? false,
        pod:
          targetRef?.kind === 'Pod'
            ? `${targetRef.namespace || slice.metadata.namespace}/${targetRef.name}`
            : undefined,
      };
    }),
  };
}

/** Throws ManifestError. */
export function toWorldPod(raw: unknown): WorldPod {
  const { metadata, spec, status } = read('Pod', podObject, raw);
  const ours = (container: { name: string }) => container.name === SIDECAR_CONTAINER;
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    labels: metadata.labels,
    annotations: ownAnnotations(metadata.annotations),
    creationTimestamp: metadata.creationTimestamp,
    phase: status?.phase || 'Pending',
    terminating: metadata.deletionTimestamp !== '',
    ip: status?.podIP || undefined,
    serviceAccountName: spec?.serviceAccountName || 'default',
    hostNetwork: spec?.hostNetwork ?? false,
    mirror: MIRROR_ANNOTATION in metadata.annotations,
    injected: spec !== undefined && (spec.containers.some(ours) || spec.initContainers.some(ours)),
  };
}
