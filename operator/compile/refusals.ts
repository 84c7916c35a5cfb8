// Pods that the API server refuses because of what injection adds: another admission check (PodSecurity that no label shows, a quota) judges
// the pod after ours. The workload only says FailedCreate, in an Event; who looks at the ServiceDependency must hear it, with the way out.
import { type Place, problem } from './problem.ts';
import { workloadOf } from './restart.ts';
import type { Problem } from './result.ts';
import type { WorldPod, WorldRefusal } from './world.ts';
import type { WorldIndex } from './world-index.ts';

const MAX_TOLD = 4;
/** Containers and volumes of ours, as such a message names them. */
const OURS = /(?<![\w-])breakwater(-capture|-token|-state)?(?![\w-])/;

export function namesOurs(message: string): boolean {
  return OURS.test(message);
}

/** `pods`: those that the ServiceDependency selects. */
export function refusalProblems(index: WorldIndex, place: Place, pods: readonly WorldPod[]): Problem[] {
  const { namespace } = place.object;
  const refusals = index.refusals.get(namespace) ?? [];
  const concerned = refusals.filter((refusal) => concerns(refusal, pods, index.pods.get(namespace) ?? []));
  const told = new Map(concerned.map((refusal) => [`${refusal.owner.kind} ${refusal.owner.name}`, refusal]));
  return [...told].slice(0, MAX_TOLD).map(([owner, { message }]) => {
    return problem('InjectionRefused', place, { owner, message, fix: fixFor(message) });
  });
}

/**
 * Whose pods they are, no one knows: an Event does not show their labels. Pods of the same workload tell it; where there are none, it may
 * be the workload that a ServiceDependency without any pod waits for.
 */
function concerns({ owner, at }: WorldRefusal, selected: readonly WorldPod[], all: readonly WorldPod[]): boolean {
  const workload = owner.kind === 'ReplicaSet' ? owner.name.replace(/-[a-z0-9]+$/, '') : owner.name;
  const isOfIt = (pod: WorldPod) => pod.owner?.name === owner.name || workloadOf(pod)?.name === workload;
  const family = all.filter(isOfIt);
  if (isMended(owner.name, at, family)) return false;
  return family.length > 0 ? selected.some(isOfIt) : selected.length === 0;
}

/**
 * A later pod of that controller exists, or a later controller of the workload took its place: whoever follows the fix changes the
 * template of a Deployment, and so makes another ReplicaSet. One that had pods before is the one that the refused should have replaced.
 */
function isMended(owner: string, at: string, family: readonly WorldPod[]): boolean {
  const had = new Set(family.filter((pod) => pod.creationTimestamp <= at).map((pod) => pod.owner?.name));
  return family.some((pod) => pod.creationTimestamp > at && (pod.owner?.name === owner || !had.has(pod.owner?.name)));
}

function fixFor(message: string): string {
  if (/PodSecurity|NET_ADMIN|capabilit/i.test(message)) {
    return 'annotate the pods with breakwater.dev/capture: loopback, or label the namespace with pod-security.kubernetes.io/enforce; for the whole cluster set podSecurityDefault of the chart';
  }
  if (/quota|limits?\.|requests?\.|must specify/i.test(message)) {
    return 'give the sidecar what the quota asks for, with the annotations breakwater.dev/sidecar-cpu-request, -cpu-limit, -memory-request and -memory-limit of the pods, or with sidecar.resources of the chart';
  }
  return 'let that check allow the sidecar, or keep it away from these pods with their label breakwater.dev/injection: disabled';
}
