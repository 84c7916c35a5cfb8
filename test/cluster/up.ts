// `npm run cluster`: a real Kubernetes on this machine with Breakwater installed by its chart, left running.
import { join } from 'node:path';
import { ALL_IMAGES, buildImages, type ImageWithId, loadImages } from './images.ts';
import { inCluster, installBreakwater, SYSTEM_NAMESPACE } from './install.ts';
import { buildKubernetes } from './kubernetes/build.ts';
import { ImageStore } from './kubernetes/load-image.ts';
import { type Cluster, startCluster } from './kubernetes/node.ts';
import { takeLock } from './lock.ts';

/** Builds what is missing, starts the cluster, loads the images of this tree and installs Breakwater. `images`: those that are built elsewhere. */
export async function bringUp(log: (line: string) => void, images?: Promise<readonly ImageWithId[]>): Promise<Cluster> {
  const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    const result = await work();
    log(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return result;
  };
  await step('Kubernetes built', () => buildKubernetes('all', log));
  // A cluster waits more than it computes while it starts. Both come to their end, for whoever is to remove what they left.
  const [cluster, built] = await Promise.allSettled([
    step('cluster started', startCluster),
    images ?? buildImages(ALL_IMAGES, log),
  ]);
  if (cluster.status === 'rejected') throw cluster.reason;
  if (built.status === 'rejected') throw built.reason;
  await loadImages(built.value, new ImageStore(), log);
  await step('Breakwater installed', () =>
    installBreakwater(inCluster(cluster.value.kubeconfig, cluster.value.inside, cluster.value.bin)),
  );
  return cluster.value;
}

export function howToReach(cluster: Cluster): string {
  const inside = cluster.inside.join(' ');
  return `
The cluster runs, with Breakwater in namespace ${SYSTEM_NAMESPACE}. Everything in it lives in one network namespace.

  a shell in its network   ${inside} env KUBECONFIG=${cluster.kubeconfig} PATH=${cluster.bin}:$PATH bash
  kubectl                  ${inside} ${join(cluster.bin, 'kubectl')} --kubeconfig ${cluster.kubeconfig} get pods -A
  helm                     ${inside} ${join(cluster.bin, 'helm')} --kubeconfig ${cluster.kubeconfig} list -A
  load an image            buildah push NAME docker-archive:FILE:NAME && npx node test/cluster/kubernetes/load-image.ts FILE
                           (then imagePullPolicy: Never or IfNotPresent)
  run the tests on it      KUBECONFIG=${cluster.kubeconfig} npm run test:cluster
  logs of its daemons      ${cluster.state}/*.log
  remove it                npm run cluster:down
`;
}

if (import.meta.main) {
  const release = takeLock();
  const cluster = await bringUp((line) => console.error(line));
  release();
  console.log(howToReach(cluster));
}
