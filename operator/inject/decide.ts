// Whether a pod is injected, and if not, why: never by refusing the pod, always with a reason that a user can act on.
import { quoted } from '../../runtime/printable.ts';
import { type CaptureMode, captureOf, enforcedLevel } from '../compile/capture.ts';
import { CERTIFICATES_VOLUME } from '../compile/objects.ts';
import { findOtherMesh } from './other-meshes.ts';
import { CAPTURE_CONTAINER, SIDECAR_CONTAINER, SIDECAR_UID, STATE_VOLUME, TOKEN_VOLUME } from './patch.ts';
import { allContainersOf, initContainersOf, type Pod, type PodNamespace } from './pod.ts';
import { portsOf } from './ports.ts';
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
  | 'PodTooLarge'
  | 'NamespaceUnknown';

export type Decision =
  | { inject: true; settings: Settings; capture: CaptureMode; warnings: readonly string[] }
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
  const early = asksForNothing(pod) ?? cannotBeCaptured(pod) ?? unknownNamespace(context);
  if (early) return { inject: false, ...early, warnings };

  const read = readSettings(annotations, context.defaults);
  if (!read.ok) {
    const capture = read.problems.find((problem) => problem.annotation === SETTINGS.capture.annotation);
    const text = read.problems
      .map(({ annotation, value, message }) => `the annotation ${annotation}: ${quoted(value, 128)}: ${message}`)
      .join('; ');
    return { inject: false, reason: capture ? 'UnknownCapture' : 'MalformedAnnotation', message: text, warnings };
  }
  const { settings } = read;
  const capture = captureOf(settings.capture, enforcedOn(context));
  const conflict = forbiddenByNamespace(capture, context) ?? conflictOf(pod, context.namespace, settings, capture);
  if (conflict) return { inject: false, ...conflict, warnings };
  return { inject: true, settings, capture, warnings: [...warnings, ...withoutEffect(annotations, capture)] };
}

const IPTABLES_ONLY = ['excludeOutboundPorts', 'excludeOutboundCidrs', 'outboundPort'] as const;

function withoutEffect(annotations: Readonly<Record<string, string>>, capture: CaptureMode): string[] {
  if (capture === 'iptables') return [];
  return IPTABLES_ONLY.map((name) => SETTINGS[name].annotation)
    .filter((annotation) => annotations[annotation] !== undefined)
    .map((annotation) => `the annotation ${annotation} has no effect with capture ${capture}`);
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
      "the pod uses the node's network, where the sidecar would meet the connections of the whole node",
    );
  }
  if (pod.spec?.os?.name === 'windows' || pod.spec?.nodeSelector?.['kubernetes.io/os'] === 'windows') {
    return skip('Windows', 'the pod is for Windows, and the sidecar is not');
  }
  // Only where the admission plugin of that name is switched off; the API server would refuse the pod with our volume.
  if (!pod.spec?.serviceAccountName) {
    return skip('NoServiceAccount', 'the pod has no service account, and so no token for the sidecar to show');
  }
  return undefined;
}

const enforcedOn = (context: DecisionContext) => enforcedLevel(context.namespace?.labels ?? {}, context);

function unknownNamespace({ namespace }: DecisionContext): Skip | undefined {
  if (namespace) return undefined;
  return skip('NamespaceUnknown', 'the operator has not seen the namespace yet; create the pod again in a moment');
}

function forbiddenByNamespace(capture: CaptureMode, context: DecisionContext): Skip | undefined {
  const enforced = enforcedOn(context);
  if (capture !== 'iptables' || !enforced) return undefined;
  return skip(
    'PodSecurity',
    `${enforced.by} enforces PodSecurity ${enforced.level}, which forbids NET_ADMIN, and capture by iptables needs it; set ${SETTINGS.capture.annotation} to loopback or explicit, or remove it`,
  );
}

/** Another mesh is in the way of all modes: the sidecar calls pods by their addresses, past what that mesh knows by the name of a Service. */
function conflictOf(
  pod: Pod,
  namespace: PodNamespace | undefined,
  settings: Settings,
  capture: CaptureMode,
): Skip | undefined {
  const other = findOtherMesh(pod, namespace);
  if (other) return skip('OtherMesh', `${other.mesh} captures the connections of this pod (${other.evidence})`);
  const uid = capture === 'iptables' ? uidConflict(pod) : undefined;
  return uid ?? portConflict(pod, settings, capture) ?? nameConflict(pod);
}

function uidConflict(pod: Pod): Skip | undefined {
  const what = "which is the sidecar's own: its connections would not be captured";
  if (pod.spec?.securityContext?.runAsUser === SIDECAR_UID) {
    return skip('UidInUse', `the pod runs as user ${SIDECAR_UID}, ${what}`);
  }
  const container = allContainersOf(pod).find((one) => one.securityContext?.runAsUser === SIDECAR_UID);
  return container && skip('UidInUse', `the container ${container.name} runs as user ${SIDECAR_UID}, ${what}`);
}

function portConflict(pod: Pod, settings: Settings, capture: CaptureMode): Skip | undefined {
  for (const name of ['outboundPort', 'adminPort', 'controlPort'] as const) {
    if (name === 'outboundPort' && capture !== 'iptables') continue;
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
  const ours: readonly string[] = [TOKEN_VOLUME, STATE_VOLUME, CERTIFICATES_VOLUME];
  const volume = (pod.spec?.volumes ?? []).find(({ name }) => ours.includes(name));
  return volume && skip('NameInUse', `the pod has a volume of its own that is called ${volume.name}`);
}
