// Standalone mode with all its real processes: operator, sidecars, streams, policies, and real HTTP through them.
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  call,
  dependency,
  documents,
  endpoints,
  pod,
  policy,
  Standalone,
  service,
  startUpstream,
  type Upstream,
  until,
} from './harness.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let running: Standalone | undefined;
let upstreams: Upstream[] = [];

afterEach(async () => {
  await running?.cleanUp();
  running = undefined;
  await Promise.all(upstreams.map((upstream) => upstream.close()));
  upstreams = [];
});

async function upstream(...answer: Parameters<typeof startUpstream>): Promise<Upstream> {
  const started = await startUpstream(...answer);
  upstreams.push(started);
  return started;
}

const ok: Parameters<typeof startUpstream>[0] = (_, response) => response.end('fine');
const failing: Parameters<typeof startUpstream>[0] = (_, response) => response.writeHead(500).end('broken');

describe('breakwater standalone', () => {
  it('says in one line where every workload finds what it depends on', async () => {
    const payments = await upstream(ok);
    running = new Standalone({
      'shop.yaml': documents(
        pod('checkout-1', { app: 'checkout' }),
        pod('idle'),
        service('payments'),
        service('inventory'),
        endpoints('payments', [payments.port]),
        dependency('checkout', 'checkout', ['payments', 'inventory']),
        dependency('nobody', 'nobody', ['payments']),
      ),
    });
    const { workloads } = await running.ready();
    expect(Object.keys(workloads)).toEqual(['shop/checkout-1', 'shop/idle', 'shop/nobody']);
    const address = /^127\.0\.0\.1:\d+$/;
    expect(workloads['shop/checkout-1']).toEqual({
      admin: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
      dependencies: {
        payments: expect.stringMatching(address) as string,
        inventory: expect.stringMatching(address) as string,
      },
    });
    expect(workloads['shop/idle']?.dependencies).toEqual({});
    expect(Object.keys(workloads['shop/nobody']?.dependencies ?? {})).toEqual(['payments']);

    const answer = await call(workloads['shop/checkout-1']?.dependencies['payments'], '/charges?a=1');
    expect(answer).toMatchObject({ status: 200, body: 'fine' });
    expect(payments.seen).toEqual([
      { method: 'GET', url: '/charges?a=1', host: expect.stringMatching(/^payments\.shop/) as string },
    ]);
    expect((await call(workloads['shop/nobody']?.dependencies['payments'])).status).toBe(200);

    const metrics = await fetch(`${workloads['shop/checkout-1']?.admin}/metrics`);
    expect(await metrics.text()).toMatch(/breakwater_requests_total\{[^}]*dependency="payments"[^}]*\} 1/);
    for (const path of ['/livez', '/readyz'])
      expect((await fetch(`${workloads['shop/idle']?.admin}${path}`)).status).toBe(200);
    expect(running.output).toHaveLength(1);
  });

  it('opens the circuit after five failures in a row, and then sends nothing', async () => {
    const payments = await upstream(failing);
    running = new Standalone({
      'shop.yaml': documents(
        service('payments'),
        endpoints('payments', [payments.port]),
        dependency('checkout', 'checkout', ['payments']),
      ),
      'policy.yaml': policy('payments', 'checkout', { circuitBreaker: { openFor: '10m', maxOpenFor: '10m' } }),
    });
    const { workloads } = await running.ready();
    const address = workloads['shop/checkout']?.dependencies['payments'];
    for (let i = 0; i < 5; i++) expect(await call(address)).toMatchObject({ status: 500, body: 'broken' });
    const refused = await call(address);
    expect(refused).toMatchObject({ status: 503, headers: { 'breakwater-reason': 'circuit-open' } });
    expect(JSON.parse(refused.body)).toMatchObject({
      dependency: 'shop/checkout/payments',
      policy: expect.stringContaining('shop/payments') as string,
    });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(500);
    expect(payments.seen).toHaveLength(5);
  });

  it('runs with a field that it does not know, and says that it has no effect', async () => {
    running = new Standalone({
      'shop.yaml': documents(service('payments'), dependency('checkout', 'checkout', ['payments'])),
      'policy.yaml': policy('payments', 'checkout', { circuitBreakr: {} }),
    });
    await running.ready();
    expect(running.errors).toMatch(
      /policy\.yaml:1:\d+: warning ResiliencePolicy shop\/payments spec\.circuitBreakr\n.*did you mean circuitBreaker\? It has no effect here/,
    );
  });

  it('never dials a ClusterIP: without endpoints it says so at once', async () => {
    running = new Standalone({
      'shop.yaml': documents(service('payments'), dependency('checkout', 'checkout', ['payments'])),
    });
    const { workloads } = await running.ready();
    const answer = await call(workloads['shop/checkout']?.dependencies['payments']);
    expect(answer).toMatchObject({ status: 503, headers: { 'breakwater-reason': 'no-endpoints' } });
    // The time in which a connection has to be had.
    expect(answer.durationMs).toBeLessThan(2_000);
  });

  it('follows the folder: endpoints, policies, pods that come and go', async () => {
    const [first, second] = [await upstream(ok), await upstream((_, response) => response.end('second'))];
    running = new Standalone({
      'base.yaml': documents(service('payments'), dependency('checkout', 'checkout', ['payments'])),
      'endpoints.yaml': endpoints('payments', [first.port]),
      'pod.yaml': pod('checkout'),
    });
    const { workloads } = await running.ready();
    const address = workloads['shop/checkout']?.dependencies['payments'];
    expect((await call(address)).body).toBe('fine');

    running.write('endpoints.yaml', endpoints('payments', [second.port]));
    await until(async () => (await call(address)).body === 'second', 'the new endpoint is called');

    running.write('policy.yaml', policy('payments', 'checkout', { timeouts: { request: '150ms' } }));
    second.server.removeAllListeners('request');
    second.server.on('request', (_, response: ServerResponse) => setTimeout(() => response.end('late'), 1_000));
    await until(async () => (await call(address)).headers['breakwater-reason'] === 'deadline', 'the new timeout acts');

    running.write('second-pod.yaml', pod('checkout-2', { app: 'checkout' }));
    await until(() => (running?.logged('a sidecar is ready') ?? []).length === 1, 'the new pod has a sidecar');
    const [announced] = running.logged('a sidecar is ready') as unknown as {
      workload: string;
      admin: string;
      dependencies: Record<string, string>;
    }[];
    expect(announced?.workload).toBe('shop/checkout-2');
    running.write('endpoints.yaml', endpoints('payments', [first.port]));
    await until(async () => (await call(announced?.dependencies['payments'])).body === 'fine', 'its sidecar serves');

    running.remove('second-pod.yaml');
    await until(
      async () =>
        fetch(`${announced?.admin}/livez`).then(
          () => false,
          () => true,
        ),
      'the sidecar of the pod that left has ended',
    );
    expect((await call(address)).body).toBe('fine');
    expect(running.output).toHaveLength(1);
  });

  it('follows labels: a pod becomes another workload, and takes the place of a declaration without pods', async () => {
    const payments = await upstream(ok);
    running = new Standalone({
      'shop.yaml': documents(
        service('payments'),
        endpoints('payments', [payments.port]),
        dependency('checkout', 'checkout', ['payments']),
      ),
      'pod.yaml': pod('worker', { app: 'other' }),
    });
    const { workloads } = await running.ready();
    expect(Object.keys(workloads)).toEqual(['shop/checkout', 'shop/worker']);
    expect(workloads['shop/worker']?.dependencies).toEqual({});

    running.write('pod.yaml', pod('worker', { app: 'checkout' }));
    const announced = () =>
      running?.logged('a sidecar listens elsewhere') as { workload: string; dependencies: Record<string, string> }[];
    await until(() => announced().length > 0, 'the sidecar has the plan of its new workload');
    expect(announced()[0]?.workload).toBe('shop/worker');
    await until(async () => (await call(announced()[0]?.dependencies['payments'])).body === 'fine', 'it serves');
    const standIn = workloads['shop/checkout']?.admin;
    await until(
      async () =>
        fetch(`${standIn}/livez`).then(
          () => false,
          () => true,
        ),
      'nobody stands in for the declaration any more',
    );
  });

  it('keeps the last good version of a file that breaks, and says what is wrong with it', async () => {
    const payments = await upstream(ok);
    const good = documents(
      service('payments'),
      endpoints('payments', [payments.port]),
      dependency('checkout', 'checkout', ['payments']),
    );
    running = new Standalone({ 'shop.yaml': good });
    const { workloads } = await running.ready();
    running.write('shop.yaml', 'kind: [unfinished');
    await until(() => running?.errors.includes('shop.yaml:1') ?? false, 'the problem is told with file and line');
    expect((await call(workloads['shop/checkout']?.dependencies['payments'])).body).toBe('fine');
  });

  it('starts a sidecar again that ended by itself', async () => {
    const payments = await upstream(ok);
    running = new Standalone({
      'shop.yaml': documents(
        service('payments'),
        endpoints('payments', [payments.port]),
        dependency('checkout', 'checkout', ['payments']),
      ),
    });
    const { workloads } = await running.ready();
    const [sidecar] = running.sidecars();
    if (sidecar === undefined) throw new Error('no sidecar runs');
    process.kill(sidecar, 'SIGKILL');
    // Where it was before: the application was told once.
    await until(() => (running?.logged('a sidecar is back') ?? []).length > 0, 'it is announced again');
    const address = workloads['shop/checkout']?.dependencies['payments'];
    await until(async () => (await call(address)).body === 'fine', 'it serves again');
  });
});
