// The command that replaces pods, by what made them: what a running pod was born with, only a new one has otherwise.
import type { WorldPod } from './world.ts';

const MAX_COMMANDS = 3;
const RESTARTABLE: ReadonlySet<string> = new Set(['Deployment', 'StatefulSet', 'DaemonSet']);

/** What a user knows a pod by; undefined: a pod of its own. A ReplicaSet stands for the Deployment that made it, by the hash it adds. */
export function workloadOf({ name, labels, owner }: WorldPod): { kind: string; name: string } | undefined {
  const hash = labels['pod-template-hash'];
  const end = hash === undefined ? -1 : name.lastIndexOf(`-${hash}-`);
  if (end > 0) return { kind: 'Deployment', name: name.slice(0, end) };
  return owner;
}

/** One command, or a few; of many workloads the first ones. */
export function restartCommand(pods: readonly WorldPod[]): string {
  const commands = [...new Set(pods.map(commandFor))].sort();
  const told = commands.slice(0, MAX_COMMANDS);
  const more = commands.length - told.length;
  return `${told.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

function commandFor(pod: WorldPod): string {
  const workload = workloadOf(pod);
  if (workload !== undefined && RESTARTABLE.has(workload.kind)) {
    return `kubectl rollout restart ${workload.kind.toLowerCase()} ${workload.name} --namespace ${pod.namespace}`;
  }
  const deletion = `kubectl delete pod ${pod.name} --namespace ${pod.namespace}`;
  return workload === undefined ? `${deletion}, and create it again` : deletion;
}
