// What the data path does with knowledge that may be old, and with plans that change or are wrong.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../plan/endpoints.ts';
import type { PolicyPlan } from '../../plan/plan.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  RETRIES,
  startBench,
  workloadPlan,
} from './testing/fixtures.ts';
import { opened } from './testing/opened.ts';
import { answering, OK, startSwallowing, startUpstream } from './testing/upstreams.ts';

const { open } = opened();

async function call(port: number, request = get('/')): Promise<string> {
  const client = connect(port);
  client.send(request);
  const text = await client.until((received) => /ok$|"[^]*}\n$/.test(received));
  client.socket.destroy();
  return text;
}

async function serving(): Promise<Endpoint> {
  const upstream = await startUpstream(answering(OK));
  open.push(upstream);
  return upstream.endpoint;
}

async function refusing(): Promise<Endpoint> {
  const upstream = await startUpstream(() => {});
  upstream.close();
  return upstream.endpoint;
}

async function swallowing(): Promise<Endpoint> {
  const started = await startSwallowing();
  open.push(started);
  return started.endpoint;
}

async function bench(
  policy: Partial<PolicyPlan>,
  clusterIp: Endpoint,
  endpoints: Endpoint[],
  fromDisk = false,
): Promise<Bench> {
  const plan = dependencyPlan(policy, { destinations: [clusterIp] });
  const started = await startBench(plan, null);
  started.plane.applyEndpointsSnapshot([{ key: plan.endpointsKey, endpoints }], fromDisk);
  started.plane.setEndpointsStreamUp(false);
  open.push(started);
  return started;
}

const STRICT = { circuitBreaker: { ...BREAKER, consecutiveFailures: 1 }, retries: { ...RETRIES, maxAttempts: 1 } };
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n';

describe('while the endpoints stream is down', () => {
  it('a connection that is not made before the deadline leads the next ones to the ClusterIP, and is nobody’s failure', async () => {
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 100, attemptMs: 100, connectMs: 2_000 };
    const { port, plane, metric } = await bench({ ...STRICT, timeouts }, await serving(), [await swallowing()]);
    expect(await call(port)).toMatch(/^HTTP\/1\.1 504 [^]*breakwater:deadline/);
    expect(await call(port)).toMatch(/ok$/);
    expect(plane.circuits()[0]?.state).toBe('Closed');
    expect(await metric('breakwater_upstream_connects_total', { result: 'timeout' })).toBe(1);
  });

  it('a new plan does not lead back to endpoints that cannot be reached', async () => {
    const clusterIp = await serving();
    const { port, plane, metric } = await bench(STRICT, clusterIp, [await refusing()]);
    expect(await call(port, POST)).toMatch(/ok$/);
    plane.applyPlan(workloadPlan(dependencyPlan(STRICT, { destinations: [clusterIp] })));
    expect(await call(port, POST)).toMatch(/ok$/);
    expect(await metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(1);
    plane.setEndpointsStreamUp(true);
    expect(await metric('breakwater_cluster_ip_fallback')).toBe(0);
  });

  it('a snapshot from disk serves where the ClusterIP does not, and costs no attempt', async () => {
    const { port, plane, metric } = await bench(STRICT, await refusing(), [await serving()], true);
    expect(await call(port, POST)).toMatch(/ok$/);
    expect(plane.circuits()[0]?.state).toBe('Closed');
    expect(await metric('breakwater_retries_total')).toBe(0);
    expect(await metric('breakwater_retries_suppressed_total')).toBe(0);
  });
});

it('where nobody at all can be reached, a request ends after its attempts and not with its deadline', async () => {
  const dead = [await refusing(), await refusing()];
  const { port, metric } = await bench({ retries: RETRIES }, await refusing(), dead);
  expect(await call(port)).toMatch(/^HTTP\/1\.1 502 [^]*breakwater:connect-failed/);
  // One was free, for it led to the ClusterIP.
  expect(await metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(RETRIES.maxAttempts + 1);
  expect(await metric('breakwater_retries_total')).toBe(RETRIES.maxAttempts - 1);
});

describe('a plan', () => {
  it('that cannot be compiled changes nothing', async () => {
    const { port, plane } = await bench({}, await serving(), []);
    const broken = dependencyPlan({}, { id: 'shop/checkout/other', name: 'other', combinations: [0, 0] });
    const disabled = dependencyPlan({}, { enforcement: 'Disabled', destinations: [] });
    plane.setEndpointsStreamUp(true);
    plane.applyEndpointsSnapshot([], false);
    expect(() => plane.applyPlan(workloadPlan(disabled, broken))).toThrow(/combinations/);
    expect(() => plane.applyPlan(workloadPlan(broken))).toThrow(/combinations/);
    expect(await call(port)).toMatch(/ok$/);
    expect(Object.keys(plane.addresses())).toEqual(['payments']);
  });

  it('that no longer has a circuit lets nobody hear of it', async () => {
    const held: Socket[] = [];
    const upstream = await startUpstream((_received, socket) => held.push(socket));
    open.push(upstream);
    const { port, plane } = await bench({ circuitBreaker: { ...BREAKER, consecutiveFailures: 1 } }, upstream.endpoint, [
      upstream.endpoint,
    ]);
    const told: string[] = [];
    plane.onCircuitChange(({ state }) => told.push(state));
    const answer = call(port);
    await expect.poll(() => held.length).toBe(1);
    plane.applyPlan(workloadPlan(dependencyPlan({})));
    held[0]?.resetAndDestroy();
    expect(await answer).toMatch(/^HTTP\/1\.1 502 /);
    expect(told).toEqual([]);
  });

  it('that brings back a circuit which another took away open makes its next opening news again', async () => {
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 1, openForMs: 60_000 };
    const dead = await refusing();
    const { port, plane } = await bench({ circuitBreaker }, dead, [dead]);
    const told: string[] = [];
    plane.onCircuitChange(({ state }) => told.push(state));
    plane.setEndpointsStreamUp(true);
    await call(port);
    expect(plane.circuits()).toMatchObject([{ state: 'Open', enforced: true }]);
    plane.setLocallyDisabled(true);
    expect(plane.circuits()).toMatchObject([{ state: 'Open', enforced: false }]);
    plane.setLocallyDisabled(false);
    plane.applyPlan(workloadPlan(dependencyPlan({})));
    plane.applyPlan(workloadPlan(dependencyPlan({ circuitBreaker }, { destinations: [dead] })));
    expect(plane.circuits()).toMatchObject([{ state: 'Closed' }]);
    await call(port);
    expect(told).toEqual(['Open', 'Open']);
  });
});

describe('what answers and counters say', () => {
  it('counts a retry when it happens: not one that the circuit refused', async () => {
    const endpoint = await refusing();
    const { port, metric, plane } = await bench({ ...STRICT, retries: RETRIES }, endpoint, [endpoint]);
    plane.setEndpointsStreamUp(true);
    expect(await call(port)).toContain('circuit-open');
    expect(await metric('breakwater_attempts_total')).toBe(1);
    expect(await metric('breakwater_retries_total')).toBe(0);
  });

  it('names a policy only where one refused, and the endpoint that kept the request', async () => {
    const sources = { timeouts: 'ResiliencePolicy shop/payments generation 3' };
    const upstream = await startUpstream(() => {});
    open.push(upstream);
    const timeouts = { ...NO_POLICY.timeouts, requestMs: 60, attemptMs: 60 };
    const { port, setEndpoints, plane } = await bench({ timeouts, sources }, upstream.endpoint, [upstream.endpoint]);
    plane.setEndpointsStreamUp(true);
    const late = await call(port);
    expect(late).toContain(sources.timeouts);
    expect(late).toContain(`"endpoint":"127.0.0.1:${upstream.port}"`);
    setEndpoints();
    expect(await call(port)).toMatch(/no-endpoints(?![^]*ResiliencePolicy)/);
  });

  it('tells an unreachable endpoint from one that refuses', async () => {
    const { port, metric, plane } = await bench({}, { address: '127.0.0.1', port: 1 }, [
      { address: '255.255.255.255', port: 9 },
    ]);
    plane.setEndpointsStreamUp(true);
    expect(await call(port)).toContain('connect-failed');
    expect(await metric('breakwater_upstream_connects_total', { result: 'unreachable' })).toBeGreaterThan(0);
    expect(await metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(0);
  });
});
