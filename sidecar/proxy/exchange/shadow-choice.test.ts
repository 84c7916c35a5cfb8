// What decides where attempts go, in shadow on real ones: outlier detection and load balancing. Counted at the upstreams: nobody goes
// elsewhere because of it.
import { describe, expect, it } from 'vitest';
import type { PolicyPlan, ShadowPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { LoadBalancingPlan } from '../../../plan/policies/load-balancing.ts';
import type { OutlierDetectionPlan } from '../../../plan/policies/outlier-detection.ts';
import { call, shadowDecisions, UNAVAILABLE } from '../testing/calls.ts';
import { type Bench, dependencyPlan, get, RETRIES, startBench, workloadPlan } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const NOTHING: ShadowPlan = { timeouts: null, ...NO_BLOCKS };
const OUTLIER: OutlierDetectionPlan = {
  stateKey: 'shadow.outlierDetection:base',
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 3,
  consecutiveLocalOriginFailures: 3,
  successRate: null,
  intervalMs: 60_000,
  maxEjectionPercent: 50,
  ejectForMs: 60_000,
  maxEjectForMs: 60_000,
  panicThresholdPercent: 0,
};
const ROUND_ROBIN: LoadBalancingPlan = {
  stateKey: 'loadBalancing:base',
  algorithm: 'RoundRobin',
  consistentHash: null,
  slowStart: null,
  zoneAware: 'Hints',
};
const BY_USER: LoadBalancingPlan = {
  ...ROUND_ROBIN,
  stateKey: 'shadow.loadBalancing:base',
  algorithm: 'ConsistentHash',
  consistentHash: { key: 'Header', name: 'X-User', maxLoadPercent: 10_000 },
};

const { open } = opened();

interface Server extends Upstream {
  requests: number;
}

async function server(response = OK): Promise<Server> {
  const answer = answering(() => {
    state.requests += 1;
    return response;
  });
  const state: Server = Object.assign(await startUpstream(answer), { requests: 0 });
  open.push(state);
  return state;
}

const planOf = (shadow: Partial<ShadowPlan>, policy: Partial<PolicyPlan> = {}) =>
  dependencyPlan({ loadBalancing: ROUND_ROBIN, ...policy, shadow: { ...NOTHING, ...shadow } });

async function bench(servers: readonly Upstream[], ...plan: Parameters<typeof planOf>): Promise<Bench> {
  const started = await startBench(
    planOf(...plan),
    servers.map(({ endpoint }) => endpoint),
  );
  open.push(started);
  return started;
}

async function callTimes({ port }: Bench, count: number, request = get('/')): Promise<number[]> {
  const answers: number[] = [];
  for (let nth = 0; nth < count; nth++) answers.push((await call(port, request)).status);
  return answers;
}

const requestsAt = (servers: readonly Server[]) => servers.map(({ requests }) => requests);

describe('outlier detection in shadow', () => {
  it('ejects nobody, and counts who would be, and who was called all the same', async () => {
    const servers = [await server(), await server(UNAVAILABLE), await server(), await server()];
    const started = await bench(servers, { outlierDetection: OUTLIER });
    await callTimes(started, 20);
    expect(requestsAt(servers)).toEqual([5, 5, 5, 5]);
    expect(await started.metric('breakwater_shadow_ejected_endpoints')).toBe(1);
    expect(await started.metric('breakwater_shadow_ejections_total', { cause: 'consecutive-failures' })).toBe(1);
    expect(await shadowDecisions(started)).toEqual({ 'outlierDetection ejected-endpoint': 2 });
    expect(await started.metric('breakwater_outlier_ejections_total')).toBe(0);
    expect(await started.metric('breakwater_endpoints_pickable')).toBe(8);
    expect(started.plane.choices()).toMatchObject([
      {
        choice: 'shadow.outlierDetection:base loadBalancing:base',
        ejected: [{ reason: expect.stringMatching(/^3 consecutive failures/) }],
      },
    ]);
  });

  it('tells the operator who would be out, apart from who is', async () => {
    const servers = [await server(), await server(UNAVAILABLE)];
    const started = await bench(servers, { outlierDetection: OUTLIER });
    await callTimes(started, 8);
    const names = [{ endpoint: `127.0.0.1:${servers[1]?.port}`, reason: expect.stringContaining('3 consecutive') }];
    expect(started.plane.exclusions()).toMatchObject([
      { stateKey: 'shadow.outlierDetection:base', endpoints: 1, totalEndpoints: 2, panicking: false, names },
    ]);
  });

  it('says where the share would have been used up, and where too few would be left', async () => {
    const servers = [await server(UNAVAILABLE), await server(UNAVAILABLE)];
    const withheld = await bench(servers, { outlierDetection: OUTLIER });
    await callTimes(withheld, 20);
    expect(await withheld.metric('breakwater_shadow_ejected_endpoints')).toBe(1);
    expect(await withheld.metric('breakwater_shadow_ejections_withheld_total')).toBe(1);
    const panicking = await bench(servers, { outlierDetection: { ...OUTLIER, panicThresholdPercent: 60 } });
    await callTimes(panicking, 20);
    expect(await panicking.metric('breakwater_shadow_ejected_endpoints')).toBe(1);
    expect(await shadowDecisions(panicking)).toEqual({});
  });

  it('under an enforced one has books of its own', async () => {
    const servers = [await server(), await server(UNAVAILABLE)];
    const enforced = { ...OUTLIER, stateKey: 'outlierDetection:base' };
    const shadow = { outlierDetection: { ...OUTLIER, consecutiveFailures: 2 } };
    const started = await bench(servers, shadow, { outlierDetection: enforced });
    await callTimes(started, 20);
    expect(requestsAt(servers)).toEqual([17, 3]);
    expect(await started.metric('breakwater_outlier_ejections_total')).toBe(1);
    expect(await started.metric('breakwater_shadow_ejections_total')).toBe(1);
    expect(await shadowDecisions(started)).toEqual({ 'outlierDetection ejected-endpoint': 1 });
  });

  it('begins anew when it is promoted', async () => {
    const servers = [await server(), await server(UNAVAILABLE)];
    const started = await bench(servers, { outlierDetection: OUTLIER });
    await callTimes(started, 8);
    expect(await started.metric('breakwater_shadow_ejected_endpoints')).toBe(1);
    const enforced = { ...OUTLIER, stateKey: 'outlierDetection:base' };
    started.plane.applyPlan(workloadPlan(planOf({}, { outlierDetection: enforced })));
    expect(started.plane.choices()).toMatchObject([{ ejected: [] }]);
    expect(await started.metric('breakwater_shadow_ejected_endpoints')).toBe(0);
  });
});

describe('load balancing in shadow', () => {
  it('chooses for nobody, and counts where it would have gone elsewhere', async () => {
    const servers = [await server(), await server(), await server(), await server()];
    const started = await bench(servers, { loadBalancing: BY_USER });
    await callTimes(started, 20, get('/', 'x-user: 7\r\n'));
    expect(requestsAt(servers)).toEqual([5, 5, 5, 5]);
    // Round robin meets the one endpoint of the user at every fourth call.
    expect(await shadowDecisions(started)).toEqual({
      'loadBalancing same-endpoint': 5,
      'loadBalancing other-endpoint': 15,
    });
  });

  it('adds up what the endpoints were expected to cost, once both were measured', async () => {
    const servers = [await server(), await server()];
    const started = await bench(servers, { loadBalancing: { ...ROUND_ROBIN, stateKey: 'shadow.loadBalancing:base' } });
    await callTimes(started, 10);
    const made = await started.metric('breakwater_shadow_expected_cost_seconds_total', { choice: 'made' });
    const shadow = await started.metric('breakwater_shadow_expected_cost_seconds_total', { choice: 'shadow' });
    // Each attempt of eight costs 5 ms at least, which is as fine as costs are told apart.
    expect(Math.min(made, shadow)).toBeGreaterThanOrEqual(0.04);
  });

  it('knows where an attempt failed before, as the enforced one does', async () => {
    const servers = [await server(UNAVAILABLE), await server(UNAVAILABLE)];
    const shadow = { loadBalancing: { ...ROUND_ROBIN, stateKey: 'shadow.loadBalancing:base' } };
    const started = await bench(servers, shadow, { retries: { ...RETRIES, maxAttempts: 2 } });
    await callTimes(started, 10);
    expect(requestsAt(servers)).toEqual([10, 10]);
    const { 'loadBalancing same-endpoint': same = 0, 'loadBalancing other-endpoint': other = 0 } =
      await shadowDecisions(started);
    // The second attempts have one endpoint left.
    expect([same + other, same === 10 || same === 20 || other === 20]).toEqual([20, true]);
  });

  it('says nothing where the application or Kubernetes chose', async () => {
    const one = await server();
    const plan = { ...planOf({ loadBalancing: BY_USER }), balancing: 'ClusterIp' as const };
    const { address, port } = one.endpoint;
    const started = await startBench({ ...plan, destinations: [{ address, port }] }, [one.endpoint]);
    open.push(started);
    expect(await callTimes(started, 3)).toEqual([200, 200, 200]);
    expect(await shadowDecisions(started)).toEqual({});
  });

  it('follows endpoints that come and go', async () => {
    const servers = [await server(), await server()];
    const started = await bench(servers.slice(0, 1), { loadBalancing: BY_USER });
    await callTimes(started, 2);
    started.setEndpoints(...servers.slice(1).map(({ endpoint }) => endpoint));
    await callTimes(started, 2);
    expect(await shadowDecisions(started)).toEqual({ 'loadBalancing same-endpoint': 4 });
  });
});
