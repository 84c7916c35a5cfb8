// The end of a process as the loss of power would bring it. Kubernetes itself always asks first: even a pod that is deleted by force gets its
// SIGTERM, and the first process of a container takes no SIGKILL from inside.
import { readdir, readFile } from 'node:fs/promises';
import { kubectl, type Pod } from './kube.ts';

/** Kills every process of a container of this pod, from the machine that it runs on; the kubelet starts it anew. */
export async function killContainer(pod: Pod, container: string): Promise<void> {
  const { name, namespace = 'default' } = pod.metadata;
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status;
  const status = [...containerStatuses, ...initContainerStatuses].find((one) => one.name === container);
  const id = status?.containerID?.split('://')[1];
  const pids = id === undefined ? [] : await processesOf(id);
  if (pids.length === 0) {
    throw new Error(
      `no process of container ${container} of ${namespace}/${name} runs on this machine: it must be a node`,
    );
  }
  for (const pid of pids) process.kill(pid, 'SIGKILL');
}

/** The same, and the pod is replaced. */
export async function killPod(pod: Pod, container: string): Promise<void> {
  const { name, namespace = 'default' } = pod.metadata;
  await killContainer(pod, container);
  await kubectl('-n', namespace, 'delete', 'pod', name, '--grace-period=0', '--force', '--wait=false');
}

async function processesOf(containerId: string): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    // A process may end while it is looked at.
    const cgroup = await readFile(`/proc/${entry}/cgroup`, 'utf8').catch(() => '');
    if (cgroup.includes(containerId)) found.push(Number(entry));
  }
  return found;
}
