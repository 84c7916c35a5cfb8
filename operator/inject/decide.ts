// Whether a pod is injected, and if not, why: never by refusing the pod, always with a reason that a user can act on.
import { findOtherMesh } from './other-meshes.ts';
import { CAPTURE_CONTAINER, SIDECAR_CONTAINER, SIDECAR_UID, STATE_VOLUME, TOKEN_VOLUME } from './patch.ts';
import { allContainersOf, type Container, initContainersOf, type Pod, type PodNamespace, type Probe } from './pod.ts';
import {
  INJECTED_ANNOTATION,
  INJECTION_LABEL,
  readSettings,
  SETTINGS,
  type Settings,
  unknownAnnotations,
} from './settings.ts';

export type SkipReason =
  | 'OptedOut'
  | 'AlreadyInjected'
  | 'Mirror'
  | 'HostNetwork'
  | 'Windows'
  | 'PodSecurity'
  | 'UnknownCapture'
  | 'MalformedAnnotation'
  | 'OtherMesh'
  | 'UidInUse'
  | 'PortInUse'
  | 'NameInUse'
  | 'NoServiceAccount'
  | 'NamespaceUnknown';

export type Decision =
  | { inject: true; settings: Settings; warnings: readonly string[] }
  | { inject: false; reason: SkipReason; message: string; warnings: readonly string[] };

/** Asked for by the user, or done already: nothing that anybody needs to be told. */
export const QUIET_REASONS: ReadonlySet<SkipReason> = new Set(['OptedOut', 'AlreadyInjected']);

export interface DecisionContext {
  /** Undefined: not known. */
  namespace: PodNamespace | undefined;
  defaults: Settings;
  /** The PodSecurity level of namespaces whose labels name none. */
  podSecurityDefault: 'privileged' | 'baseline' | 'restricted';
}

type Skip = { reason: SkipReason; message: string };
const skip = (reason: SkipReason, message: string): Skip => ({ reason, message });

/** Decides for one pod. Pure. */
export function decide(pod: Pod, context: DecisionContext): Decision {
  const annotations = pod.metadata?.annotations ?? {};
  const warnings = unknownAnnotations(annotations).map(
    (key) => `the annotation ${key} is not known to Breakwater and has no effect`,
  );
  const early = asksForNothing(pod) ?? cannotBeCaptured(pod) ?? forbiddenByNamespace(context);
  if (early) return { inject: false, ...early, warnings };

  const read = readSettings(annotations, context.defaults);
  if (!read.ok) {
    const capture = read.problems.find((problem) => problem.annotation === SETTINGS.capture.annotation);
    const text = read.problems
      .map(({ annotation, value, message }) => `the annotation ${annotation}: "${value.slice(0, 128)}": ${message}`)
      .join('; ');
    return { inject: false, reason: capture ? 'UnknownCapture' : 'MalformedAnnotation', message: text, warnings };
  }
  const conflict = conflictOf(pod, context.namespace, read.settings);
  if (conflict) return { inject: false, ...conflict, warnings };
  return { inject: true, settings: read.settings, warnings };
}

function asksForNothing(pod: Pod): Skip | undefined {
  if (pod.metadata?.labels?.[INJECTION_LABEL] === 'disabled') {
    return skip('OptedOut', `the label ${INJECTION_LABEL}: disabled is on the pod`);
  }
  const sidecar = initContainersOf(pod).some((container) => container.name === SIDECAR_CONTAINER);
  if (sidecar && pod.metadata?.annotations?.[INJECTED_ANNOTATION] !== undefined) {
    return skip('AlreadyInjected', 'the sidecar is already in the pod');
  }
  return undefined;
}

function cannotBeCaptured(pod: Pod): Skip | undefined {
  if (pod.metadata?.annotations?.['kubernetes.io/config.mirror'] !== undefined) {
    return skip('Mirror', 'mirror pods of a kubelet cannot be changed');
  }
  if (pod.spec?.hostNetwork === true) {
    return skip(
      'HostNetwork',
      "the pod uses the node's network, where redirection would catch the node's own connections",
    );
  }
  if (pod.spec?.os?.name === 'windows' || pod.spec?.nodeSelector?.['kubernetes.io/os'] === 'windows') {
    return skip('Windows', 'the pod is for Windows, where there is no iptables');
  }
  // Only where the admission plugin of that name is switched off; the API server would refuse the pod with our volume.
  if (!pod.spec?.serviceAccountName) {
    return skip('NoServiceAccount', 'the pod has no service account, and so no token for the sidecar to show');
  }
  return undefined;
}

function forbiddenByNamespace({ namespace, podSecurityDefault }: DecisionContext): Skip | undefined {
  if (!namespace) {
    return skip('NamespaceUnknown', 'the operator has not seen the namespace yet; create the pod again in a moment');
  }
  const written = namespace.labels['pod-security.kubernetes.io/enforce'];
  const level = written ?? podSecurityDefault;
  if (level !== 'baseline' && level !== 'restricted') return undefined;
  const source = written === undefined ? 'the cluster enforces' : 'the namespace enforces';
  return skip(
    'PodSecurity',
    `${source} PodSecurity ${level}, which forbids NET_ADMIN, and capture by iptables needs it; pods are injected where the level is privileged`,
  );
}

function conflictOf(pod: Pod, namespace: PodNamespace | undefined, settings: Settings): Skip | undefined {
  const other = findOtherMesh(pod, namespace);
  if (other) return skip('OtherMesh', `${other.mesh} captures the connections of this pod (${other.evidence})`);
  return uidConflict(pod) ?? portConflict(pod, settings) ?? nameConflict(pod);
}

function uidConflict(pod: Pod): Skip | undefined {
  const what = "which is the sidecar's own: its connections would not be captured";
  if (pod.spec?.securityContext?.runAsUser === SIDECAR_UID) {
    return skip('UidInUse', `the pod runs as user ${SIDECAR_UID}, ${what}`);
  }
  const container = allContainersOf(pod).find((one) => one.securityContext?.runAsUser === SIDECAR_UID);
  return container && skip('UidInUse', `the container ${container.name} runs as user ${SIDECAR_UID}, ${what}`);
}

/** Numbers only: a named port of a probe is one of the container's ports. */
function portsOf(container: Container): number[] {
  const probes: (Probe | null | undefined)[] = [
    container.livenessProbe,
    container.readinessProbe,
    container.startupProbe,
    container.lifecycle?.postStart,
    container.lifecycle?.preStop,
  ];
  const probed = probes.flatMap((probe) => [probe?.httpGet?.port, probe?.tcpSocket?.port, probe?.grpc?.port]);
  const declared = (container.ports ?? []).map((port) => port.containerPort);
  return [...declared, ...probed].filter((port): port is number => typeof port === 'number');
}

function portConflict(pod: Pod, settings: Settings): Skip | undefined {
  for (const name of ['outboundPort', 'adminPort', 'controlPort'] as const) {
    const user = allContainersOf(pod).find((container) => portsOf(container).includes(settings[name]));
    if (!user) continue;
    const way = `set the annotation ${SETTINGS[name].annotation} to a free port`;
    return skip('PortInUse', `the container ${user.name} uses port ${settings[name]}, which the sidecar needs; ${way}`);
  }
  return undefined;
}

function nameConflict(pod: Pod): Skip | undefined {
  const container = allContainersOf(pod).find(({ name }) => name === SIDECAR_CONTAINER || name === CAPTURE_CONTAINER);
  if (container) return skip('NameInUse', `the pod has a container of its own that is called ${container.name}`);
  const volume = (pod.spec?.volumes ?? []).find(({ name }) => name === TOKEN_VOLUME || name === STATE_VOLUME);
  return volume && skip('NameInUse', `the pod has a volume of its own that is called ${volume.name}`);
}
