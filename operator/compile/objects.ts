// Raw Kubernetes objects (JSON of the API server, or a manifest from a folder) → the trimmed values of world.ts. Everything that is
// read from an object is named here; all else is dropped, so that caches of large clusters stay small.
//
// What the API server would have filled in (protocol, phase, service account, conditions of endpoints) may be missing in a manifest and
// gets the API server's default. `null` is read as absent: Go writes nil lists so. A value of the wrong type throws ManifestError.
import { z } from 'zod';
import { type ParseResult, parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { BOOTSTRAP_ANNOTATION } from '../../plan/bootstrap.ts';
import { toBirth } from './birth.ts';
import type { CaptureMode } from './capture.ts';
import { namesOurs } from './refusals.ts';
import type {
  InvalidObject,
  ObjectKey,
  WorldEndpointSlice,
  WorldNamespace,
  WorldPod,
  WorldRefusal,
  WorldService,
} from './world.ts';

/** An object that is not what its kind says; the API server never sends one, a folder of manifests may. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

/** Name of the sidecar's container, and so the mark of an injected pod. */
export const SIDECAR_CONTAINER = 'breakwater';
/** Volume of the certificates that its sidecar needs. */
export const CERTIFICATES_VOLUME = 'breakwater-certificates';

const DEFAULT_NAMESPACE = 'default';
/** Only annotations of ours are kept: those of others may be large (`last-applied-configuration`) and decide nothing here. */
const OWN_ANNOTATION_PREFIX = 'breakwater.dev/';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

/** Absent and null mean the same in Kubernetes objects. */
function or<T>(schema: z.ZodType<T>, fallback: NoInfer<T>) {
  return schema.nullish().transform((value): T => value ?? fallback);
}

function maybe<T>(schema: z.ZodType<T>) {
  return schema.nullish().transform((value): T | undefined => value ?? undefined);
}

const text = or(z.string(), '');
const textMap = or(z.record(z.string(), z.string()), {});
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
  spec: maybe(
    z.object({
      type: or(z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']), 'ClusterIP'),
      clusterIP: text,
      clusterIPs: or(z.array(z.string()), []),
      ports: or(
        z.array(
          z.object({
            name: text,
            port,
            protocol: or(z.enum(['TCP', 'UDP', 'SCTP']), 'TCP'),
            appProtocol: maybe(z.string()),
          }),
        ),
        [],
      ),
      sessionAffinity: or(z.enum(['None', 'ClientIP']), 'None'),
      internalTrafficPolicy: or(z.enum(['Cluster', 'Local']), 'Cluster'),
    }),
  ),
});

const hintedPlaces = or(z.array(z.object({ name: text })), []);
const endpointSliceObject = z.object({
  metadata,
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  ports: or(z.array(z.object({ name: text, port: maybe(port), appProtocol: maybe(z.string()) })), []),
  endpoints: or(
    z.array(
      z.object({
        addresses: or(z.array(z.string()), []),
        conditions: maybe(
          z.object({
            ready: maybe(z.boolean()),
            serving: maybe(z.boolean()),
            terminating: maybe(z.boolean()),
          }),
        ),
        targetRef: maybe(z.object({ kind: text, namespace: text, name: text })),
        nodeName: maybe(z.string()),
        zone: maybe(z.string()),
        hints: maybe(z.object({ forZones: hintedPlaces, forNodes: hintedPlaces })),
      }),
    ),
    [],
  ),
});

// Of the environment only ours is looked at.
const containers = or(z.array(z.object({ name: text, env: z.unknown().optional() })), []);
const podObject = z.object({
  metadata: metadata.extend({
    ownerReferences: or(z.array(z.object({ kind: text, name: text, controller: or(z.boolean(), false) })), []),
  }),
  spec: maybe(
    z.object({
      serviceAccountName: text,
      nodeName: text,
      hostNetwork: or(z.boolean(), false),
      containers,
      initContainers: containers,
      volumes: or(z.array(z.object({ name: text, projected: z.unknown().optional() })), []),
    }),
  ),
  status: maybe(z.object({ phase: text, podIP: text })),
});

const MAX_REFUSAL = 512;
const eventObject = z.object({
  metadata,
  reason: text,
  note: text,
  regarding: maybe(z.object({ kind: text, name: text })),
  eventTime: text,
  deprecatedLastTimestamp: text,
  series: maybe(z.object({ lastObservedTime: text })),
});

function read<T>(kind: string, schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.join('.') || 'its root';
  throw new ManifestError(`${kind} ${describe(raw)} does not fit at ${where}: ${issue?.message ?? 'unreadable'}`);
}

export function describe(raw: unknown): string {
  const key = objectKey(raw);
  return key === undefined ? '(without a name)' : `${key.namespace}/${key.name}`;
}

export function field(value: unknown, name: string): unknown {
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
  for (const [key, value] of Object.entries(annotations)) {
    // Large, and kept as what it says.
    if (key.startsWith(OWN_ANNOTATION_PREFIX) && key !== BOOTSTRAP_ANNOTATION) own[key] = value;
  }
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
    endpoints: slice.endpoints.map(({ addresses, conditions, targetRef, nodeName, zone, hints }) => {
      return {
        addresses,
        ready: conditions?.ready ?? true,
        serving: conditions?.serving ?? true,
        terminating: conditions?.terminating ?? false,
        pod:
          targetRef?.kind === 'Pod'
            ? `${targetRef.namespace || slice.metadata.namespace}/${targetRef.name}`
            : undefined,
        node: nodeName,
        zone,
        hints: hints && toHints(hints.forZones, hints.forNodes),
      };
    }),
  };
}

/** Undefined where no place is named: that is no hint. */
function toHints(forZones: readonly { name: string }[], forNodes: readonly { name: string }[]) {
  const names = (places: readonly { name: string }[]) => places.map(({ name }) => name).filter((name) => name !== '');
  const [zones, nodes] = [names(forZones), names(forNodes)];
  return zones.length + nodes.length > 0 ? { zones, nodes } : undefined;
}

/** Throws ManifestError. */
export function toWorldPod(raw: unknown): WorldPod {
  const { metadata, spec, status } = read('Pod', podObject, raw);
  const sidecar = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find(
    ({ name }) => name === SIDECAR_CONTAINER,
  );
  const capture = sidecar && captureIn(sidecar.env);
  const owner = metadata.ownerReferences.find(({ controller }) => controller);
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
    node: spec?.nodeName || undefined,
    serviceAccountName: spec?.serviceAccountName || 'default',
    hostNetwork: spec?.hostNetwork ?? false,
    mirror: MIRROR_ANNOTATION in metadata.annotations,
    injected: sidecar !== undefined,
    capture,
    birth: capture === undefined || capture === 'iptables' ? undefined : toBirth(bootstrapIn(metadata.annotations)),
    certificates: certificatesIn(spec?.volumes.find(({ name }) => name === CERTIFICATES_VOLUME)?.projected),
    owner: owner && { kind: owner.kind, name: owner.name },
  };
}

const NO_CERTIFICATES: ReadonlySet<string> = new Set();

/** Paths of the files that injection had mounted. */
function certificatesIn(projected: unknown): ReadonlySet<string> {
  const sources: unknown = field(projected, 'sources');
  if (!Array.isArray(sources)) return NO_CERTIFICATES;
  const paths = sources.flatMap((source: unknown) => {
    const items: unknown = field(field(source, 'secret') ?? field(source, 'configMap'), 'items');
    return Array.isArray(items) ? items.map((item: unknown) => field(item, 'path')) : [];
  });
  return new Set(paths.filter((path) => typeof path === 'string'));
}

function bootstrapIn(annotations: Readonly<Record<string, string>>): string {
  return annotations[BOOTSTRAP_ANNOTATION] ?? '';
}

/** What injection has told the sidecar; one that was told nothing is of a time when there was no choice. */
function captureIn(env: unknown): CaptureMode {
  const variables: readonly unknown[] = Array.isArray(env) ? env : [];
  const told = variables.find((variable) => field(variable, 'name') === 'BREAKWATER_CAPTURE');
  const value = field(told, 'value');
  return value === 'loopback' || value === 'explicit' ? value : 'iptables';
}

/** Undefined for every Event that does not tell of a refusal of ours. Throws ManifestError. */
export function toWorldRefusal(raw: unknown): WorldRefusal | undefined {
  const event = read('Event', eventObject, raw);
  if (event.reason !== 'FailedCreate' || !namesOurs(event.note)) return undefined;
  const { namespace, name, creationTimestamp } = event.metadata;
  const times = [event.series?.lastObservedTime, event.deprecatedLastTimestamp, event.eventTime, creationTimestamp];
  return {
    namespace,
    name,
    owner: { kind: event.regarding?.kind ?? '', name: event.regarding?.name ?? '' },
    message: event.note.slice(0, MAX_REFUSAL),
    since: creationTimestamp,
    // To the second, as pods say when they were created.
    at: (times.find((time) => time !== undefined && time !== '') ?? '').replace(/\.\d+Z$/, 'Z'),
  };
}

/** A parsed object of ours, or what is left of one that does not fit. Throws ManifestError where not even a name can be read. */
export function toServiceDependency(raw: unknown): { model: ServiceDependency } | { invalid: InvalidObject } {
  return modelOrInvalid('ServiceDependency', raw, parseServiceDependency(raw));
}

/** As toServiceDependency. */
export function toResiliencePolicy(raw: unknown): { model: ResiliencePolicy } | { invalid: InvalidObject } {
  return modelOrInvalid('ResiliencePolicy', raw, parseResiliencePolicy(raw));
}

function modelOrInvalid<Model>(
  kind: InvalidObject['kind'],
  raw: unknown,
  result: ParseResult<Model>,
): { model: Model } | { invalid: InvalidObject } {
  if (result.ok) return { model: result.model };
  const key = objectKey(raw);
  if (key === undefined) throw new ManifestError(`a ${kind} has no metadata.name; give it one`);
  const generation = field(field(raw, 'metadata'), 'generation');
  return {
    invalid: { kind, ...key, generation: typeof generation === 'number' ? generation : 0, problems: result.problems },
  };
}
