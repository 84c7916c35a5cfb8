// A real etcd and kube-apiserver on 127.0.0.1, for the tests named *.api.test.ts: what Kubernetes accepts, prunes and refuses is not for us
// to imagine. There is no controller, scheduler or node: objects are stored, validated and watched, pods never run. Everything lies in
// one temporary folder and goes with it. It imports nothing of ours, so that every part may use it (it is a TypeScript project of its own).
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from './temporary-folder.ts';

export interface CommandResult {
  /** Exit status; 128 where a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Plain data, so that a test in another process can use a server that is there already. */
export interface ControlPlaneAddress {
  /** Of a user in the group system:masters. */
  kubeconfigPath: string;
  /** "https://127.0.0.1:PORT" */
  serverUrl: string;
  /** Bearer token of that user. */
  token: string;
  /** File with the certificates that the server's one is signed by, in PEM. */
  caFile: string;
  /** File with the key of the server's certificate: for whoever stands in for it. */
  keyFile: string;
  /** Folder of kubectl, helm, … */
  binaries: string;
  etcdUrl: string;
  /** What was stored, by its key in etcd, when nobody had used it yet. */
  ownKeys: readonly string[];
}

export interface UsedControlPlane extends ControlPlaneAddress {
  /** Runs kubectl against this server; rejects only where it cannot be started. */
  kubectl(args: readonly string[], stdin?: string): Promise<CommandResult>;
  /** Forgets everything that was stored; for whoever started it, ends it. */
  stop(): Promise<void>;
}

export interface ControlPlane extends UsedControlPlane {
  address: ControlPlaneAddress;
  /** Ends the API server; etcd, and all that is stored, stays. */
  stopApiServer(): Promise<void>;
  /** Starts it again, at the same address, and waits until it is ready. */
  startApiServer(): Promise<void>;
  /** Lets etcd forget all history: older versions can then be read from the API server's memory only. */
  compact(): Promise<void>;
  /** Ends both processes and removes the folder. May be called twice. */
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 10_000;
/** Another process may take a port between our look and the server's bind. */
const START_ATTEMPTS = 3;

/** Where the binaries are: $BREAKWATER_CLUSTER_CACHE/bin, ~/.cache/breakwater-cluster/bin by default. */
export function controlPlaneBinaries(): string {
  return join(process.env['BREAKWATER_CLUSTER_CACHE'] ?? join(homedir(), '.cache', 'breakwater-cluster'), 'bin');
}

/** Both of the last tell what others make of our statuses. */
export const CONTROL_PLANE: readonly string[] = ['etcd', 'kube-apiserver', 'kubectl', 'kstatus', 'argo-health'];

export function controlPlaneAvailable(): boolean {
  return CONTROL_PLANE.every((name) => existsSync(join(controlPlaneBinaries(), name)));
}

/** Starts a server and waits until it is ready; rejects with the end of its log where it does not become so. */
export async function startControlPlane(): Promise<ControlPlane> {
  if (!controlPlaneAvailable()) {
    throw new Error(
      `${CONTROL_PLANE.join(', ')} are not all in ${controlPlaneBinaries()}: "npm run cluster" builds them, or set BREAKWATER_CLUSTER_CACHE`,
    );
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

async function start(): Promise<ControlPlane> {
  const binaries = controlPlaneBinaries();
  const folder = temporaryFolder('control-plane');
  const [etcdPort, peerPort, apiPort] = await freePorts();
  const serverUrl = `https://127.0.0.1:${apiPort}`;
  const token = randomBytes(16).toString('hex');
  await writeCredentials(folder, serverUrl, token);

  const daemons: Daemon[] = [];
  const stop = async () => {
    for (const daemon of daemons.splice(0).reverse()) await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    daemons.push(new Daemon(join(binaries, 'etcd'), etcdArguments(etcdPort, peerPort), folder));
    const newApiServer = () =>
      new Daemon(join(binaries, 'kube-apiserver'), apiServerArguments(etcdPort, apiPort), folder);
    daemons.push(newApiServer());
    const kubeconfigPath = join(folder, 'kubeconfig');
    const kubectl = kubectlOf(kubeconfigPath, join(folder, 'cache'));
    await untilReady(kubectl, daemons);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const address = {
      kubeconfigPath,
      serverUrl,
      token,
      caFile: join(folder, 'apiserver.crt'),
      keyFile: join(folder, 'apiserver.key'),
      binaries,
      etcdUrl,
      ownKeys: await keysIn(etcdUrl),
    };
    return {
      ...address,
      address,
      kubectl,
      stop,
      stopApiServer: async () => daemons.pop()?.stop(),
      startApiServer: async () => {
        daemons.push(newApiServer());
        await untilReady(kubectl, daemons);
      },
      compact: () => compact(etcdUrl),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Another server of this machine, as if it were new; `stop` makes it new for the next one. */
export async function connectTo(address: ControlPlaneAddress): Promise<UsedControlPlane> {
  // What kubectl remembers of the resources that there were.
  const cache = temporaryFolder('kubectl');
  const kubectl = kubectlOf(address.kubeconfigPath, cache);
  const stop = async () => {
    await forget(address, kubectl);
    await rm(cache, { recursive: true, force: true });
  };
  return { ...address, kubectl, stop };
}

const DEFINITIONS = '/registry/apiextensions.k8s.io/customresourcedefinitions/';

/** From etcd, for there are no controllers that would empty a namespace or remove what is finalised. */
async function forget({ etcdUrl, ownKeys }: ControlPlaneAddress, kubectl: Kubectl): Promise<void> {
  const own = new Set(ownKeys);
  const foreign = (await keysIn(etcdUrl)).filter((key) => !own.has(key));
  for (const key of foreign) await askEtcd(etcdUrl, '/v3/kv/deleterange', { key: base64(key) });
  const definitions = foreign.filter((key) => key.startsWith(DEFINITIONS));
  // "…/policies.example.com": what belongs to a group is served until the server has noticed.
  const groups = new Set(definitions.map((key) => key.slice(key.indexOf('.', DEFINITIONS.length) + 1)));
  for (const group of groups) await untilGone(`/apis/${group}`, kubectl);
}

async function untilGone(path: string, kubectl: Kubectl): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while ((await kubectl(['get', '--raw', path])).code === 0) {
    if (performance.now() > deadline) throw new Error(`the API server still serves ${path}`);
    await sleep(100);
  }
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

async function askEtcd(etcdUrl: string, path: string, body: object): Promise<unknown> {
  const response = await fetch(etcdUrl + path, { method: 'POST', body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`etcd says ${response.status} to ${path}: ${text}`);
  return JSON.parse(text);
}

async function keysIn(etcdUrl: string): Promise<string[]> {
  // "0" comes after "/".
  const range = { key: base64('/'), range_end: base64('0'), keys_only: true };
  const { kvs = [] } = (await askEtcd(etcdUrl, '/v3/kv/range', range)) as { kvs?: { key: string }[] };
  return kvs.map(({ key }) => Buffer.from(key, 'base64').toString('utf8'));
}

async function compact(etcdUrl: string): Promise<void> {
  const { header } = (await askEtcd(etcdUrl, '/v3/kv/range', { key: base64('/') })) as { header: { revision: string } };
  await askEtcd(etcdUrl, '/v3/kv/compaction', { revision: header.revision, physical: true });
}

function etcdArguments(port: number, peerPort: number): string[] {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return [
    '--data-dir=etcd',
    '--unsafe-no-fsync',
    '--log-level=warn',
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
  ];
}

function apiServerArguments(etcdPort: number, port: number): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--service-cluster-ip-range=198.19.0.0/16',
    // It signs its own serving certificate into the folder.
    '--cert-dir=.',
    '--token-auth-file=tokens.csv',
    '--authorization-mode=Node,RBAC',
    '--allow-privileged',
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-account-key-file=service-account.pub',
    '--service-account-signing-key-file=service-account.key',
    // Nobody makes the default service accounts here, and pods must be storable without.
    '--disable-admission-plugins=ServiceAccount',
  ];
}

async function writeCredentials(folder: string, serverUrl: string, token: string): Promise<void> {
  const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    clusters: [
      { name: 'test', cluster: { server: serverUrl, 'certificate-authority': join(folder, 'apiserver.crt') } },
    ],
    users: [{ name: 'admin', user: { token } }],
  };
  await Promise.all([
    writeFile(join(folder, 'service-account.key'), keys.privateKey.export({ type: 'pkcs1', format: 'pem' }), {
      mode: 0o600,
    }),
    writeFile(join(folder, 'service-account.pub'), keys.publicKey.export({ type: 'spki', format: 'pem' })),
    writeFile(join(folder, 'tokens.csv'), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 }),
    writeFile(join(folder, 'kubeconfig'), JSON.stringify(kubeconfig), { mode: 0o600 }),
  ]);
}

type Kubectl = UsedControlPlane['kubectl'];

function kubectlOf(kubeconfigPath: string, cache: string): Kubectl {
  const program = join(controlPlaneBinaries(), 'kubectl');
  return (args, stdin = '') => run(program, ['--kubeconfig', kubeconfigPath, '--cache-dir', cache, ...args], stdin);
}

async function untilReady(kubectl: Kubectl, daemons: readonly Daemon[]): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  for (;;) {
    for (const daemon of daemons) daemon.mustRun();
    const { code, stderr } = await kubectl(['get', '--raw', '/readyz']);
    // The namespace is made after the server says that it is ready.
    if (code === 0 && (await kubectl(['get', 'namespace', 'default'])).code === 0) return;
    if (performance.now() > deadline) {
      throw new Error(
        `the API server is not ready after ${READY_WITHIN_MS} ms: ${stderr}\n${daemons.map((daemon) => daemon.log()).join('\n')}`,
      );
    }
    await sleep(200);
  }
}

/**
 * Runs a command until standard input closes, which happens however our own process ends: a test runner that is killed would otherwise
 * leave it behind.
 */
const WHILE_STDIN_IS_OPEN =
  'exec 3<&0; "$@" 3<&- & child=$!; { cat <&3; kill -TERM $child; } >/dev/null 2>&1 & wait $child';

/**
 * Servers that live for minutes on a machine with memory enough: Go collects when the heap is five times what was left of it, not twice, which is
 * a fifth of the processor time of a start.
 */
const environment = () => ({ ...process.env, GOGC: '400' });

class Daemon {
  readonly #command: string;
  readonly #logFile: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(command: string, args: readonly string[], folder: string) {
    this.#command = command;
    this.#logFile = join(folder, `${command.split('/').at(-1) ?? 'daemon'}.log`);
    const log = openSync(this.#logFile, 'w');
    // A group of its own: it can be ended as a whole, and a Ctrl-C is for us to answer.
    this.#child = spawn('sh', ['-c', WHILE_STDIN_IS_OPEN, 'sh', command, ...args], {
      cwd: folder,
      env: environment(),
      stdio: ['pipe', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child.stdin?.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', () => resolve());
    });
  }

  /** Throws where it has ended by itself. */
  mustRun(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) {
      throw new Error(`${this.#command} ended by itself:\n${this.log()}`);
    }
  }

  /** The end of its log. */
  log(): string {
    return readFileSync(this.#logFile, 'utf8').split('\n').slice(-30).join('\n');
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#killGroup(), STOPPED_WITHIN_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #killGroup(): void {
    if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
  }
}

function run(command: string, args: readonly string[], stdin: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { env: environment(), maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error ? (error.code ?? 128) : 0;
        if (typeof code === 'string') reject(new Error(`${command} cannot be run`, { cause: error }));
        else resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}

/** Three ports that nobody listens on right now. */
async function freePorts(): Promise<[number, number, number]> {
  const servers = await Promise.all([listenAnywhere(), listenAnywhere(), listenAnywhere()]);
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }) as [number, number, number];
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function listenAnywhere(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}
