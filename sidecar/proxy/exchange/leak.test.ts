// Whatever happens to a request, nothing of it stays taken: no place, no load, no timer, no kept byte, no connection object.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { createSidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { createDataPlane } from '../data-plane.ts';
import {
  type Bench,
  BREAKER,
  type Client,
  connect,
  dependencyPlan,
  get,
  RETRIES,
  startBench,
  startCaptured,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, freePort, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

const NOTHING = {
  requests: 0,
  tunnels: 0,
  clientConnections: 0,
  timers: 0,
  replayBytes: 0,
  recordingBytes: 0,
  attempts: 0,
  bulkheadPlaces: 0,
  bulkheadQueued: 0,
  probes: 0,
  healthChecks: 0,
};

const ALL: Partial<PolicyPlan> = {
  retries: RETRIES,
  circuitBreaker: { ...BREAKER, consecutiveFailures: 0 },
  bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 4, maxQueued: 50, queueTimeoutMs: 300, adaptive: null },
  timeouts: { requestMs: 600, attemptMs: 200, connectMs: 200, idleMs: 300, opaqueIdleMs: 0 },
  healthCheck: {
    stateKey: 'healthCheck:base',
    path: '/',
    host: null,
    port: null,
    intervalMs: 100,
    timeoutMs: 100,
    unhealthyThreshold: 1,
    healthyThreshold: 1,
    expectedStatuses: [200],
    grpc: null,
  },
};

async function all(upstream: Upstream, policy: Partial<PolicyPlan> = ALL): Promise<Bench> {
  const bench = await startBench(dependencyPlan(policy), [upstream.endpoint]);
  open.push(upstream, bench);
  return bench;
}

function quiet(client: Client): Client {
  client.socket.on('error', () => {});
  return client;
}

const expectNothing = (bench: Bench): Promise<void> =>
  expect.poll(() => bench.plane.held(), { timeout: 5_000 }).toEqual(NOTHING);

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n';

/** Scripts of an upstream, each with requests that meet it. */
const upstreams: [string, (received: string, socket: Socket) => void][] = [
  ['answers', answering(OK)],
  ['never answers', () => {}],
  ['resets', (_received, socket) => socket.resetAndDestroy()],
  ['breaks its answer off', (_received, socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')],
  ['fails', answering('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n')],
  ['answers nonsense', answering('nonsense\r\n\r\n')],
  ['answers early', (_received, socket) => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n')],
  ['says 100 and no more', (_received, socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\n')],
  ['streams events and falls silent', answering('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n')],
  [
    'changes the protocol and falls silent',
    answering('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'),
  ],
];

const requests: [string, string][] = [
  ['GET', get('/')],
  ['two in a row', get('/') + get('/', 'Connection: close\r\n')],
  ['half a head', 'GET / HTT'],
  ['a body', `${POST}Content-Length: 4\r\n\r\nbody`],
  ['half a body', `${POST}Content-Length: 4\r\n\r\nbo`],
  ['a chunked body', `${POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n`],
  ['a malformed body', `${POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nzz\r\n`],
  ['an expectation', `${POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`],
  ['an upgrade', get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n')],
  ['no HTTP', '\x16\x03\x01\r\n\r\n'],
];

const ends: [string, (client: Client) => void][] = [
  ['resets', (client) => client.socket.resetAndDestroy()],
  ['closes', (client) => client.socket.destroy()],
  ['ends its side', (client) => client.socket.end()],
];

describe.each(upstreams)('an upstream that %s', (_name, script) => {
  it('leaves nothing behind, whatever was asked and however the application goes, and when', async () => {
    const upstream = await startUpstream(script);
    const bench = await all(upstream);
    const random = seededRandom(11);
    const clients = requests.flatMap(([, request]) =>
      ends.flatMap(([, end]) =>
        [0, 8, 60].map(async (most) => {
          const client = quiet(connect(bench.port));
          client.send(request);
          await new Promise((resolve) => setTimeout(resolve, random() * most));
          end(client);
          await client.closed().catch(() => client.socket.destroy());
        }),
      ),
    );
    await Promise.all(clients);
    await expectNothing(bench);
  }, 20_000);
});

describe('changes of the plan', () => {
  const held: Socket[] = [];
  async function fourInFlightAndQueued(queued: number): Promise<{ bench: Bench; clients: Client[] }> {
    held.length = 0;
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) held.push(socket);
    });
    const bench = await all(upstream, {
      bulkhead: { ...ALL.bulkhead, queueTimeoutMs: 5_000 } as PolicyPlan['bulkhead'],
    });
    const clients = Array.from({ length: 4 + queued }, () => quiet(connect(bench.port)));
    for (const client of clients) client.send(get('/'));
    await expect.poll(() => [held.length, bench.plane.held().bulkheadQueued]).toEqual([4, queued]);
    return { bench, clients };
  }
  async function answerAll(clients: Client[]): Promise<void> {
    const answering = setInterval(() => {
      for (const socket of held.splice(0)) socket.write(OK);
    }, 5);
    for (const client of clients) expect(await client.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200/);
    clearInterval(answering);
    for (const client of clients) client.socket.destroy();
  }

  it.each([
    ['the bulkhead goes', {}],
    [
      'another bulkhead comes',
      { bulkhead: { stateKey: 'other', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null } },
    ],
  ])('let those who wait have their turn when %s', async (_name, policy) => {
    const { bench, clients } = await fourInFlightAndQueued(3);
    bench.plane.applyPlan(workloadPlan(dependencyPlan(policy)));
    for (const socket of held.splice(0)) socket.end(OK.replace('\r\n', '\r\nConnection: close\r\n'));
    await answerAll(clients);
    await expectNothing(bench);
  });

  it('let those who wait in at once when the limit is raised', async () => {
    const { bench, clients } = await fourInFlightAndQueued(3);
    const bulkhead = { stateKey: 'bulkhead:base', maxConcurrent: 50, maxQueued: 0, queueTimeoutMs: 0, adaptive: null };
    bench.plane.applyPlan(workloadPlan(dependencyPlan({ bulkhead })));
    await expect.poll(() => held.length).toBe(7);
    await answerAll(clients);
    await expectNothing(bench);
  });

  it('and a dependency that is gone let what is in progress finish, and close its connections', async () => {
    const { bench, clients } = await fourInFlightAndQueued(3);
    bench.plane.applyPlan(workloadPlan());
    for (const socket of held.splice(0)) socket.end(OK.replace('\r\n', '\r\nConnection: close\r\n'));
    await answerAll(clients);
    await expectNothing(bench);
  });

  it('and a kill switch thrown in the middle let what is in progress finish', async () => {
    const { bench, clients } = await fourInFlightAndQueued(3);
    bench.plane.setLocallyDisabled(true);
    await answerAll(clients);
    await expectNothing(bench);
  });
});

describe('permits of probes', () => {
  it('come back from callers that go away, so that the circuit can still close', async () => {
    let healthy = false;
    const upstream = await startUpstream((received, socket) => {
      if (healthy && received.endsWith('\r\n\r\n')) socket.write(OK);
    });
    const timeouts = { requestMs: 30, attemptMs: 30, connectMs: 30, idleMs: 0, opaqueIdleMs: 0 };
    const bench = await all(upstream, {
      timeouts,
      circuitBreaker: { ...BREAKER, consecutiveFailures: 1, openForMs: 100 },
    });
    const first = quiet(connect(bench.port));
    first.send(get('/'));
    await first.until((text) => text.includes('504'));
    first.socket.destroy();
    await expect.poll(() => bench.plane.circuits()[0]?.state, { interval: 5 }).toBe('HalfOpen');
    bench.plane.applyPlan(
      workloadPlan(dependencyPlan({ circuitBreaker: { ...BREAKER, consecutiveFailures: 1, openForMs: 100 } })),
    );
    for (let i = 0; i < 6; i++) {
      const probe = quiet(connect(bench.port));
      probe.send(get('/'));
      await expect.poll(() => bench.plane.held().attempts, { interval: 5 }).toBe(1);
      probe.socket.resetAndDestroy();
      await expect.poll(() => bench.plane.held().attempts, { interval: 5 }).toBe(0);
    }
    expect(bench.plane.circuits()[0]?.state).toBe('HalfOpen');
    healthy = true;
    const client = connect(bench.port);
    client.send(get('/') + get('/'));
    await client.until((text) => text.split('ok').length === 3);
    client.socket.destroy();
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
    await expectNothing(bench);
  });
});

describe('connections that nobody declared', () => {
  const firsts = [
    '',
    'GE',
    'GET / HTTP/1.1\r\nHost: api.te',
    'GET / HTTP/1.1\r\nHost: api.test\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: stranger.test\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: api.test\r\n\r\nGET / HTTP/1.1\r\nHost: stranger.test\r\n\r\n',
    '\x16\x03\x01',
    '\x16\x03\x01\x00\x00',
    '*1\r\n$4\r\nPING\r\n',
  ];

  it.each([
    ['Allow', 'an upstream that answers', false],
    ['Allow', 'nobody there', true],
    ['Deny', 'an upstream that answers', false],
  ] as const)('leave nothing behind under %s with %s', async (undeclared, _name, dead) => {
    const upstream = await startUpstream(answering(OK));
    if (dead) upstream.close();
    const host = { name: 'api.test', port: upstream.port };
    const changes = { service: null, host, balancing: 'Dns', protocol: 'Detect', endpointsKey: 'host' } as const;
    const captured = await startCaptured(
      { ...workloadPlan(dependencyPlan(ALL, changes)), undeclared },
      { names: new TableOfNames({ 'api.test': ['127.0.0.1'] }) },
    );
    open.push(upstream, captured.plane);
    const random = seededRandom(13);
    const clients = firsts.flatMap((first) =>
      ends.flatMap(([, end]) =>
        [0, 8, 60].map(async (most) => {
          const client = quiet(captured.dial(upstream.port));
          if (first !== '') client.send(first);
          await new Promise((resolve) => setTimeout(resolve, random() * most));
          end(client);
          await client.closed().catch(() => client.socket.destroy());
        }),
      ),
    );
    await Promise.all(clients);
    await expect.poll(() => captured.plane.held(), { timeout: 8_000 }).toEqual(NOTHING);
    expect(captured.plane.inFlight()).toBe(0);
  });

  it('leave nothing behind while their host is looked up, and when it cannot be reached', async () => {
    const found: ((addresses: readonly string[]) => void)[] = [];
    const names = new TableOfNames();
    names.find = () => new Promise((resolve) => void found.push(resolve));
    const port = await freePort();
    const plane = createDataPlane({
      capture: 'loopback',
      bootstrap: {
        formatVersion: 1,
        capture: 'loopback',
        leftOut: [],
        entries: [
          { address: '127.77.0.2', service: null, host: 'api.test', clusterIPs: [], ports: [{ listen: port, port }] },
        ],
      },
      names,
      outboundPort: 0,
      bindHost: '127.0.0.1',
      originalDestination: null,
      clock: systemClock,
      random: seededRandom(1),
      log: silentLogger,
      metrics: createSidecarMetrics(),
    });
    open.push(plane);
    await plane.listen();
    const [gone, waiting] = [quiet(connect(port, true, '127.77.0.2')), quiet(connect(port, true, '127.77.0.2'))];
    await expect.poll(() => found.length).toBe(2);
    gone.socket.resetAndDestroy();
    for (const resolve of found) resolve(['127.88.0.1', '127.88.0.2', '127.88.0.3', '127.88.0.4', '127.88.0.5']);
    expect(await waiting.closed()).toBe('ECONNRESET');
    await expect.poll(() => plane.held()).toEqual(NOTHING);
  });
});
