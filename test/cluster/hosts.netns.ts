// What the kernel has a part in, for real, in two network namespaces: hosts outside the cluster and undeclared destinations under redirection,
// with DNS queries over a wire; and, without any privilege, listeners below port 1024 and connections past them. Needs root, iptables and
// iproute2.
//   node test/cluster/hosts.netns.ts
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer as createHttpServer, get } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { hostKey } from '../../plan/endpoints.ts';
import type { DependencyPlan, WorkloadPlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import { encodeFrame } from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { TestDns } from '../../sidecar/resolve/test-dns.ts';
import { writeStateFile } from '../../sidecar/subscribe/state-file.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { capture, execute, launch, makeWire, must, PEER, POD, startSidecar } from './capture.netns.ts';

const PEER_ADDRESS = '10.77.0.1';
const HTTP_PORT = 80;
const GREETING_PORT = 2525;
const DNS_PORT = 5353;
const HOST = 'api.partner.test';
const ALIAS = '127.77.0.1';

const dependency = (changes: Partial<DependencyPlan>): DependencyPlan => ({
  id: 'shop/checkout/partner',
  name: 'partner',
  namespace: 'shop',
  serviceDependency: 'checkout',
  criticality: 'Required',
  enforcement: 'Enabled',
  circuitReset: '',
  service: null,
  host: { name: HOST, port: HTTP_PORT },
  authority: HOST,
  protocol: 'Detect',
  destinations: [],
  balancing: 'Dns',
  endpointsKey: hostKey(HOST, HTTP_PORT),
  levels: [],
  combinations: [0],
  policies: [
    {
      rule: 'base',
      timeouts: { requestMs: 5_000, attemptMs: 5_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
      ...NO_BLOCKS,
      sources: {},
    },
  ],
  ...changes,
});

const plan = (...dependencies: DependencyPlan[]): WorkloadPlan => ({
  formatVersion: 1,
  namespace: 'shop',
  serviceDependencies: ['checkout'],
  undeclared: 'Deny',
  dependencies,
});

/** A state directory as an earlier process of the sidecar left it: with this plan. */
async function stateWith(root: string, name: string, content: WorkloadPlan): Promise<string> {
  const state = join(root, name);
  await mkdir(state);
  const text = encodeFrame({ kind: 'plan', version: 'v1', plan: content }).trimEnd();
  const path = join(state, 'plan.state');
  await writeStateFile(path, { text, savedAtUnixMs: systemClock.unixMs() }, 1_000_000);
  for (const each of [root, state]) await chmod(each, 0o777);
  await chmod(path, 0o644);
  return state;
}

const node = (mode: string, ...args: string[]) => [process.execPath, import.meta.filename, mode, ...args] as const;

/** As uid 1000, as an application would. */
const asApplication = ['setpriv', '--reuid', '1000', '--regid', '1000', '--clear-groups'] as const;
const request = (address: string, port: number, host: string) =>
  must(POD, ...asApplication, ...node('request', address, String(port), host));
const listenTo = (address: string, port: number) =>
  must(POD, ...asApplication, ...node('listen', address, String(port)));

async function metric(series: string): Promise<number> {
  const text = await must(POD, ...node('metrics'));
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

async function whileSidecarRuns(
  environment: NodeJS.ProcessEnv,
  state: string,
  check: () => Promise<void>,
): Promise<void> {
  const changes = { ...environment, BREAKWATER_STATE_DIRECTORY: state };
  const sidecar = await startSidecar(state, changes);
  try {
    await check();
  } finally {
    sidecar.kill('SIGTERM');
    const [code] = (await once(sidecar, 'exit')) as [number | null];
    assert.equal(code, 0);
  }
}

/** Nothing is redirected yet. */
async function checkWithoutPrivilege(root: string): Promise<void> {
  await must(POD, 'sysctl', '-q', '-w', 'net.ipv4.ip_unprivileged_port_start=0');
  const service = { namespace: 'billing', name: 'payments', port: HTTP_PORT, ports: [HTTP_PORT] };
  const destinations = [{ address: PEER_ADDRESS, port: HTTP_PORT }];
  const payments = dependency({ name: 'payments', service, host: null, destinations, balancing: 'ClusterIp' });
  const state = await stateWith(root, 'loopback', plan(payments));
  const entry = {
    address: ALIAS,
    service: { namespace: 'billing', name: 'payments' },
    host: null,
    clusterIPs: [PEER_ADDRESS],
    ports: [{ listen: HTTP_PORT, port: HTTP_PORT }],
  };
  const bootstrap = { formatVersion: 1, capture: 'loopback', entries: [entry], leftOut: [] };
  const environment = { BREAKWATER_CAPTURE: 'loopback', BREAKWATER_BOOTSTRAP: JSON.stringify(bootstrap) };
  await whileSidecarRuns(environment, state, async () => {
    assert.equal(await request(ALIAS, HTTP_PORT, 'payments.billing'), '200 payments.billing');
    assert.equal(await metric('breakwater_bypassed_connections_total{dependency="payments"}'), 0);
    // Held open until it was seen: once, however often the sidecar looks.
    const past = launch(
      POD,
      process.env,
      asApplication[0],
      ...asApplication.slice(1),
      ...node('hold', PEER_ADDRESS, String(HTTP_PORT)),
    );
    for (let second = 0; second < 24; second++) await systemClock.sleep(1_000);
    past.kill();
    assert.equal(await metric('breakwater_bypassed_connections_total{dependency="payments"}'), 1);
  });
}

async function checkRedirected(root: string): Promise<void> {
  const { code, stderr } = await capture();
  assert.equal(code, 0, stderr);
  const state = await stateWith(root, 'iptables', plan(dependency({})));
  const environment = { BREAKWATER_DNS_SERVERS: `${PEER_ADDRESS}:${DNS_PORT}` };
  await whileSidecarRuns(environment, state, async () => {
    assert.equal(await request(PEER_ADDRESS, HTTP_PORT, HOST), `200 ${HOST}`);
    assert.equal(
      await metric('breakwater_requests_total{dependency="partner",rule="base",code="2xx",reason="upstream"}'),
      1,
    );
    assert.equal(await request(PEER_ADDRESS, HTTP_PORT, 'stranger.test'), '403 undeclared');
    assert.equal(await listenTo(PEER_ADDRESS, GREETING_PORT), 'ECONNRESET');
    await must(POD, ...node('disable', state));
    assert.equal(await listenTo(PEER_ADDRESS, GREETING_PORT), '220 hello\r\n');
    assert.equal(await request(PEER_ADDRESS, HTTP_PORT, 'stranger.test'), '200 stranger.test');
  });
}

/** Throws at the first thing that is not as it must be; leaves nothing behind. */
export async function run(): Promise<void> {
  const root = temporaryFolder('hosts');
  try {
    await makeWire();
    const server = launch(PEER, process.env, ...(node('serve') as unknown as [string, ...string[]]));
    try {
      await checkWithoutPrivilege(root);
      await checkRedirected(root);
    } finally {
      server.kill();
    }
  } finally {
    for (const namespace of [POD, PEER]) await execute(null, 'ip', 'netns', 'delete', namespace);
    await rm(root, { recursive: true, force: true });
  }
}

/** In the peer's network: DNS, a server that says which host was asked for, and one that speaks first. */
async function serve(): Promise<void> {
  await TestDns.start({ [HOST]: [PEER_ADDRESS] }, PEER_ADDRESS, DNS_PORT);
  createHttpServer((incoming, response) => response.end(incoming.headers.host)).listen(HTTP_PORT, PEER_ADDRESS);
  createServer((socket) => socket.on('error', () => {}).end('220 hello\r\n')).listen(GREETING_PORT, PEER_ADDRESS);
}

/** In the pod's network: status and body, or the reason of the sidecar, or the error. */
function requestOnce(address: string, port: number, host: string): void {
  const print = (text: string) => process.stdout.write(text);
  get({ host: address, port, headers: { host }, agent: false }, (response) => {
    const reason = response.headers['breakwater-reason'];
    print(`${response.statusCode} ${reason === undefined ? '' : String(reason)}`);
    if (reason === undefined) response.pipe(process.stdout);
    else response.resume();
  }).on('error', (error: NodeJS.ErrnoException) => print(error.code ?? error.message));
}

if (import.meta.main) {
  const [mode, address = '', port = '', host = ''] = process.argv.slice(2);
  if (mode === 'serve') await serve();
  else if (mode === 'request') requestOnce(address, Number(port), host);
  else if (mode === 'hold') connect(Number(port), address);
  else if (mode === 'listen') {
    const socket = connect(Number(port), address);
    socket.on('error', (error: NodeJS.ErrnoException) => process.stdout.write(error.code ?? error.message));
    socket.pipe(process.stdout);
  } else if (mode === 'metrics') process.stdout.write(await (await fetch('http://127.0.0.1:15102/metrics')).text());
  else if (mode === 'disable')
    await fetch('http://127.0.0.1:15103/disable', { method: 'POST', headers: { 'breakwater-control': '1' } });
  else {
    await run();
    console.log('hosts, undeclared destinations and capture without privileges work over a wire');
  }
}
