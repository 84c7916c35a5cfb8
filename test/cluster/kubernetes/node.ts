// A real single-node Kubernetes inside one network namespace, so that no packet of it can leave this machine, and the way to end it.
// What is not obvious about the machines it must run on, a CI container among them:
//   - `ip netns exec` remounts /sys and hides the cgroups from the kubelet; `nsenter --net` does not.
//   - Without CAP_SYS_RESOURCE runc cannot lower an OOM score: containerd must not ask for it (restrict_oom_score_adj).
//   - With cgroup v1 the kubelet refuses to start unless told otherwise (failCgroupV1).
//   - The kernel may lack the dummy link type; a bridge without ports serves as the node's interface.
//   - A kubelet removes the control groups of pods that it does not know: each has a root of its own, so that two clusters can run at a time.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually, run, sleep, succeeds } from '../shell.ts';
import { baseArchives, PAUSE_IMAGE } from './base-images.ts';
import { flags, startControlPlane } from './control-plane.ts';
import { endDaemon, findProcesses, processStat, startDaemon } from './daemons.ts';
import {
  adminKubeconfig,
  type Cache,
  CLUSTER_CIDR,
  CLUSTER_CIDR_6,
  cacheLayout,
  DNS_SERVICE_ADDRESS,
  hasIpv6,
  NODE_ADDRESS,
  NODE_ADDRESS_6,
  NODE_NAME,
  networkNamespace,
  ofBothFamilies,
  POD_CIDR,
  POD_CIDR_6,
  stateDirectory,
} from './layout.ts';
import { ImageStore } from './load-image.ts';

export interface Cluster {
  state: string;
  kubeconfig: string;
  /** Put before a command to run it inside the cluster's network. */
  inside: readonly string[];
  bin: string;
}

const insideOf = (name: string): readonly string[] => ['nsenter', `--net=/run/netns/${name}`];

/** The cluster of this machine, whether it runs or not. */
export function thisCluster(): Cluster {
  const state = stateDirectory();
  return { state, kubeconfig: adminKubeconfig(state), inside: insideOf(networkNamespace()), bin: cacheLayout().bin };
}

export const clusterExists = (): boolean => existsSync(stateDirectory());

export async function kubectlOf(cluster: Cluster, ...args: string[]): Promise<string> {
  const [command = '', ...rest] = [
    ...cluster.inside,
    join(cluster.bin, 'kubectl'),
    '--kubeconfig',
    cluster.kubeconfig,
    ...args,
  ];
  return run(command, rest);
}

async function createNetwork(cluster: Cluster): Promise<void> {
  await run('ip', ['netns', 'add', networkNamespace()]);
  const ip = (...args: string[]) => run('nsenter', [...cluster.inside.slice(1), 'ip', ...args]);
  await ip('link', 'set', 'lo', 'up');
  await ip('link', 'add', 'node0', 'type', 'bridge');
  await ip('addr', 'add', `${NODE_ADDRESS}/24`, 'dev', 'node0');
  await ip('link', 'set', 'node0', 'up');
  await ip('route', 'add', 'default', 'dev', 'node0');
  if (!hasIpv6()) return;
  // Nobody else could have the address, and until it is known that nobody has it nothing could be bound to it.
  await ip('-6', 'addr', 'add', `${NODE_ADDRESS_6}/64`, 'dev', 'node0', 'nodad');
  await ip('-6', 'route', 'add', 'default', 'dev', 'node0');
}

async function writeConfiguration(state: string, cache: Cache): Promise<void> {
  await mkdir(join(state, 'cni'), { recursive: true });
  const ipam = {
    type: 'host-local',
    dataDir: join(state, 'ipam'),
    ranges: ofBothFamilies(POD_CIDR, POD_CIDR_6).map((subnet) => [{ subnet }]),
    routes: ofBothFamilies('0.0.0.0/0', '::/0').map((dst) => ({ dst })),
  };
  const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, hairpinMode: true, ipam };
  const portmap = { type: 'portmap', capabilities: { portMappings: true } };
  await writeFile(
    join(state, 'cni', '10-bridge.conflist'),
    JSON.stringify({ cniVersion: '1.0.0', name: 'pods', plugins: [bridge, portmap] }),
  );
  await writeFile(
    join(state, 'containerd.toml'),
    `version = 3
root = "${cache.containerd}"
state = "${state}/containerd"
[grpc]
  address = "${state}/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "${state}/cni"
`,
  );
  await writeFile(join(state, 'resolv.conf'), `nameserver ${DNS_SERVICE_ADDRESS}\n`);
  const kubelet = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    clusterDNS: [DNS_SERVICE_ADDRESS],
    clusterDomain: 'cluster.local',
    resolvConf: join(state, 'resolv.conf'),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(state, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    containerRuntimeEndpoint: `unix://${state}/containerd.sock`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${networkNamespace()}`,
    failCgroupV1: false,
    failSwapOn: false,
    tlsCertFile: join(state, 'kubelet.crt'),
    tlsPrivateKeyFile: join(state, 'kubelet.key'),
    podLogsDir: join(state, 'podlogs'),
    imageGCHighThresholdPercent: 100,
    // More pods than one would give two cores: they are small, and the tests run side by side.
    maxPods: 200,
    evictionHard: {
      'memory.available': '1Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
  };
  await writeFile(join(state, 'kubelet.json'), JSON.stringify(kubelet));
}

/**
 * All pods together weigh as much as this many processes of this machine. By default they would weigh as one: elsewhere every daemon has a group
 * of its own, here each process stands beside the group of the pods, and whenever a few of them compute, every pod would stand still.
 */
const PODS_WEIGH = 16;

/** With cgroup v1 one group for each controller, with v2 one. */
async function createControlGroup(): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  const hierarchies = mounts
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, point = '']) => point);
  const weights = { 'cpu.shares': 1024, 'cpu.weight': 100 };
  for (const hierarchy of hierarchies) {
    const group = join(hierarchy, networkNamespace());
    await mkdir(group, { recursive: true });
    for (const [file, ofOne] of Object.entries(weights)) {
      if (existsSync(join(group, file))) await writeFile(join(group, file), String(PODS_WEIGH * ofOne));
    }
  }
}

async function startNode(cluster: Cluster, cache: Cache): Promise<void> {
  const { state, inside, bin } = cluster;
  const start = (name: string, command: string, args: string[]) =>
    startDaemon(state, name, inside, join(bin, command), args, bin);
  const config = (user: string) => join(state, `${user}.kubeconfig`);
  start(
    'kube-controller-manager',
    'kube-controller-manager',
    flags({
      kubeconfig: config('controllers'),
      'use-service-account-credentials': null,
      'service-account-private-key-file': 'sa.key',
      'root-ca-file': 'ca.crt',
      'cluster-signing-cert-file': 'ca.crt',
      'cluster-signing-key-file': 'ca.key',
      'leader-elect': 'false',
    }),
  );
  start('kube-scheduler', 'kube-scheduler', flags({ kubeconfig: config('scheduler'), 'leader-elect': 'false' }));
  await writeConfiguration(state, cache);
  await createControlGroup();
  start('containerd', 'containerd', ['-c', 'containerd.toml']);
  await eventually(
    'containerd answers',
    20_000,
    () => run(join(bin, 'ctr'), ['-a', join(state, 'containerd.sock'), 'version']),
    100,
  );
  const store = new ImageStore(state, cache);
  for (const archive of baseArchives(cache)) await store.load(archive);
  start(
    'kubelet',
    'kubelet',
    flags({
      config: 'kubelet.json',
      kubeconfig: config('kubelet'),
      'root-dir': join(state, 'kubelet'),
      'hostname-override': NODE_NAME,
      'node-ip': ofBothFamilies(NODE_ADDRESS, NODE_ADDRESS_6).join(','),
    }),
  );
  start(
    'kube-proxy',
    'kube-proxy',
    flags({
      kubeconfig: config('proxy'),
      'cluster-cidr': ofBothFamilies(CLUSTER_CIDR, CLUSTER_CIDR_6).join(','),
      'hostname-override': NODE_NAME,
      'proxy-mode': 'iptables',
      'conntrack-max-per-core': 0,
    }),
  );
}

/** Starts the cluster; resolves when its node is ready and its names resolve. What an earlier one left behind is removed first. */
export async function startCluster(): Promise<Cluster> {
  await stopCluster();
  const cluster = thisCluster();
  const cache = cacheLayout();
  await mkdir(cluster.state, { recursive: true });
  await writeFile(join(cluster.state, 'netns.before'), (await readdir('/run/netns').catch(() => [])).join('\n'));
  await createNetwork(cluster);
  await startControlPlane({
    state: cluster.state,
    etcdPort: 23790,
    apiPort: 6443,
    inside: cluster.inside,
    bindAddress: '0.0.0.0',
    advertiseAddress: NODE_ADDRESS,
    cache,
  });
  await startNode(cluster, cache);
  await eventually('the node registers', 60_000, () => kubectlOf(cluster, 'get', 'node', NODE_NAME));
  await kubectlOf(cluster, 'wait', '--for=condition=Ready', `node/${NODE_NAME}`, '--timeout=180s');
  await kubectlOf(cluster, 'apply', '-f', join(import.meta.dirname, 'coredns.yaml'));
  await kubectlOf(cluster, '-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=180s');
  return cluster;
}

/** Kills what runs in the pods: the children of this cluster's shims, and the shims. */
async function endPods(state: string): Promise<void> {
  const socket = join(state, 'containerd.sock');
  const shims = await findProcesses(
    (command) => (command[0] ?? '').endsWith('containerd-shim-runc-v2') && command.includes(socket),
  );
  const children = await findProcesses((_command, pid) => shims.includes(processStat(pid)?.parent ?? -1));
  for (const pid of [...children, ...shims]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}

async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((point) => point.startsWith(`${directory}/`)).reverse())
    await succeeds('umount', ['-l', mount]);
}

/** Ends what startCluster started: pods, daemons, mounts, network namespaces. Nothing else; and nothing at all where nothing runs. */
export async function stopCluster(): Promise<void> {
  const state = stateDirectory();
  if (!existsSync(state)) return;
  for (const name of ['kubelet', 'kube-proxy', 'kube-scheduler', 'kube-controller-manager', 'kube-apiserver'])
    await endDaemon(state, name);
  await endPods(state);
  for (const name of ['containerd', 'etcd']) await endDaemon(state, name);
  await sleep(200);
  await unmountBelow(state);
  const before = new Set((await readFile(join(state, 'netns.before'), 'utf8').catch(() => '')).split('\n'));
  for (const name of await readdir('/run/netns').catch(() => [])) {
    if (before.has(name) || (name !== networkNamespace() && !name.startsWith('cni-'))) continue;
    await succeeds('umount', ['-l', join('/run/netns', name)]);
    await rm(join('/run/netns', name), { force: true });
  }
  await rm(state, { recursive: true, force: true });
}
