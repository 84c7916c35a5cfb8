// The capture modes that need no privilege, as the bootstrap of a pod asks for them. Addresses of 127.77/16 exist wherever Linux runs.
import { describe, expect, it } from 'vitest';
import type { Bootstrap, BootstrapEntry } from '../../../plan/bootstrap.ts';
import { hostKey } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { createSidecarMetrics, type SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { createDataPlane, type ProxyDataPlane } from '../data-plane.ts';
import {
  type Client,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  RETRIES,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, freePort, freePorts, OK, type Upstream } from '../testing/upstreams.ts';

const { open, upstream } = opened();

const NAME = 'payments.billing.svc';
const ALIAS = '127.77.0.1';

interface Running {
  plane: ProxyDataPlane;
  metrics: SidecarMetrics;
  names: TableOfNames;
  dial: (port: number, address?: string) => Client;
}

async function start(
  capture: 'loopback' | 'explicit',
  entries: readonly Partial<BootstrapEntry>[],
  names = new TableOfNames(),
): Promise<Running> {
  const metrics = createSidecarMetrics();
  const bootstrap: Bootstrap = {
    formatVersion: 1,
    capture,
    leftOut: [],
    entries: entries.map((entry) => ({
      address: capture === 'loopback' ? ALIAS : '127.0.0.1',
      service: entry.host ? null : { namespace: 'billing', name: 'payments' },
      host: null,
      clusterIPs: [],
      ports: [],
      ...entry,
    })),
  };
  const plane = createDataPlane({
    capture,
    bootstrap,
    outboundPort: 0,
    bindHost: '127.0.0.1',
    originalDestination: null,
    names,
    clock: systemClock,
    random: seededRandom(5),
    log: silentLogger,
    metrics,
  });
  open.push(plane);
  plane.setEndpointsStreamUp(true);
  await plane.listen();
  return {
    plane,
    metrics,
    names,
    dial: (port, address = capture === 'loopback' ? ALIAS : '127.0.0.1') => connect(port, true, address),
  };
}

const echo = (): Promise<Upstream> =>
  upstream(
    () => {},
    (socket) => socket.on('data', (chunk) => socket.write(chunk)),
  );

/** A dependency on the Service of the bootstrap, whose ClusterIP is 127.0.0.1. */
function payments(port: number, changes: Partial<DependencyPlan> = {}): DependencyPlan {
  return dependencyPlan(
    { retries: RETRIES },
    {
      service: { namespace: 'billing', name: 'payments', port, ports: [port] },
      destinations: [{ address: '127.0.0.1', port }],
      protocol: 'Detect',
      ...changes,
    },
  );
}

const host = (name: string, port: number, changes: Partial<DependencyPlan> = {}): DependencyPlan =>
  dependencyPlan(
    { retries: RETRIES },
    {
      id: `shop/checkout/${name}`,
      name,
      service: null,
      host: { name, port },
      authority: port === 80 ? name : `${name}:${port}`,
      protocol: 'Detect',
      balancing: 'Dns',
      endpointsKey: hostKey(name, port),
      ...changes,
    },
  );

async function tunnels(metrics: SidecarMetrics, cause: string): Promise<number> {
  const metric = metrics.registry.getMetricsAsJSON().find(({ name }) => name === 'breakwater_tunnels_total');
  const values = (metric?.values ?? []) as { labels: Record<string, string>; value: number }[];
  return values.find(({ labels }) => labels['cause'] === cause)?.value ?? 0;
}

const DEAD = '127.88.0.1';
const BYTES = 'GET / HTTP/1.1\r\nHost : odd\r\n\r\n\x00\xff';

describe('before a plan', () => {
  it.each(['loopback', 'explicit'] as const)(
    'bytes go untouched to the ClusterIP of the bootstrap (%s)',
    async (capture) => {
      const server = await echo();
      const listen = capture === 'loopback' ? server.port : await freePort();
      const entry = { clusterIPs: ['127.0.0.1'], ports: [{ listen, port: server.port }] };
      const { dial, metrics } = await start(capture, [entry]);
      const client = dial(listen);
      client.send(BYTES);
      expect(await client.until((text) => text.endsWith('\xff'))).toBe(BYTES);
      expect(await tunnels(metrics, 'no-plan')).toBe(1);
    },
  );

  it('bytes go to what DNS knows of the Service where its ClusterIP fails', async () => {
    const server = await echo();
    const { dial } = await start(
      'loopback',
      [{ clusterIPs: [DEAD], ports: [{ listen: server.port, port: server.port }] }],
      new TableOfNames({ [NAME]: [DEAD, ALIAS, '127.0.0.1'] }),
    );
    const client = dial(server.port);
    client.send('hello');
    await client.until((text) => text === 'hello');
  });

  it('bytes go to an address of a host', async () => {
    const server = await echo();
    const { dial } = await start(
      'loopback',
      [{ host: 'api.test', ports: [{ listen: server.port, port: server.port }] }],
      new TableOfNames({ 'api.test': ['127.0.0.1'] }),
    );
    const client = dial(server.port);
    client.send('hello');
    await client.until((text) => text === 'hello');
  });

  it('a server that speaks first is heard', async () => {
    const server = await upstream(
      () => {},
      (socket) => socket.write('220 hello\r\n'),
    );
    const { dial } = await start('loopback', [
      { clusterIPs: ['127.0.0.1'], ports: [{ listen: server.port, port: server.port }] },
    ]);
    await dial(server.port).until((text) => text === '220 hello\r\n');
  });

  it.each([
    ['nothing listens there', { clusterIPs: [DEAD] }, {}],
    ['there is no address at all', {}, {}],
    ['all addresses lead back here', { clusterIPs: [ALIAS] }, { [NAME]: [ALIAS] }],
    ['a host leads back here', { host: 'api.test' }, { 'api.test': [ALIAS, '::ffff:127.77.0.9'] }],
  ])('a connection is reset where %s', async (_name, entry, table) => {
    const port = await freePort();
    const { dial, plane, metrics } = await start(
      'loopback',
      [{ ...entry, ports: [{ listen: port, port }] }],
      new TableOfNames(table),
    );
    const client = dial(port);
    client.send('x');
    expect(await client.closed()).toBe('ECONNRESET');
    expect(plane.inFlight()).toBe(0);
    const text = metrics.registry.metrics();
    expect(text).toContain('breakwater_tunnel_dial_failures_total 1');
  });
});

describe('a declared Service', () => {
  it('has its policies at its alias, and its requests their Host', async () => {
    const failing = await upstream((_received, socket) => socket.resetAndDestroy());
    const good = await upstream(answering(OK));
    const port = await freePort();
    const { dial, plane } = await start('loopback', [{ ports: [{ listen: port, port }] }]);
    plane.applyPlan(workloadPlan(payments(port)));
    plane.applyEndpointsSnapshot(
      [{ key: 'billing/payments:8080', endpoints: [failing.endpoint, good.endpoint] }],
      false,
    );
    for (let i = 0; i < 4; i++) {
      const client = dial(port);
      client.send('GET / HTTP/1.1\r\nHost: 127.77.0.1\r\n\r\n');
      await client.until((text) => text.endsWith('ok'));
    }
    expect(failing.connections).toBeGreaterThan(0);
    expect(good.received.join('')).toContain('Host: 127.77.0.1\r\n');
  });

  it('is called by its name where the environment led to a local port', async () => {
    const good = await upstream(answering(OK));
    const listen = await freePort();
    const { dial, plane } = await start('explicit', [{ ports: [{ listen, port: 8080 }] }]);
    plane.applyPlan(workloadPlan(payments(8080)));
    plane.applyEndpointsSnapshot([{ key: 'billing/payments:8080', endpoints: [good.endpoint] }], false);
    const client = dial(listen);
    client.send(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${listen}\r\n\r\n`);
    await client.until((text) => text.endsWith('ok'));
    expect(good.received[0]).toContain('Host: payments.billing.svc.cluster.local:8080\r\n');
  });

  it.each([
    ['declared opaque', { protocol: 'Opaque' }, 'opaque'],
    ['without policies', { enforcement: 'Disabled' }, 'disabled'],
  ] as const)('%s is tunnelled to its ClusterIP', async (_name, changes, cause) => {
    const server = await echo();
    const { dial, plane, metrics } = await start('loopback', [
      { clusterIPs: [DEAD], ports: [{ listen: server.port, port: server.port }] },
    ]);
    plane.applyPlan(workloadPlan(payments(server.port, changes)));
    const client = dial(server.port);
    client.send(BYTES);
    expect(await client.until((text) => text.endsWith('\xff'))).toBe(BYTES);
    expect(await tunnels(metrics, cause)).toBe(1);
  });

  it('without endpoints that are known is called at its ClusterIP', async () => {
    const server = await upstream(answering(OK));
    const { dial, plane } = await start('loopback', [{ ports: [{ listen: server.port, port: server.port }] }]);
    plane.applyPlan(workloadPlan(payments(server.port)));
    const client = dial(server.port);
    client.send(get('/'));
    await client.until((text) => text.endsWith('ok'));
  });

  it('of which the plan knows another ClusterIP is tunnelled to that one, ports that are not declared included', async () => {
    const server = await echo();
    const { dial, plane, metrics } = await start('loopback', [
      { clusterIPs: [DEAD], ports: [{ listen: server.port, port: server.port }] },
    ]);
    plane.applyPlan(workloadPlan(payments(server.port + 1)));
    const client = dial(server.port);
    client.send('hello');
    await client.until((text) => text === 'hello');
    expect(await tunnels(metrics, 'undeclared')).toBe(1);
  });
});

describe('ports', () => {
  it('that the Service got later are opened, and those that went stay', async () => {
    const [first, later] = [await echo(), await echo()];
    const { dial, plane } = await start('loopback', [
      { clusterIPs: ['127.0.0.1'], ports: [{ listen: first.port, port: first.port }] },
    ]);
    const service = { namespace: 'billing', name: 'payments', port: later.port, ports: [later.port] };
    plane.applyPlan(workloadPlan(payments(later.port, { service, protocol: 'Opaque' })));
    await expect.poll(() => plane.capture().listeners.length).toBe(2);
    for (const port of [first.port, later.port]) {
      const client = dial(port);
      client.send('hello');
      await client.until((text) => text === 'hello');
    }
  });

  it('that are not free are named, once, and cost nothing else', async () => {
    const taken = await echo();
    const server = await echo();
    const { dial, plane, metrics } = await start('explicit', [
      {
        clusterIPs: ['127.0.0.1'],
        ports: [
          { listen: taken.port, port: 1 },
          { listen: await freePort(), port: server.port },
        ],
      },
    ]);
    const { listeners } = plane.capture();
    expect(listeners.map(({ problem }) => problem)).toEqual(['EADDRINUSE', '']);
    expect(metrics.registry.metrics()).toContain('breakwater_failed_listeners 1');
    plane.applyPlan(workloadPlan());
    const client = dial(Number(listeners[1]?.listen.split(':')[1]));
    client.send('hello');
    await client.until((text) => text === 'hello');
  });
});

describe('a declared host', () => {
  it('is balanced over the addresses that DNS gives, and follows them', async () => {
    const server = await upstream(answering(OK));
    const listen = await freePort();
    const names = new TableOfNames({ 'api.test': ['127.0.0.1', DEAD] });
    const { dial, plane } = await start(
      'explicit',
      [{ host: 'api.test', ports: [{ listen, port: server.port }] }],
      names,
    );
    plane.applyPlan(workloadPlan(host('api.test', server.port)));
    const client = dial(listen);
    for (let i = 1; i < 6; i++) {
      client.send(`GET / HTTP/1.1\r\nHost: localhost:${listen}\r\n\r\n`);
      await client.until((text) => text.split('ok').length === i + 1);
    }
    expect(server.received[0]).toContain(`Host: api.test:${server.port}\r\n`);
    const before = server.connections;
    names.set('api.test', ['127.0.0.1']);
    client.send(get('/'));
    await client.until((text) => text.split('ok').length === 7);
    expect(server.connections).toBe(before);
    names.set('api.test', []);
    client.send(get('/'));
    expect(await client.until((text) => text.includes('503'))).toContain('DNS knows no address of the host');
  });

  it('that leads back to the sidecar is never called', async () => {
    const [listen = 0, other = 0] = await freePorts(2);
    const names = new TableOfNames({ 'api.test': ['127.77.3.3'], 'own.test': ['127.0.0.1', '0.0.0.0'] });
    const { dial, plane, metrics } = await start(
      'explicit',
      [
        { host: 'api.test', ports: [{ listen, port: 80 }] },
        { host: 'own.test', ports: [{ listen: other, port: listen }] },
      ],
      names,
    );
    plane.applyPlan(workloadPlan(host('api.test', 80), host('own.test', listen)));
    for (const port of [listen, other]) {
      const client = dial(port);
      client.send(get('/'));
      expect(await client.until((text) => text.includes('503'))).toContain(
        'All addresses that DNS knows of the host are this sidecar',
      );
    }
    expect(metrics.registry.metrics()).toMatch(/breakwater_self_references_total\{dependency="api.test"\} 1/);
    expect(metrics.registry.metrics()).toMatch(/breakwater_self_references_total\{dependency="own.test"\} 1/);
  });

  it('whose addresses are not known yet says so', async () => {
    const listen = await freePort();
    const { dial, plane } = await start('explicit', [{ host: 'api.test', ports: [{ listen, port: 80 }] }]);
    plane.applyPlan(workloadPlan(host('api.test', 80)));
    const client = dial(listen);
    client.send(get('/'));
    expect(await client.until((text) => text.includes('503'))).toContain('DNS has not told an address');
  });

  it('of TLS is tunnelled to any of its addresses that answers', async () => {
    const server = await echo();
    const { dial, plane, metrics } = await start(
      'loopback',
      [{ host: 'api.test', ports: [{ listen: server.port, port: server.port }] }],
      new TableOfNames({ 'api.test': [DEAD, '127.0.0.1', ALIAS] }),
    );
    plane.applyPlan(workloadPlan(host('api.test', server.port, { policies: [{ ...NO_POLICY }] })));
    for (let i = 0; i < 6; i++) {
      const client = dial(server.port);
      client.send('\x16\x03\x01\x00\x05');
      await client.until((text) => text.length === 5);
    }
    expect(await tunnels(metrics, 'opaque')).toBe(6);
  });
});
