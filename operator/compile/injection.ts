// Pods that a ServiceDependency selects and that have no sidecar: nothing is enforced for them, and their owners must hear why.
import { type Place, problem } from './problem.ts';
import type { Problem } from './result.ts';
import type { WorldNamespace, WorldPod } from './world.ts';
import type { WorldIndex } from './world-index.ts';

const INJECTION_LABEL = 'breakwater.dev/injection';
const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce';

/** One warning per cause. None where the namespace is unknown: a folder of manifests need not hold it, and nothing is injected there. */
export function missedPods(index: WorldIndex, place: Place, pods: readonly WorldPod[]): Problem[] {
  const namespace = index.namespaces.get(pods[0]?.namespace ?? '');
  if (namespace === undefined) return [];
  const causes = new Map<string, number>();
  for (const pod of pods) {
    if (pod.injected) continue;
    const why = causeOf(namespace, pod);
    causes.set(why, (causes.get(why) ?? 0) + 1);
  }
  return [...causes].map(([why, count]) => problem('PodsNotInjected', place, { count, of: pods.length, why }));
}

function causeOf(namespace: WorldNamespace, pod: WorldPod): string {
  if (pod.mirror)
    return 'they are mirror pods of a node, which are never injected; leave them out of consumer.selector';
  if (pod.hostNetwork) {
    return 'hostNetwork is set, where redirection would concern the whole node; remove hostNetwork, or leave these pods out of consumer.selector';
  }
  if (pod.labels[INJECTION_LABEL] === 'disabled') {
    return `the pods have the label ${INJECTION_LABEL}: disabled; remove it and restart them`;
  }
  if (namespace.labels[INJECTION_LABEL] !== 'enabled') {
    return `label the namespace and restart them: kubectl label namespace ${namespace.name} ${INJECTION_LABEL}=enabled`;
  }
  const level = namespace.labels[POD_SECURITY_LABEL];
  if (level === 'baseline' || level === 'restricted') {
    return `the namespace enforces PodSecurity ${level}, which refuses the capture of connections; set the label ${POD_SECURITY_LABEL} to privileged, or use another namespace`;
  }
  return `they are older than the injection, or were refused it; restart them: kubectl rollout restart deployment --namespace ${namespace.name}`;
}
