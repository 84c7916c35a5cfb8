// Capture by iptables, for real: two network namespaces joined by a wire. In one the capture step runs as the init container would, then the
// sidecar under its own user, and callers of both families; in the other one a server greets whoever calls. Needs root, iptables and iproute2.
//   node test/cluster/capture.netns.ts
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { isAbandoned, PROCESS_MARK, temporaryFolder } from '../harness/temporary-folder.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');
export const POD = `bwpod-${PROCESS_MARK}`;
export const PEER = `bwpeer-${PROCESS_MARK}`;
const SIDECAR_UID = '14750';
const PEER_ADDRESSES = ['10.77.0.1', 'fd77::1'] as const;
const CAPTURED_PORT = 8080;
const EXCLUDED_PORT = 5432;
const CLOSED_PORT = 8081;

interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end; `namespace` null: in our own network. */
export async function execute(namespace: string | null, program: string, ...args: string[]): Promise<Finished> {
  const child = launch(namespace, process.env, program, ...args);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (bytes) => {
    stdout += String(bytes);
  });
  child.stderr?.on('data', (bytes) => {
    stderr += String(bytes);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

export function launch(
  namespace: string | null,
  env: NodeJS.ProcessEnv,
  program: string,
  ...args: string[]
): ChildProcess {
  const words = namespace === null ? [program, ...args] : ['ip', 'netns', 'exec', namespace, program, ...args];
  return spawn(words[0] ?? '', words.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

export async function must(namespace: string | null, ...words: string[]): Promise<string> {
  const [program = '', ...args] = words;
  const { code, stdout, stderr } = await execute(namespace, program, ...args);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** Removes the namespaces of tests that were killed, with what still runs in them. */
export async function removeAbandonedNamespaces(): Promise<void> {
  for (const line of (await must(null, 'ip', 'netns', 'list')).split('\n')) {
    const [name = ''] = line.split(' ');
    const mark = /^bw(?:pod|peer)-(\d+-\d+)$/.exec(name)?.[1];
    if (mark === undefined || !isAbandoned(mark)) continue;
    const { stdout } = await execute(null, 'ip', 'netns', 'pids', name);
    for (const pid of stdout.split('\n').filter((text) => text !== '')) await execute(null, 'kill', '-9', pid);
    await execute(null, 'ip', 'netns', 'delete', name);
  }
}

export async function makeWire(): Promise<void> {
  await removeAbandonedNamespaces();
  for (const namespace of [POD, PEER]) {
    await must(null, 'ip', 'netns', 'add', namespace);
    await must(namespace, 'ip', 'link', 'set', 'lo', 'up');
  }
  await must(null, 'ip', 'link', 'add', 'pod0', 'netns', POD, 'type', 'veth', 'peer', 'name', 'peer0', 'netns', PEER);
  for (const [namespace, device, host] of [
    [POD, 'pod0', '2'],
    [PEER, 'peer0', '1'],
  ] as const) {
    await must(namespace, 'ip', 'address', 'add', `10.77.0.${host}/24`, 'dev', device);
    await must(namespace, 'ip', 'address', 'add', `fd77::${host}/64`, 'dev', device, 'nodad');
    await must(namespace, 'ip', 'link', 'set', device, 'up');
  }
  await must(POD, 'ip', 'route', 'add', 'default', 'via', '10.77.0.1');
  await must(POD, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd77::1');
}

const captureCommand = [process.execPath, join(ROOT, 'sidecar/main.ts'), 'capture'] as const;

/** What the webhook gives the init container: root, two capabilities, and a root filesystem that cannot be written. */
const CONFINED = 'setpriv --no-new-privs --bounding-set -all,+net_admin,+net_raw --inh-caps -all';

/** The capture step, in the pod's network; `before` is a shell command that changes which programs it finds. */
export function capture(before = 'true'): Promise<Finished> {
  const script = `${before} && mount -o remount,bind,ro / && exec ${CONFINED} "$@"`;
  return execute(POD, 'unshare', '-m', 'sh', '-c', script, 'sh', ...captureCommand);
}

const hide = (...programs: string[]) => programs.map((path) => `mount --bind /bin/false ${path}`).join(' && ');
const NFT = '/usr/sbin/xtables-nft-multi';
const LEGACY = '/usr/sbin/xtables-legacy-multi';

const captureEnvironment = {
  BREAKWATER_EXCLUDE_OUTBOUND_PORTS: String(EXCLUDED_PORT),
  KUBERNETES_SERVICE_HOST: '10.96.0.1',
  KUBERNETES_SERVICE_PORT: '443',
};

export async function startSidecar(state: string, changes: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  await writeFile(join(state, 'token'), 'token', { mode: 0o644 });
  const env = {
    ...process.env,
    BREAKWATER_CAPTURE: 'iptables',
    BREAKWATER_OPERATOR_URL: 'https://127.0.0.1:9',
    BREAKWATER_TOKEN_FILE: join(state, 'token'),
    BREAKWATER_CA_FILE: '/etc/ssl/certs/ca-certificates.crt',
    BREAKWATER_FIRST_PLAN_WAIT_MS: '0',
    ...changes,
  };
  const user = ['--reuid', SIDECAR_UID, '--regid', SIDECAR_UID, '--clear-groups'];
  const child = launch(POD, env, 'setpriv', ...user, process.execPath, join(ROOT, 'sidecar/main.ts'));
  assert(child.stderr);
  let log = '';
  for await (const line of createInterface({ input: child.stderr })) {
    log += `${line}\n`;
    if (line.includes('"sidecar started"')) {
      child.stderr.resume();
      return child;
    }
  }
  throw new Error(`the sidecar did not start:\n${log}`);
}

const node = (mode: string, ...args: string[]) => [process.execPath, import.meta.filename, mode, ...args] as const;

/** What a caller in the pod hears; as uid 1000, as an application would. */
async function call(address: string, port: number): Promise<string> {
  const user = ['--reuid', '1000', '--regid', '1000', '--clear-groups'];
  return must(POD, 'setpriv', ...user, ...node('call', address, String(port)));
}

async function tunnels(): Promise<number> {
  const text = await must(POD, ...node('metrics'));
  const counts = [...text.matchAll(/^breakwater_tunnels_total\{.*\} (\d+)$/gm)];
  return counts.reduce((sum, match) => sum + Number(match[1]), 0);
}

async function checkInstallation(state: string): Promise<void> {
  // Each variant alone, then both, then again: the rules are the same, and there is one jump.
  for (const [hidden, tool] of [
    [NFT, 'iptables-legacy'],
    [LEGACY, 'iptables-nft'],
    ['', 'iptables-nft'],
    ['', 'iptables-nft'],
  ] as const) {
    const { code, stderr } = await capture(hidden === '' ? 'true' : hide(hidden));
    assert.equal(code, 0, stderr);
    assert.equal(stderr.match(/"probe":"captured"/g)?.length, 2, stderr);
    assert(stderr.includes(`"tool":"${tool}"`), stderr);
    if (hidden === NFT) {
      for (const tool of ['iptables-legacy', 'ip6tables-legacy']) {
        await must(POD, tool, '-t', 'nat', '-D', 'OUTPUT', '-p', 'tcp', '-j', 'BREAKWATER_OUTPUT');
      }
    }
  }
  const rules = await must(POD, 'iptables-nft-save', '-t', 'nat');
  assert.equal(rules.match(/^-A OUTPUT /gm)?.length, 1, rules);

  const withoutIpv6 = `mkdir ${state}/sbin && cp -a /usr/sbin/iptables* /usr/sbin/xtables* ${state}/sbin && mount --bind ${state}/sbin /usr/sbin`;
  const ipv4Alone = await capture(withoutIpv6);
  assert.equal(ipv4Alone.code, 0, ipv4Alone.stderr);
  assert.match(
    ipv4Alone.stderr,
    /"family":6,"reason":"none of ip6tables-nft.* is installed.*"msg":"outgoing connections of this family are not/,
  );

  const none = await capture(hide(NFT, LEGACY));
  assert.equal(none.code, 1, none.stderr);
  assert.match(none.stderr, /outgoing connections cannot be captured: the container needs NET_ADMIN/);

  const unprivileged = await execute(POD, 'setpriv', '--bounding-set', '-all', '--inh-caps', '-all', ...captureCommand);
  assert.equal(unprivileged.code, 1, unprivileged.stderr);
  assert.match(unprivileged.stderr, /Permission denied/);
}

async function checkTraffic(state: string): Promise<void> {
  const server = launch(PEER, process.env, ...(node('serve') as unknown as [string, ...string[]]));
  const sidecar = await startSidecar(state);
  try {
    for (const [index, address] of PEER_ADDRESSES.entries()) {
      assert.equal(await call(address, CAPTURED_PORT), `welcome to ${address}:${CAPTURED_PORT}\n`);
      assert.equal(await tunnels(), index + 1, `a call to ${address} went through the sidecar`);
      assert.equal(await call(address, EXCLUDED_PORT), `welcome to ${address}:${EXCLUDED_PORT}\n`);
      assert.equal(await tunnels(), index + 1, `an excluded call to ${address} did not`);
    }
    // The kernel accepts before the sidecar can find out that nobody listens there.
    assert.equal(await call('10.77.0.1', CLOSED_PORT), 'ECONNRESET');
    // Straight to the sidecar's own port: refused, and never forwarded to itself.
    assert.match(await call('127.0.0.1', 15_101), /^(ECONNRESET)?$/);
    assert.equal(await call('10.77.0.1', CAPTURED_PORT), `welcome to 10.77.0.1:${CAPTURED_PORT}\n`);
  } finally {
    sidecar.kill('SIGTERM');
    const [code] = (await once(sidecar, 'exit')) as [number | null];
    server.kill();
    assert.equal(code, 0);
  }
}

/** Throws at the first thing that is not as it must be; leaves nothing behind. */
export async function run(): Promise<void> {
  const state = temporaryFolder('capture');
  Object.assign(process.env, captureEnvironment);
  try {
    await makeWire();
    await checkInstallation(state);
    await checkTraffic(state);
  } finally {
    for (const namespace of [POD, PEER]) await execute(null, 'ip', 'netns', 'delete', namespace);
    await rm(state, { recursive: true, force: true });
  }
}

/** In the peer's network: greets everybody who connects, before they have said a word. */
function serve(): void {
  for (const port of [CAPTURED_PORT, EXCLUDED_PORT]) {
    const server = createServer((socket) => {
      const address = socket.localAddress?.replace('::ffff:', '');
      socket.on('error', () => {}).end(`welcome to ${address}:${socket.localPort}\n`);
    });
    server.listen(port, '::');
  }
}

/** In the pod's network: prints what the other side says, or the error. */
function callOnce(address: string, port: number): void {
  const socket = connect(port, address);
  socket.on('error', (error: NodeJS.ErrnoException) => process.stdout.write(error.code ?? error.message));
  socket.pipe(process.stdout);
}

if (import.meta.main) {
  const [mode, address = '', port = ''] = process.argv.slice(2);
  if (mode === 'serve') serve();
  else if (mode === 'call') callOnce(address, Number(port));
  else if (mode === 'metrics') process.stdout.write(await (await fetch('http://127.0.0.1:15102/metrics')).text());
  else {
    await run();
    console.log('capture by iptables works: both families, nft and legacy, excluded ports, twice in a row');
  }
}
