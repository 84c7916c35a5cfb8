// Captured connections to destinations that nobody declared: those that a declared host claims by Host or server name, and what the plan
// wants of the others.
import { once } from 'node:events';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { hostKey } from '../../../plan/endpoints.ts';
import type { DependencyPlan, WorkloadPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import { createIdentity } from '../../subscribe/test-operator.ts';
import {
  BREAKER,
  type Captured,
  dependencyPlan,
  RETRIES,
  startCaptured,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, type Upstream } from '../testing/upstreams.ts';

const { open, upstream } = opened();

async function start(plan: WorkloadPlan, options: Parameters<typeof startCaptured>[1] = {}): Promise<Captured> {
  const started = await startCaptured(plan, options);
  open.push(started.plane);
  return started;
}

const echo = (): Promise<Upstream> =>
  upstream(
    () => {},
    (socket) => socket.on('data', (chunk) => socket.write(chunk)),
  );

function host(name: string, port: number, policy = {}, changes: Partial<DependencyPlan> = {}): DependencyPlan {
  return dependencyPlan(policy, {
    id: `shop/checkout/${name}`,
    name,
    service: null,
    host: { name, port },
    authority: name,
    protocol: 'Detect',
    balancing: 'Dns',
    endpointsKey: hostKey(name, port),
    ...changes,
  });
}

async function counted({ metrics }: Captured, name: string, labels: Record<string, string> = {}): Promise<number> {
  const found = metrics.registry.getMetricsAsJSON().find((metric) => metric.name === name);
  const values = (found?.values ?? []) as { labels: Record<string, string>; value: number }[];
  return values
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, sample) => sum + sample.value, 0);
}

const asks = (name: string, extra = '') => `GET / HTTP/1.1\r\nHost: ${name}\r\n${extra}\r\n`;
const DEAD = '127.88.0.1';

describe('a declared host', () => {
  it('claims requests by their Host, and its policies act', async () => {
    const failing = await upstream(answering('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'));
    const plan = workloadPlan(
      host('api.test', failing.port, { circuitBreaker: { ...BREAKER, consecutiveFailures: 2 } }),
    );
    const captured = await start(plan);
    const client = captured.dial(failing.port);
    for (const name of ['api.test', `API.test.:${failing.port}`, 'api.test']) {
      client.send(asks(name));
      await client.until((text) => text.endsWith('\r\n\r\n') || text.endsWith('}\n'));
    }
    expect(await client.until((text) => text.includes('circuit-open'))).toMatch(/503[^]*503[^]*circuit-open/);
    expect(failing.received.join('').match(/GET/g)).toHaveLength(2);
  });

  it('is balanced, and retried elsewhere, where the application chose one of the addresses that DNS gives', async () => {
    const good = await upstream(answering(OK));
    const captured = await start(workloadPlan(host('api.test', good.port, { retries: RETRIES })), {
      names: new TableOfNames({ 'api.test': [DEAD, '127.0.0.1'] }),
    });
    for (let i = 0; i < 6; i++) {
      const client = captured.dial(good.port, DEAD);
      client.send(asks('api.test', 'Connection: close\r\n'));
      await client.until((text) => text.endsWith('ok'));
    }
    expect(await counted(captured, 'breakwater_retries_total', { dependency: 'api.test' })).toBeGreaterThan(0);
  });

  it('keeps an address that DNS did not give: the application may know better', async () => {
    const overridden = await upstream(answering(OK));
    const captured = await start(workloadPlan(host('api.test', overridden.port, { retries: RETRIES })), {
      names: new TableOfNames({ 'api.test': [DEAD] }),
    });
    const client = captured.dial(overridden.port);
    client.send(asks('api.test'));
    await client.until((text) => text.endsWith('ok'));
    expect(await counted(captured, 'breakwater_upstream_connects_total')).toBe(1);
  });

  it('has no part in requests of another Host on the same connection', async () => {
    const server = await upstream(answering(OK));
    const plan = workloadPlan(host('api.test', server.port), host('other.test', server.port));
    const captured = await start(plan);
    const client = captured.dial(server.port);
    for (const [index, name] of ['api.test', 'stranger.test', 'other.test', 'api.test'].entries()) {
      client.send(asks(name));
      await client.until((text) => text.split('ok').length === index + 2);
    }
    const requests = (dependency: string) => counted(captured, 'breakwater_requests_total', { dependency });
    expect([await requests('api.test'), await requests('other.test'), await requests('(undeclared)')]).toEqual([
      2, 1, 1,
    ]);
    const hosts = server.received.join('').match(/(?<=^Host: ).*(?=\r$)/gm);
    expect(hosts?.sort()).toEqual(['api.test', 'api.test', 'other.test', 'stranger.test']);
    expect(await counted(captured, 'breakwater_undeclared_connections_total')).toBe(0);
  });

  it.each([
    ['another host', asks('stranger.test')],
    ['a head that the codec would refuse', 'GET / HTTP/1.1\r\nHost : api.test\r\n\r\n'],
    ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no HTTP at all', '*1\r\n$4\r\nPING\r\n'],
  ])('leaves %s alone, byte for byte', async (_name, bytes) => {
    const server = await echo();
    const captured = await start(workloadPlan(host('api.test', server.port)));
    const client = captured.dial(server.port);
    client.send(bytes);
    await client.until((text) => text === bytes);
    expect(await counted(captured, 'breakwater_tunnels_total', { cause: 'undeclared' })).toBe(1);
    expect(await counted(captured, 'breakwater_undeclared_connections_total', { action: 'allowed' })).toBe(1);
  });

  it('does not keep a server from speaking first', async () => {
    const server = await upstream(
      () => {},
      (socket) => socket.write('220 hello\r\n'),
    );
    const captured = await start(workloadPlan(host('api.test', server.port)));
    await captured.dial(server.port).until((text) => text === '220 hello\r\n');
  });

  it('does not look at other ports', async () => {
    const server = await echo();
    const captured = await start(workloadPlan(host('api.test', server.port + 1)));
    const client = captured.dial(server.port);
    client.send(asks('api.test'));
    await client.until((text) => text === asks('api.test'));
  });

  it.each([
    ['Disabled', {}, 'disabled'],
    ['Enabled', { protocol: 'Opaque' }, 'opaque'],
  ] as const)('is only tunnelled where it is %s %j', async (enforcement, changes, cause) => {
    const server = await echo();
    const captured = await start(workloadPlan(host('api.test', server.port, {}, { enforcement, ...changes })));
    const client = captured.dial(server.port);
    client.send(asks('api.test'));
    await client.until((text) => text === asks('api.test'));
    expect(await counted(captured, 'breakwater_tunnels_total', { cause })).toBe(1);
  });
});

describe('TLS', () => {
  async function secure(): Promise<{ port: number }> {
    const identity = await createIdentity([{ type: 'dns', value: 'api.test' }]);
    const server = tls.createServer({ cert: identity.cert, key: identity.key }, (socket) => {
      socket.on('error', () => {});
      socket.end(`hello from ${(socket as tls.TLSSocket & { servername: string }).servername}`);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    return { port: (server.address() as { port: number }).port };
  }

  /** What the server says through the sidecar; the error's code where it says nothing. */
  function read(captured: Captured, port: number, servername: string, address?: string): Promise<string> {
    const socket = { port: captured.expect(port, address), host: '127.0.0.1' };
    return new Promise((resolve) => {
      let text = '';
      const client = tls.connect({ ...socket, servername, rejectUnauthorized: false });
      client.on('data', (bytes) => {
        text += String(bytes);
      });
      client.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      client.on('close', () => resolve(text));
    });
  }

  it('is of the host that its server name says, and goes to any of its addresses', async () => {
    const { port } = await secure();
    const captured = await start(workloadPlan(host('api.test', port)), {
      names: new TableOfNames({ 'api.test': [DEAD, '127.0.0.1'] }),
    });
    expect(await read(captured, port, 'API.test', DEAD)).toBe('hello from API.test');
    expect(await read(captured, port, 'api.test')).toBe('hello from api.test');
    expect(await counted(captured, 'breakwater_tunnels_total', { cause: 'opaque' })).toBe(2);
  });

  it('of another server name is undeclared, and goes where it was sent', async () => {
    const { port } = await secure();
    const captured = await start(workloadPlan(host('api.test', port)), {
      names: new TableOfNames({ 'api.test': [DEAD] }),
    });
    expect(await read(captured, port, 'stranger.test')).toBe('hello from stranger.test');
    expect(await counted(captured, 'breakwater_tunnels_total', { cause: 'undeclared' })).toBe(1);
  });

  it('is under the policies of its host, and of no other', async () => {
    const { port } = await secure();
    const circuitBreaker = { ...BREAKER, force: 'Open' as const };
    const captured = await start(workloadPlan(host('api.test', port, { circuitBreaker })));
    expect(await read(captured, port, 'api.test')).toBe('ECONNRESET');
    expect(await read(captured, port, 'stranger.test')).toBe('hello from stranger.test');
    expect(await counted(captured, 'breakwater_tcp_connections_total', { result: 'circuit-open' })).toBe(1);
    expect(captured.plane.opaque()).toEqual([]);
  });

  it('of another server name is reset under Deny, and of the declared one is not', async () => {
    const { port } = await secure();
    const captured = await start({ ...workloadPlan(host('api.test', port)), undeclared: 'Deny' });
    expect(await read(captured, port, 'stranger.test')).toBe('ECONNRESET');
    expect(await read(captured, port, 'api.test')).toBe('hello from api.test');
  });
});

describe('undeclared: Deny', () => {
  const deny = (...dependencies: DependencyPlan[]): WorkloadPlan => ({
    ...workloadPlan(...dependencies),
    undeclared: 'Deny',
  });

  it('answers HTTP, and dials nothing', async () => {
    const server = await echo();
    const captured = await start(deny());
    const client = captured.dial(server.port);
    client.send(asks('stranger.test'));
    const answer = await client.ended();
    expect(answer).toMatch(
      /^HTTP\/1\.1 403 Forbidden\r\n[^]*Breakwater-Reason: undeclared\r\n[^]*Connection: close\r\n/,
    );
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({
      status: 403,
      endpoint: `127.0.0.1:${server.port}`,
    });
    expect(server.connections).toBe(0);
    expect(await counted(captured, 'breakwater_undeclared_connections_total', { action: 'denied' })).toBe(1);
    client.socket.destroy();
    await expect.poll(() => captured.plane.held()).toMatchObject({ clientConnections: 0, timers: 0, attempts: 0 });
  });

  it('answers HEAD without a body, and a body is not waited for', async () => {
    const captured = await start(deny());
    const client = captured.dial(9);
    client.send('HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 403 [^]*\r\n\r\n$/);
  });

  it.each([
    ['other bytes', '*1\r\n$4\r\nPING\r\n'],
    ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a head that can be read in two ways', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'],
  ])('resets %s', async (_name, bytes) => {
    const server = await echo();
    const captured = await start(deny());
    const client = captured.dial(server.port);
    client.send(bytes);
    expect(await client.closed()).toBe('ECONNRESET');
    expect(server.connections).toBe(0);
    expect(captured.plane.held()).toMatchObject({ timers: 0, tunnels: 0 });
  });

  it('resets silence after a bounded time, and dials nothing', async () => {
    const server = await echo();
    // A hundred times as fast as the time outside.
    const clock = {
      ...systemClock,
      monotonicMs: () => systemClock.monotonicMs() * 100,
      after: (delayMs: number, callback: () => void) => systemClock.after(delayMs / 100, callback),
    };
    const captured = await start(deny(), { clock });
    expect(await captured.dial(server.port).closed()).toBe('ECONNRESET');
    expect(server.connections).toBe(0);
  });

  it('lets declared hosts through, and nobody else on their connections', async () => {
    const server = await upstream(answering(OK));
    const captured = await start(deny(host('api.test', server.port)));
    const client = captured.dial(server.port);
    client.send(asks('api.test'));
    await client.until((text) => text.endsWith('ok'));
    client.send(asks('stranger.test'));
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 403 /);
    expect(server.received.join('')).not.toContain('stranger');
    const refused = (dependency: string) =>
      counted(captured, 'breakwater_requests_total', { dependency, reason: 'undeclared' });
    expect([await refused('api.test'), await refused('(undeclared)')]).toEqual([0, 1]);
  });

  it('does not act while the local kill switch is thrown', async () => {
    const server = await echo();
    const captured = await start(deny());
    captured.plane.setLocallyDisabled(true);
    const client = captured.dial(server.port);
    client.send('hello');
    await client.until((text) => text === 'hello');
    expect(await counted(captured, 'breakwater_undeclared_connections_total', { action: 'allowed' })).toBe(1);
  });

  it('does not act where the pods of a declared headless Service are not known for certain', async () => {
    const server = await echo();
    const headless = dependencyPlan({}, { balancing: 'OriginalDestination', destinations: [] });
    const captured = await start(deny(headless));
    const allowed = async () => {
      const client = captured.dial(server.port);
      client.send('hello');
      await client.until((text) => text === 'hello');
    };
    await allowed();
    captured.plane.applyEndpointsSnapshot([{ key: headless.endpointsKey, endpoints: [] }], false);
    const denied = captured.dial(server.port);
    denied.send('hello');
    expect(await denied.closed()).toBe('ECONNRESET');
    captured.plane.setEndpointsStreamUp(false);
    await allowed();
  });

  it('does not act on declared Services', async () => {
    const server = await upstream(answering(OK));
    const captured = await start(deny(dependencyPlan({}, { destinations: [server.endpoint] })));
    const client = captured.dial(server.port);
    client.send(asks('whoever'));
    await client.until((text) => text.endsWith('ok'));
  });
});

describe('undeclared: Warn', () => {
  it('passes on, counts, and names each destination once', async () => {
    const lines: object[] = [];
    const log = { warn: (fields: object) => lines.push(fields), info: () => {}, error: () => {} } as unknown as Logger;
    const [one, other] = [await echo(), await echo()];
    const captured = await start({ ...workloadPlan(), undeclared: 'Warn' }, { log });
    for (const { port } of [one, one, other]) {
      const client = captured.dial(port);
      client.send('hello');
      await client.until((text) => text === 'hello');
    }
    expect(lines).toEqual([
      { destination: `127.0.0.1:${one.port}`, action: 'warned' },
      { destination: `127.0.0.1:${other.port}`, action: 'warned' },
    ]);
    expect(await counted(captured, 'breakwater_undeclared_connections_total', { action: 'warned' })).toBe(3);
  });
});

it('before the first plan nothing is looked at', async () => {
  const server = await echo();
  const captured = await startCaptured(null);
  open.push(captured.plane);
  const client = captured.dial(server.port);
  client.send(asks('api.test'));
  await client.until((text) => text === asks('api.test'));
  expect(await counted(captured, 'breakwater_undeclared_connections_total')).toBe(0);
});
