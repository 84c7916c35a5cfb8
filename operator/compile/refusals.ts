// Pods that the API server refuses because of what injection adds: another admission check (PodSecurity that no label shows, a quota) judges
// the pod after ours. The workload only says FailedCreate, in an Event; who looks at the ServiceDependency must hear it, with the way out.
import { type Place, problem } from './problem.ts';
import { workloadOf } from './restart.ts';
import type { Problem } from './result.ts';
import type { WorldPod, WorldRefusal } from './world.ts';
import type { WorldIndex } from './world-index.ts';

const MAX_TOLD = 4;
/** Containers and volumes of ours, as such a message names them; not our domain or host names, as in a call of the webhook that failed. */
const OURS = /(?<![\w.-])breakwater(-capture|-token|-state)?(?![\w-]|\.\w)/;

export function namesOurs(message: string): boolean {
  return OURS.test(message);
}

/** `pods`: those that the ServiceDependency selects. */
export function refusalProblems(index: WorldIndex, place: Place, pods: readonly WorldPod[]): Problem[] {
  const { namespace } = place.object;
  const refusals = index.refusals.get(namespace) ?? [];
  // Every pod that is refused has an Event of its own until they are too many; the first tells since when.
  const first = new Map<string, string>();
  for (const refusal of refusals) {
    const known = first.get(ownerOf(refusal));
    if (known === undefined || refusal.since < known) first.set(ownerOf(refusal), refusal.since);
  }
  const all = index.pods.get(namespace) ?? [];
  const concerned = refusals.filter((refusal) => concerns(refusal, first.get(ownerOf(refusal)) ?? '', pods, all));
  const told = new Map(concerned.map((refusal) => [ownerOf(refusal), refusal]));
  return [...told].slice(0, MAX_TOLD).map(([owner, { message }]) => {
    return problem('InjectionRefused', place, { owner, message, fix: fixFor(message) });
  });
}

const ownerOf = ({ owner }: WorldRefusal): string => `${owner.kind} ${owner.name}`;

/**
 * Whose pods they are, no one knows: an Event does not show their labels. Pods of the same workload tell it; where there are none, it may
 * be the workload that a ServiceDependency without any pod waits for.
 */
function concerns(
  { owner, at }: WorldRefusal,
  since: string,
  selected: readonly WorldPod[],
  all: readonly WorldPod[],
): boolean {
  const workload = owner.kind === 'ReplicaSet' ? owner.name.replace(/-[a-z0-9]+$/, '') : owner.name;
  const isOfIt = (pod: WorldPod) => pod.owner?.name === owner.name || workloadOf(pod)?.name === workload;
  const family = all.filter(isOfIt);
  if (family.some((pod) => pod.owner?.name === owner.name && pod.creationTimestamp > at)) return false;
  if (isReplaced(owner.name, since, family)) return false;
  return family.length > 0 ? selected.some(isOfIt) : selected.length === 0;
}

/**
 * Whoever follows the fix changes the template of a Deployment, and so makes another ReplicaSet: the one that had no pod before the first
 * refusal, and has one now. The refused one may go on being refused until that pod is ready.
 */
function isReplaced(owner: string, since: string, family: readonly WorldPod[]): boolean {
  const others = family.filter((pod) => pod.owner?.name !== owner);
  const had = new Set(others.filter((pod) => pod.creationTimestamp <= since).map((pod) => pod.owner?.name));
  return others.some((pod) => !had.has(pod.owner?.name));
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
