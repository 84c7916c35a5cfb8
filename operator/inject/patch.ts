// Pod → JSON Patch. Only `add`, never a whole list of the user's: what is there stays as it is, in its order, behind ours.
//
// Ours come first, so that the init containers of the user find their connections captured too: the rules are set, then the sidecar
// starts and is ready, then everything else. Each part is added only if nothing of its name is there, so that a second pass adds nothing.
import { BOOTSTRAP_ANNOTATION } from '../../plan/bootstrap.ts';
import type { CertificateFile } from '../../plan/certificates.ts';
import { type TlsHost, writeTlsHosts } from '../../plan/tls-hosts.ts';
import type { CaptureMode } from '../compile/capture.ts';
import { CERTIFICATES_VOLUME } from '../compile/objects.ts';
import type { Birth } from './bootstrap.ts';
import { CERTIFICATES_DIRECTORY, certificatesVolume } from './certificates.ts';
import { type Container, containersOf, initContainersOf, type Pod } from './pod.ts';
import { INJECTED_ANNOTATION, INJECTED_LABEL, type Settings } from './settings.ts';

export const CAPTURE_CONTAINER = 'breakwater-capture';
export const SIDECAR_CONTAINER = 'breakwater';
export const TOKEN_VOLUME = 'breakwater-token';
export const STATE_VOLUME = 'breakwater-state';
/** User and group of the sidecar; rare, because what runs as it is not captured. */
export const SIDECAR_UID = 14_750;
export const TOKEN_AUDIENCE = 'breakwater';

const TOKEN_DIRECTORY = '/var/run/secrets/breakwater.dev';
const STATE_DIRECTORY = '/var/run/breakwater';
const TOKEN_LIFETIME_SECONDS = 3600;
export const DEFAULT_CONTAINER_ANNOTATION = 'kubectl.kubernetes.io/default-container';

export interface AddOperation {
  op: 'add';
  /** RFC 6901. */
  path: string;
  value: unknown;
}

export interface PatchContext {
  settings: Settings;
  capture: CaptureMode;
  /** Where nothing is redirected: what the pod is born with in the place of it. */
  birth: Birth | undefined;
  /** What the sidecar needs to speak TLS; see certificatesOf. */
  certificates: readonly CertificateFile[];
  /** What it is to speak TLS to, known before its first plan; see tlsHostsOf. */
  tlsHosts: readonly TlsHost[];
  /** https://… of the plan streams. */
  operatorUrl: string;
  /** PEM of today's authorities. */
  caBundle: string;
  /** Of the operator; written on the pod. */
  version: string;
  imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
}

const escape = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1');

function resourcesOf(settings: Settings): object {
  const list = (cpu: string, memory: string) => ({
    ...(cpu === 'none' ? {} : { cpu }),
    ...(memory === 'none' ? {} : { memory }),
  });
  return {
    requests: list(settings.cpuRequest, settings.memoryRequest),
    limits: list(settings.cpuLimit, settings.memoryLimit),
  };
}

const environment = (values: Readonly<Record<string, string | number>>) =>
  Object.entries(values).map(([name, value]) => ({ name, value: String(value) }));

const fromPod = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });

/** Resources of the pod as a whole must cover what its containers ask for, so ours ask for nothing there and share. */
const resourceFields = (pod: Pod, settings: Settings) =>
  pod.spec?.resources ? {} : { resources: resourcesOf(settings) };

function captureContainer(pod: Pod, { settings, imagePullPolicy }: PatchContext): object {
  return {
    name: CAPTURE_CONTAINER,
    image: settings.image,
    imagePullPolicy,
    args: ['capture'],
    env: environment({
      BREAKWATER_OUTBOUND_PORT: settings.outboundPort,
      BREAKWATER_SIDECAR_UID: SIDECAR_UID,
      BREAKWATER_EXCLUDE_OUTBOUND_PORTS: settings.excludeOutboundPorts,
      BREAKWATER_EXCLUDE_OUTBOUND_CIDRS: settings.excludeOutboundCidrs,
      BREAKWATER_LOG_LEVEL: settings.logLevel,
    }),
    ...resourceFields(pod, settings),
    // The kernel lets only root with these two capabilities write the rules; this container does nothing else and ends.
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
}

function sidecarContainer(pod: Pod, context: PatchContext): object {
  const { settings, capture, birth, certificates, tlsHosts, operatorUrl, caBundle, imagePullPolicy } = context;
  const certified = certificates.length > 0;
  const probe = (path: string) => ({ httpGet: { path, port: settings.adminPort } });
  return {
    name: SIDECAR_CONTAINER,
    image: settings.image,
    imagePullPolicy,
    args: ['sidecar'],
    restartPolicy: 'Always',
    ports: [{ name: 'breakwater-http', containerPort: settings.adminPort, protocol: 'TCP' }],
    env: [
      ...environment({
        BREAKWATER_CAPTURE: capture,
        BREAKWATER_OPERATOR_URL: operatorUrl,
        BREAKWATER_TOKEN_FILE: `${TOKEN_DIRECTORY}/token`,
        BREAKWATER_CA_BUNDLE: caBundle,
        BREAKWATER_STATE_DIRECTORY: STATE_DIRECTORY,
        BREAKWATER_OUTBOUND_PORT: settings.outboundPort,
        BREAKWATER_ADMIN_PORT: settings.adminPort,
        BREAKWATER_CONTROL_PORT: settings.controlPort,
        BREAKWATER_LOG_LEVEL: settings.logLevel,
        BREAKWATER_FIRST_PLAN_WAIT_MS: settings.firstPlanWaitMs,
        ...(certified ? { BREAKWATER_CERTIFICATES_DIRECTORY: CERTIFICATES_DIRECTORY } : {}),
        ...(tlsHosts.length > 0 ? { BREAKWATER_TLS_HOSTS: writeTlsHosts(tlsHosts) } : {}),
      }),
      fromPod('BREAKWATER_POD_IP', 'status.podIP'),
      fromPod('BREAKWATER_POD_NAME', 'metadata.name'),
      fromPod('BREAKWATER_POD_NAMESPACE', 'metadata.namespace'),
      ...(birth ? [fromPod('BREAKWATER_BOOTSTRAP', `metadata.annotations['${BOOTSTRAP_ANNOTATION}']`)] : []),
    ],
    ...resourceFields(pod, settings),
    startupProbe: { ...probe('/readyz'), periodSeconds: 1, failureThreshold: 120, timeoutSeconds: 1 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 5, failureThreshold: 3, timeoutSeconds: 2 },
    livenessProbe: { ...probe('/livez'), periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 },
    securityContext: {
      runAsUser: SIDECAR_UID,
      runAsGroup: SIDECAR_UID,
      runAsNonRoot: true,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { name: TOKEN_VOLUME, mountPath: TOKEN_DIRECTORY, readOnly: true },
      { name: STATE_VOLUME, mountPath: STATE_DIRECTORY },
      ...(certified ? [{ name: CERTIFICATES_VOLUME, mountPath: CERTIFICATES_DIRECTORY, readOnly: true }] : []),
    ],
  };
}

const VOLUMES = [
  {
    name: TOKEN_VOLUME,
    projected: {
      defaultMode: 0o444,
      sources: [
        { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_LIFETIME_SECONDS, path: 'token' } },
      ],
    },
  },
  // In memory: an emptyDir on disk would keep the cluster autoscaler from removing the node.
  { name: STATE_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
];

function volumesOf({ certificates }: PatchContext): { name: string }[] {
  return certificates.length === 0 ? VOLUMES : [...VOLUMES, certificatesVolume(certificates)];
}

/** Adds the items whose names are not taken: at the front in this order, or at the end. */
function addToList(
  path: string,
  list: readonly { name: string }[] | null | undefined,
  items: readonly { name: string; value: unknown }[],
  where: 'front' | 'end',
): AddOperation[] {
  const taken = new Set((list ?? []).map(({ name }) => name));
  const missing = items.filter(({ name }) => !taken.has(name)).map(({ value }) => value);
  if (missing.length === 0) return [];
  if (!list) return [{ op: 'add', path, value: missing }];
  return missing.map((value, index) => ({ op: 'add', path: `${path}/${where === 'front' ? index : '-'}`, value }));
}

/** Sets the keys that are missing or differ. */
function addToMap(
  path: string,
  map: Readonly<Record<string, string>> | null | undefined,
  wanted: Readonly<Record<string, string>>,
): AddOperation[] {
  if (!map) return [{ op: 'add', path, value: wanted }];
  return Object.entries(wanted)
    .filter(([key, value]) => map[key] !== value)
    .map(([key, value]) => ({ op: 'add', path: `${path}/${escape(key)}`, value }));
}

/** `kubectl logs` and `exec` go on finding the application: where nobody chose a container, its first one is named. */
function annotationsFor(pod: Pod, { version, birth }: PatchContext): Record<string, string> {
  const chosen = pod.metadata?.annotations?.[DEFAULT_CONTAINER_ANNOTATION];
  const first = containersOf(pod)[0]?.name;
  return {
    [INJECTED_ANNOTATION]: version,
    ...(birth ? { [BOOTSTRAP_ANNOTATION]: JSON.stringify(birth.bootstrap) } : {}),
    ...(chosen === undefined && first !== undefined ? { [DEFAULT_CONTAINER_ANNOTATION]: first } : {}),
  };
}

/** Ours come first, so that what the user sets may refer to them: $(BREAKWATER_PAYMENTS_URL). */
function variablesOf(path: string, containers: readonly Container[], variables: Birth['variables']): AddOperation[] {
  const items = variables.map((variable) => ({ name: variable.name, value: variable }));
  return containers.flatMap(({ name, env }, index) =>
    name === SIDECAR_CONTAINER || name === CAPTURE_CONTAINER
      ? []
      : addToList(`${path}/${index}/env`, env, items, 'front'),
  );
}

function sysctlsOf(pod: Pod, { sysctls }: Birth): AddOperation[] {
  const path = '/spec/securityContext';
  const present = pod.spec?.securityContext;
  if (sysctls.length === 0) return [];
  if (!present) return [{ op: 'add', path, value: { sysctls } }];
  return addToList(
    `${path}/sysctls`,
    present.sysctls,
    sysctls.map((value) => ({ name: value.name, value })),
    'end',
  );
}

/** How the pod's own connections find the sidecar where nothing is redirected. */
function leadsFor(pod: Pod, birth: Birth | undefined): AddOperation[] {
  if (!birth) return [];
  const present = pod.spec?.hostAliases;
  return [
    ...sysctlsOf(pod, birth),
    ...addToList(
      '/spec/hostAliases',
      present?.map(({ ip }) => ({ name: ip })),
      birth.hostAliases.map((value) => ({ name: value.ip, value })),
      'end',
    ),
    // By the present places in the lists: ours are not in front of them yet.
    ...variablesOf('/spec/initContainers', initContainersOf(pod), birth.variables),
    ...variablesOf('/spec/containers', containersOf(pod), birth.variables),
  ];
}

/** The patch that injects a pod that `decide` found fit for it. Applying it and asking again gives an empty one. */
export function patchFor(pod: Pod, context: PatchContext): AddOperation[] {
  return [
    // The API server always sends metadata; a patch must not hang on that.
    ...(pod.metadata ? [] : [{ op: 'add' as const, path: '/metadata', value: {} }]),
    ...addToMap('/metadata/labels', pod.metadata?.labels, { [INJECTED_LABEL]: 'true' }),
    ...addToMap('/metadata/annotations', pod.metadata?.annotations, annotationsFor(pod, context)),
    ...leadsFor(pod, context.birth),
    ...addToList(
      '/spec/volumes',
      pod.spec?.volumes,
      volumesOf(context).map((value) => ({ name: value.name, value })),
      'end',
    ),
    ...addToList(
      '/spec/initContainers',
      pod.spec?.initContainers && initContainersOf(pod),
      [
        ...(context.capture === 'iptables' ? [{ name: CAPTURE_CONTAINER, value: captureContainer(pod, context) }] : []),
        { name: SIDECAR_CONTAINER, value: sidecarContainer(pod, context) },
      ],
      'front',
    ),
  ];
}
