// etcd and kube-apiserver: all that a test of CRDs, CEL, RBAC, webhooks, TokenReview and watches needs. Runs in this machine's loopback,
// several at a time side by side, each with its own state directory and ports.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually, run } from '../shell.ts';
import { ClusterAuthority, writeKubeconfig, writeServiceAccountKeys } from './certificates.ts';
import { daemonRuns, endDaemon, startDaemon } from './daemons.ts';
import {
  API_SERVICE_ADDRESS,
  adminKubeconfig,
  type Cache,
  cacheLayout,
  NODE_ADDRESS,
  NODE_NAME,
  ofBothFamilies,
  SERVICE_CIDR,
  SERVICE_CIDR_6,
} from './layout.ts';

export interface ControlPlaneOptions {
  state: string;
  etcdPort: number;
  apiPort: number;
  /** Put before each daemon's command, to start it in another namespace. */
  inside?: readonly string[];
  bindAddress?: string;
  advertiseAddress?: string;
  cache?: Cache;
}

export interface ControlPlane {
  kubeconfig: string;
  stop(): Promise<void>;
}

const USERS = [
  { file: 'admin', commonName: 'admin', organization: 'system:masters' },
  { file: 'controllers', commonName: 'system:kube-controller-manager' },
  { file: 'scheduler', commonName: 'system:kube-scheduler' },
  { file: 'proxy', commonName: 'system:kube-proxy' },
  {
    file: 'kubelet',
    commonName: `system:node:${NODE_NAME}`,
    organization: 'system:nodes',
    addresses: [NODE_ADDRESS],
    names: [NODE_NAME],
  },
];

async function writeIdentities(state: string, apiPort: number): Promise<void> {
  const authority = await ClusterAuthority.create(state);
  await writeServiceAccountKeys(state);
  await authority.issue({
    file: 'apiserver',
    commonName: 'kube-apiserver',
    addresses: ['127.0.0.1', NODE_ADDRESS, API_SERVICE_ADDRESS],
    names: ['localhost', 'kubernetes.default.svc'],
  });
  await authority.issue({ file: 'kubelet-client', commonName: 'apiserver-kubelet', organization: 'system:masters' });
  await authority.issue({ file: 'front-proxy', commonName: 'front-proxy' });
  for (const user of USERS) {
    await authority.issue(user);
    await writeKubeconfig(state, user.file, `https://127.0.0.1:${apiPort}`);
  }
}

/** Flags of a daemon, from an object: a null value is a flag without one. */
export const flags = (values: Record<string, string | number | null>): string[] =>
  Object.entries(values).map(([name, value]) => (value === null ? `--${name}` : `--${name}=${value}`));

/** Starts both and resolves when the API server is ready. The state directory is emptied first. Throws with the log's end if it fails. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { state, etcdPort, apiPort, inside = [], bindAddress = '127.0.0.1', advertiseAddress = '127.0.0.1' } = options;
  const { bin } = options.cache ?? cacheLayout();
  await mkdir(state, { recursive: true });
  await writeIdentities(state, apiPort);
  const start = (name: string, args: string[]) => startDaemon(state, name, inside, join(bin, name), args, bin);
  const etcd = `http://127.0.0.1:${etcdPort}`;
  start(
    'etcd',
    flags({
      'data-dir': 'etcd',
      // The state is thrown away with the cluster: waiting for the disk would buy nothing.
      'unsafe-no-fsync': null,
      'log-level': 'warn',
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': `http://127.0.0.1:${etcdPort + 1}`,
    }),
  );
  start(
    'kube-apiserver',
    flags({
      'etcd-servers': etcd,
      'secure-port': apiPort,
      'bind-address': bindAddress,
      'advertise-address': advertiseAddress,
      'service-cluster-ip-range': ofBothFamilies(SERVICE_CIDR, SERVICE_CIDR_6).join(','),
      'cert-dir': '.',
      'tls-cert-file': 'apiserver.crt',
      'tls-private-key-file': 'apiserver.key',
      'client-ca-file': 'ca.crt',
      'kubelet-client-certificate': 'kubelet-client.crt',
      'kubelet-client-key': 'kubelet-client.key',
      'kubelet-certificate-authority': 'ca.crt',
      'kubelet-preferred-address-types': 'InternalIP',
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': 'sa.pub',
      'service-account-signing-key-file': 'sa.key',
      'authorization-mode': 'Node,RBAC',
      'allow-privileged': null,
      'requestheader-client-ca-file': 'ca.crt',
      'requestheader-allowed-names': 'front-proxy',
      'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
      'requestheader-group-headers': 'X-Remote-Group',
      'requestheader-username-headers': 'X-Remote-User',
      'proxy-client-cert-file': 'front-proxy.crt',
      'proxy-client-key-file': 'front-proxy.key',
    }),
  );
  const kubeconfig = adminKubeconfig(state);
  const ready = ['--kubeconfig', kubeconfig, 'get', '--raw', '/readyz'];
  const [command = 'kubectl', ...args] = [...inside, join(bin, 'kubectl'), ...ready] as string[];
  await eventually(`the API server is ready (its log: ${state}/kube-apiserver.log)`, 90_000, async () => {
    if (!daemonRuns(state, 'etcd') || !daemonRuns(state, 'kube-apiserver')) return undefined;
    return await run(command, args);
  });
  return {
    kubeconfig,
    stop: async () => {
      for (const name of ['kube-apiserver', 'etcd']) await endDaemon(state, name);
      await rm(state, { recursive: true, force: true });
    },
  };
}
