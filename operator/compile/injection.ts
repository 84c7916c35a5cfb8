// Pods that a ServiceDependency selects and that have no sidecar: nothing is enforced for them, and their owners must hear why.
import {
  CAPTURE_ANNOTATION,
  type CaptureSetting,
  captureOf,
  enforcedLevel,
  type InjectionDefaults,
} from './capture.ts';
import { type Place, problem } from './problem.ts';
import { restartCommand } from './restart.ts';
import type { Problem } from './result.ts';
import type { WorldNamespace, WorldPod } from './world.ts';
import type { WorldIndex } from './world-index.ts';

const INJECTION_LABEL = 'breakwater.dev/injection';

/** One warning per cause. None where the namespace is unknown: a folder of manifests need not hold it, and nothing is injected there. */
export function missedPods(index: WorldIndex, place: Place, pods: readonly WorldPod[]): Problem[] {
  const namespace = index.namespaces.get(pods[0]?.namespace ?? '');
  if (namespace === undefined) return [];
  const causes = new Map<string, WorldPod[]>();
  const older: WorldPod[] = [];
  for (const pod of pods) {
    if (pod.injected) continue;
    const why = causeOf(namespace, pod, index.injection);
    if (why === undefined) older.push(pod);
    else causes.set(why, [...(causes.get(why) ?? []), pod]);
  }
  if (older.length > 0) {
    causes.set(`they are older than the injection, or were refused it; restart them: ${restartCommand(older)}`, older);
  }
  return [...causes].map(([why, missed]) =>
    problem('PodsNotInjected', place, { count: missed.length, of: pods.length, why }),
  );
}

/** Undefined: it would get one if it were started now. */
function causeOf(namespace: WorldNamespace, pod: WorldPod, injection: InjectionDefaults): string | undefined {
  if (pod.mirror)
    return 'they are mirror pods of a node, which are never injected; leave them out of consumer.selector';
  if (pod.hostNetwork) {
    return 'hostNetwork is set, where the sidecar would meet the connections of the whole node; remove hostNetwork, or leave these pods out of consumer.selector';
  }
  if (pod.labels[INJECTION_LABEL] === 'disabled') {
    return `the pods have the label ${INJECTION_LABEL}: disabled; remove it and restart them`;
  }
  if (namespace.labels[INJECTION_LABEL] !== 'enabled') {
    return `label the namespace and restart them: kubectl label namespace ${namespace.name} ${INJECTION_LABEL}=enabled`;
  }
  const security = refusedByPodSecurity(namespace, pod, injection);
  return security === undefined
    ? undefined
    : `${security}; annotate them with ${CAPTURE_ANNOTATION}: loopback or explicit, or remove that annotation`;
}

/** Why an init container with NET_ADMIN, which the pod asks for, may not be in it. */
export function refusedByPodSecurity(
  { labels }: WorldNamespace,
  { annotations }: Pick<WorldPod, 'annotations'>,
  injection: InjectionDefaults,
): string | undefined {
  const enforced = enforcedLevel(labels, injection);
  const setting = settingOf(annotations[CAPTURE_ANNOTATION]) ?? injection.capture;
  if (enforced === undefined || captureOf(setting, enforced) !== 'iptables') return undefined;
  return `${enforced.by} enforces PodSecurity ${enforced.level}, which refuses capture by iptables`;
}

function settingOf(text: string | undefined): CaptureSetting | undefined {
  return (['auto', 'iptables', 'loopback', 'explicit'] as const).find((setting) => setting === text?.trim());
}
