// Captured connections: whose they are, what they speak, and that what is not ours to touch is not touched.
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, WorkloadPlan } from '../../../plan/plan.ts';
import { type Clock, systemClock } from '../../../runtime/clock.ts';
import type { SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import {
  BREAKER,
  type Captured,
  connect,
  dependencyPlan,
  get,
  startBench,
  startCaptured,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, freePort, OK, type Upstream } from '../testing/upstreams.ts';

const { open, upstream } = opened();

async function captured(plan: WorkloadPlan | null, clock: Clock = systemClock): Promise<Captured> {
  const started = await startCaptured(plan, { clock });
  open.push(started.plane);
  return started;
}

async function tunnels(metrics: SidecarMetrics, cause: string): Promise<number> {
  const metric = metrics.registry.getMetricsAsJSON().find(({ name }) => name === 'breakwater_tunnels_total');
  const values = (metric?.values ?? []) as { labels: Record<string, string>; value: number }[];
  return values.find(({ labels }) => labels['cause'] === cause)?.value ?? 0;
}

const echo = (): Promise<Upstream> =>
  upstream(
    () => {},
    (socket) => socket.on('data', (chunk) => socket.write(chunk)),
  );

function at(
  port: number,
  changes: Partial<DependencyPlan> = {},
  policy: Parameters<typeof dependencyPlan>[0] = {},
): DependencyPlan {
  return dependencyPlan(policy, { destinations: [{ address: '127.0.0.1', port }], ...changes });
}

describe('what is tunnelled untouched', () => {
  it.each([
    ['before the first plan', null, 'no-plan'],
    ['an undeclared destination', workloadPlan(), 'undeclared'],
  ])('%s, even what looks like HTTP', async (_name, plan, cause) => {
    const server = await echo();
    const { dial, metrics } = await captured(plan);
    const client = dial(server.port);
    client.send('GET / HTTP/1.1\r\nHost : odd\r\n\r\n\x00\xff');
    await client.until((text) => text.endsWith('\x00\xff'));
    expect(await tunnels(metrics, cause)).toBe(1);
  });

  it.each([
    ['TLS', 'Detect', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'opaque'],
    ['a PostgreSQL start-up message', 'Detect', '\x00\x00\x00\x08\x04\xd2\x16\x2f', 'opaque'],
    ['a Redis command', 'Detect', '*1\r\n$4\r\nPING\r\n', 'opaque'],
    ['a Redis command as people type it', 'Detect', 'SET key value\r\n', 'opaque'],
    ['a command of NATS', 'Detect', 'PUB news 5\r\nhello\r\n', 'opaque'],
    ['a greeting of NATS', 'Detect', 'CONNECT {"verbose":false}\r\n', 'opaque'],
    ['a greeting of SMTP', 'Detect', 'HELO host.example\r\n', 'opaque'],
    ['anything where it is declared opaque', 'Opaque', 'GET / HTTP/1.1\r\n\r\n', 'opaque'],
  ] as const)('%s', async (_name, protocol, bytes, cause) => {
    const server = await echo();
    const { dial, metrics } = await captured(workloadPlan(at(server.port, { protocol })));
    const client = dial(server.port);
    client.send(bytes);
    expect(await client.until((text) => text.length >= bytes.length)).toBe(bytes);
    expect(await tunnels(metrics, cause)).toBe(1);
  });

  it('a server that speaks first, without delay', async () => {
    const server = await upstream(
      (received, socket) => {
        if (received === 'EHLO\r\n') socket.write('250 fine\r\n');
      },
      (socket) => socket.write('220 hello\r\n'),
    );
    const { dial } = await captured(workloadPlan(at(server.port, { protocol: 'Detect' })));
    const client = dial(server.port);
    const startedMs = performance.now();
    await client.until((text) => text === '220 hello\r\n');
    expect(performance.now() - startedMs).toBeLessThan(1_000);
    client.send('EHLO\r\n');
    await client.until((text) => text.endsWith('250 fine\r\n'));
  });

  it('an unfinished word that is never finished, after a second', async () => {
    const server = await echo();
    const { dial } = await captured(workloadPlan(at(server.port, { protocol: 'Detect' })));
    const client = dial(server.port);
    client.send('STATUS');
    expect(await client.until((text) => text === 'STATUS', 3_000)).toBe('STATUS');
  });

  it('an unfinished word within that second, however slowly it comes', async () => {
    const server = await echo();
    const { dial } = await captured(workloadPlan(at(server.port, { protocol: 'Detect' })));
    const client = dial(server.port);
    client.send('S');
    setTimeout(() => client.send('T'), 700);
    expect(await client.until((text) => text === 'ST', 1_500)).toBe('ST');
  });

  it('what is declared opaque, in capture explicit, with and without policies', async () => {
    const server = await echo();
    for (const enforcement of ['Enabled', 'Disabled'] as const) {
      const plan = dependencyPlan({}, { protocol: 'Opaque', enforcement });
      const bench = await startBench(plan, [server.endpoint]);
      open.push(bench);
      const client = connect(bench.port);
      client.send('GET / HTTP/1.1\r\n');
      await client.until((text) => text === 'GET / HTTP/1.1\r\n');
      client.socket.destroy();
    }
  });

  it('connections of a dependency whose policies are switched off', async () => {
    const server = await echo();
    const { dial, metrics } = await captured(workloadPlan(at(server.port, { enforcement: 'Disabled' })));
    const client = dial(server.port);
    client.send('GET / HTTP/1.1\r\n\r\n');
    await client.until((text) => text === 'GET / HTTP/1.1\r\n\r\n');
    expect(await tunnels(metrics, 'disabled')).toBe(1);
  });
});

describe('a tunnel', () => {
  it('passes the end of each direction on by itself', async () => {
    const server = await upstream(
      () => {},
      (socket) => {
        let received = '';
        socket.on('data', (chunk) => {
          received += chunk.toString('latin1');
        });
        socket.on('end', () => socket.end(`got ${received}`));
      },
    );
    const { dial, plane } = await captured(workloadPlan());
    const client = dial(server.port);
    client.send('all of it');
    client.socket.end();
    expect(await client.ended()).toBe('got all of it');
    await expect.poll(() => plane.inFlight()).toBe(0);
  });

  it('turns a dial that fails into a reset before any byte', async () => {
    const port = await freePort();
    const { dial, metrics } = await captured(workloadPlan());
    const client = dial(port);
    client.send('hello');
    expect(await client.closed()).toBe('ECONNRESET');
    const metric = metrics.registry
      .getMetricsAsJSON()
      .find(({ name }) => name === 'breakwater_tunnel_dial_failures_total');
    expect(metric?.values[0]?.value).toBe(1);
  });

  it('turns a reset of one side into a reset of the other', async () => {
    const server = await upstream((_received, socket) => socket.resetAndDestroy());
    const { dial } = await captured(workloadPlan());
    const client = dial(server.port);
    client.send('x');
    expect(await client.closed()).toBe('ECONNRESET');
  });

  it('carries many megabytes both ways, byte for byte', async () => {
    const server = await echo();
    const { dial } = await captured(workloadPlan());
    const client = dial(server.port);
    const bytes = Array.from({ length: 1_000_000 }, (_, i) => String(i).padStart(8, '.')).join('');
    client.send(bytes);
    expect((await client.until((text) => text.length >= bytes.length, 10_000)) === bytes).toBe(true);
  });

  it('is closed by the idle timeout of its dependency and not before', async () => {
    const server = await echo();
    const timeouts = { requestMs: 0, attemptMs: 0, connectMs: 500, idleMs: 0, opaqueIdleMs: 400 };
    const { dial } = await captured(workloadPlan(at(server.port, { protocol: 'Opaque' }, { timeouts })));
    const client = dial(server.port);
    for (const word of ['a', 'b', 'c']) {
      client.send(word);
      await client.until((text) => text.endsWith(word));
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    const startedMs = performance.now();
    await client.ended();
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });
});

describe('what is HTTP', () => {
  it('belongs to the dependency by its destination, whatever Host says', async () => {
    const server = await upstream(answering(OK));
    const { dial, plane } = await captured(
      workloadPlan(at(9, {}, {}), at(server.port, { id: 'other', name: 'other', endpointsKey: 'k' })),
    );
    plane.applyEndpointsSnapshot([{ key: 'k', endpoints: [server.endpoint] }], false);
    const client = dial(server.port);
    client.send(get('/'));
    await client.until((text) => text.endsWith('ok'));
    expect(server.received[0]).toContain('Host: payments.billing\r\n');
  });

  it('is detected by a method and a space, in pieces too', async () => {
    const server = await upstream(answering(OK));
    const { dial, metrics } = await captured(
      workloadPlan(at(server.port, { protocol: 'Detect' }, { circuitBreaker: BREAKER })),
    );
    const client = dial(server.port);
    client.send('GE');
    await new Promise((resolve) => setTimeout(resolve, 40));
    client.send('T / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    expect(await tunnels(metrics, 'opaque')).toBe(0);
  });

  it('is given its time for a head from the first byte on where it is declared', async () => {
    const server = await upstream(answering(OK));
    // Ten times as fast as the time outside.
    const { dial } = await captured(workloadPlan(at(server.port)), {
      ...systemClock,
      monotonicMs: () => systemClock.monotonicMs() * 10,
      after: (delayMs, callback) => systemClock.after(delayMs / 10, callback),
    });
    const client = dial(server.port);
    client.send('GE');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 400 [^]*not complete/);
  });

  it('is answered 400 where it is declared and something else comes', async () => {
    const server = await upstream(answering(OK));
    const { dial } = await captured(workloadPlan(at(server.port)));
    const client = dial(server.port);
    client.send('\x16\x03\x01\x02\x00\x01\r\n\r\n');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 400/);
    expect(server.connections).toBe(0);
  });

  it('keeps the pod that a headless name led to', async () => {
    const first = await upstream(answering(OK));
    const second = await upstream(answering(OK));
    const plan = dependencyPlan({}, { balancing: 'OriginalDestination', destinations: [] });
    const { dial, plane } = await captured(workloadPlan(plan));
    plane.applyEndpointsSnapshot([{ key: plan.endpointsKey, endpoints: [first.endpoint, second.endpoint] }], false);
    for (let i = 0; i < 6; i++) {
      const client = dial(second.port);
      client.send(get('/'));
      await client.until((text) => text.endsWith('ok'));
    }
    expect([first.connections, second.connections > 0]).toEqual([0, true]);
  });

  it('refuses to forward to itself', async () => {
    const { dial, plane } = await captured(workloadPlan());
    const client = dial(Number.NaN);
    client.socket.on('error', () => {});
    await client.ended();
    expect(plane.inFlight()).toBe(0);
  });
});
