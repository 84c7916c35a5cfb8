// Breakwater in a cluster, from images of this tree and by its own chart: what a user does, no more.
import { join } from 'node:path';
import { IMAGE_TAG, REPOSITORY_ROOT } from './images.ts';
import { run } from './shell.ts';

export const RELEASE = 'breakwater';
export const SYSTEM_NAMESPACE = 'breakwater-system';
export const OPERATOR_DEPLOYMENT = 'breakwater-operator';
/** By default of the chart. */
export const OPERATOR_REPLICAS = 2;
export const CHART = join(REPOSITORY_ROOT, 'charts', 'breakwater');

export const IMAGE_VALUES: readonly string[] = [
  '--set=operator.image.repository=docker.io/breakwater/operator',
  `--set=operator.image.tag=${IMAGE_TAG}`,
  '--set=operator.image.pullPolicy=Never',
  '--set=sidecar.image.repository=docker.io/breakwater/sidecar',
  `--set=sidecar.image.tag=${IMAGE_TAG}`,
  '--set=sidecar.image.pullPolicy=Never',
];

/** Runs a command that talks to the cluster. */
export type InCluster = (command: string, args: readonly string[]) => Promise<string>;

/** Runs commands with this kubeconfig, inside the cluster's network where it has one of its own. */
export function inCluster(kubeconfig: string, inside: readonly string[], path: string): InCluster {
  return (command, args) => {
    const [executable = command, ...rest] = [...inside, command, ...args];
    return run(executable, rest, { env: { KUBECONFIG: kubeconfig, PATH: `${path}:${process.env['PATH'] ?? ''}` } });
  };
}

/** Installs or upgrades the release and waits until the operator is ready. Its pod is replaced, for the tag of its image stays the same. */
export async function installBreakwater(exec: InCluster): Promise<void> {
  await exec('helm', [
    'upgrade',
    '--install',
    RELEASE,
    CHART,
    '--namespace',
    SYSTEM_NAMESPACE,
    '--create-namespace',
    ...IMAGE_VALUES,
    `--set-string=operator.podAnnotations.installed-at=${Date.now()}`,
    '--wait',
    '--timeout=120s',
  ]);
  await exec('kubectl', [
    '-n',
    SYSTEM_NAMESPACE,
    'rollout',
    'status',
    `deployment/${OPERATOR_DEPLOYMENT}`,
    '--timeout=180s',
  ]);
}
