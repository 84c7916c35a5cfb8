// Active health checks with real sockets: what the endpoints are asked, and where requests then go.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import type { LoadBalancingPlan } from '../../../plan/policies/load-balancing.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { shadowDecisions } from '../testing/calls.ts';
import {
  type Bench,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  startBench,
  startCaptured,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { quickClock } from '../testing/quick-clock.ts';
import { answering, freePort, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';
import { MAX_CHECKS_UNDER_WAY } from './health-prober.ts';

// The data path looks twice a second for what is due: here five times as often, and the interval is shorter than a resource may say.
const SPEED = 5;
const CHECK: HealthCheckPlan = {
  stateKey: 'healthCheck:base',
  path: '/healthz?full',
  host: null,
  port: null,
  intervalMs: 100,
  timeoutMs: 30_000,
  unhealthyThreshold: 2,
  healthyThreshold: 2,
  expectedStatuses: [200],
  grpc: null,
};
const SICK = 'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n';

const { open } = opened();

interface Server extends Upstream {
  checks: string[];
  requests: number;
  sick: boolean;
}

/** Answers requests with 200, and checks as its health is. */
async function server(sick = false): Promise<Server> {
  const answer = answering((request) => {
    if (!request.startsWith('GET /healthz')) {
      state.requests += 1;
      return OK;
    }
    state.checks.push(request);
    return state.sick ? SICK : OK;
  });
  const state: Server = Object.assign(await startUpstream(answer), { checks: [], requests: 0, sick });
  open.push(state);
  return state;
}

async function bench(
  policy: Partial<PolicyPlan>,
  servers: readonly Upstream[],
  changes?: Partial<DependencyPlan>,
): Promise<Bench> {
  const started = await startBench(
    dependencyPlan(policy, changes),
    servers.map(({ endpoint }) => endpoint),
    { clock: quickClock(SPEED) },
  );
  open.push(started);
  return started;
}

async function calls(port: number, count: number): Promise<number> {
  let good = 0;
  for (let nth = 0; nth < count; nth++) {
    const client = connect(port);
    client.send(get('/'));
    const text = await client.until((received) => received.includes('ok')).finally(() => client.socket.destroy());
    if (text.startsWith('HTTP/1.1 200')) good += 1;
  }
  return good;
}

const unhealthy = ({ plane }: Pick<Bench, 'plane'>) =>
  plane.choices()[0]?.unhealthy.map(({ endpoint }) => endpoint) ?? [];
const soon = { timeout: 20_000, interval: 20 };

describe('health checks', () => {
  it('send no request to an endpoint that fails them, and all again once it passes', async () => {
    const servers = [await server(), await server(true), await server()];
    const started = await bench({ healthCheck: CHECK }, servers);
    await expect.poll(() => unhealthy(started), soon).toEqual([`127.0.0.1:${servers[1]?.port}`]);
    expect(started.plane.choices()).toMatchObject([
      {
        choice: 'healthCheck:base',
        endpoints: 3,
        pickable: 2,
        maxEjected: 0,
        panicking: false,
        ejected: [],
        unhealthy: [{ problem: 'the answer had status 500' }],
      },
    ]);
    expect(await calls(started.port, 30)).toBe(30);
    expect(servers.map(({ requests }) => requests > 0)).toEqual([true, false, true]);
    const labels = { dependency: 'payments', check: 'healthCheck:base' };
    expect(await started.metric('breakwater_unhealthy_endpoints', labels)).toBe(1);
    expect(await started.metric('breakwater_health_checks_total', { ...labels, result: 'failed' })).toBeGreaterThan(1);
    expect(await started.metric('breakwater_health_checks_total', { ...labels, result: 'passed' })).toBeGreaterThan(3);
    // Not requests, not attempts, and not connections of requests.
    expect(await started.metric('breakwater_requests_total')).toBe(30);
    expect(await started.metric('breakwater_attempts_total')).toBe(30);
    expect(started.plane.held().attempts).toBe(0);
    for (const each of servers) each.sick = false;
    await expect.poll(() => unhealthy(started), soon).toEqual([]);
    await calls(started.port, 30);
    expect(servers[1]?.requests).toBeGreaterThan(0);
  });

  it('tell the log of each turn and nothing else, and who listens which endpoints get no calls', async () => {
    const told: unknown[] = [];
    const tell = (level: string) => (facts: object, text: string) => told.push({ level, text, ...facts });
    const log = Object.assign(Object.create(silentLogger) as typeof silentLogger, {
      info: tell('info'),
      warn: tell('warn'),
    });
    const servers = [await server(), await server(true), await server()];
    const endpoints = servers.map(({ endpoint }) => endpoint);
    const started = await startBench(dependencyPlan({ healthCheck: CHECK }), endpoints, {
      clock: quickClock(SPEED),
      log,
    });
    open.push(started);
    let changes = 0;
    started.plane.onExclusionChange(() => {
      changes += 1;
    });
    await expect.poll(() => told, soon).toHaveLength(1);
    await expect.poll(() => changes, soon).toBe(1);
    expect(started.plane.exclusions()).toEqual([
      {
        dependency: 'shop/checkout/payments',
        stateKey: 'healthCheck:base',
        endpoints: 1,
        totalEndpoints: 3,
        sinceUnixMs: expect.any(Number),
        panicking: false,
        names: [{ endpoint: `127.0.0.1:${servers[1]?.port}`, reason: 'the answer had status 500' }],
      },
    ]);
    for (const each of servers) each.sick = false;
    await expect.poll(() => told, soon).toHaveLength(2);
    expect(started.plane.exclusions()).toEqual([]);
    await expect.poll(() => changes, soon).toBe(2);
    const facts = {
      dependency: 'shop/checkout/payments',
      check: 'healthCheck:base',
      endpoint: `127.0.0.1:${servers[1]?.port}`,
    };
    expect(told).toEqual([
      {
        ...facts,
        level: 'warn',
        text: 'the endpoint fails its health checks',
        problem: 'the answer had status 500',
      },
      { ...facts, level: 'info', text: 'the endpoint passes its health checks again' },
    ]);
  });

  it('ask by GET for the path, under the name of the dependency, each on a connection of its own', async () => {
    const only = await server();
    await bench({ healthCheck: CHECK }, [only]);
    await expect.poll(() => only.checks.length, soon).toBeGreaterThan(2);
    expect(only.checks[0]).toMatch(
      /^GET \/healthz\?full HTTP\/1\.1\r\nHost: payments\.billing\.svc\.cluster\.local:8080\r\n/,
    );
    expect(only.checks[0]).toContain('\r\nUser-Agent: breakwater-health-check');
    expect(only.checks[0]).toMatch(/\r\nX-Correlation-ID: [0-9a-f]{32}/);
    expect(only.connections).toBeGreaterThanOrEqual(only.checks.length);
  });

  it('say why: refused, silent, cut, no HTTP, another status', async () => {
    const refusing = await startUpstream(() => {});
    refusing.close();
    const silent = await startUpstream(() => {});
    const cutting = await startUpstream((_received, socket) => socket.destroy());
    const foreign = await startUpstream((_received, socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n\r\n'));
    const redirecting = await startUpstream(answering('HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'));
    open.push(silent, cutting, foreign, redirecting);
    const servers = [refusing, silent, cutting, foreign, redirecting];
    const started = await bench({ healthCheck: { ...CHECK, timeoutMs: 6_000 } }, servers);
    await expect.poll(() => unhealthy(started).length, soon).toBe(5);
    const problems = new Map(started.plane.choices()[0]?.unhealthy.map(({ endpoint, problem }) => [endpoint, problem]));
    expect(servers.map(({ port }) => problems.get(`127.0.0.1:${port}`))).toEqual([
      'the connection was refused',
      'no answer within 6000 ms',
      'the connection was lost before an answer',
      'the answer is no valid HTTP/1.1',
      'the answer had status 302',
    ]);
  });

  it('leave all endpoints in use where too few are healthy', async () => {
    const servers = [await server(true), await server(true), await server()];
    const started = await bench({ healthCheck: CHECK }, servers);
    await expect.poll(() => unhealthy(started).length, soon).toBe(2);
    expect(started.plane.choices()[0]).toMatchObject({ panicking: true, pickable: 3 });
    expect(await started.metric('breakwater_endpoints_panics_total', { choice: 'healthCheck:base' })).toBe(1);
    await calls(started.port, 40);
    expect(servers.map(({ requests }) => requests > 0)).toEqual([true, true, true]);
  });

  it('may ask another port than that of the calls, and under another name', async () => {
    const side = await server(true);
    const servers = [await server(), await server()];
    const started = await bench({ healthCheck: { ...CHECK, port: side.port, host: 'status.example.com' } }, servers);
    await expect.poll(() => unhealthy(started).length, soon).toBe(2);
    expect(servers.flatMap(({ checks }) => checks)).toEqual([]);
    expect(side.checks[0]).toContain('\r\nHost: status.example.com\r\n');
  });

  it('ask the addresses of a host outside the cluster', async () => {
    const port = await freePort();
    const started = await startCaptured(
      workloadPlan(
        dependencyPlan(
          { healthCheck: CHECK },
          {
            service: null,
            host: { name: 'api.example.com', port },
            authority: `api.example.com:${port}`,
            balancing: 'Dns',
          },
        ),
      ),
      { clock: quickClock(SPEED), names: new TableOfNames({ 'api.example.com': ['127.0.0.2'] }) },
    );
    open.push(started.plane);
    await expect.poll(() => unhealthy(started), soon).toEqual([`127.0.0.2:${port}`]);
  });

  it('ask nobody before the first plan, while a kill switch is thrown, or where the sidecar does not choose', async () => {
    const only = await server(true);
    const started = await bench({ healthCheck: CHECK }, [only]);
    await expect.poll(() => unhealthy(started).length, soon).toBe(1);
    started.plane.setLocallyDisabled(true);
    await expect.poll(() => started.plane.held(), soon).toMatchObject({ healthChecks: 0, timers: 0 });
    const lookedTwice = async () => {
      const before = only.checks.length;
      const untilMs = performance.now() + 1_200 / SPEED;
      await expect.poll(() => performance.now() > untilMs, { timeout: 3_000 }).toBe(true);
      return only.checks.length - before;
    };
    expect(await lookedTwice()).toBe(0);
    started.plane.setLocallyDisabled(false);
    await expect.poll(lookedTwice, soon).toBeGreaterThan(0);
    const changes = { balancing: 'OriginalDestination' } as const;
    started.plane.applyPlan(workloadPlan(dependencyPlan({ healthCheck: CHECK }, changes)));
    await expect.poll(() => started.plane.held().healthChecks, soon).toBe(0);
    expect(await lookedTwice()).toBe(0);
  }, 15_000);

  it('are few at a time, however many endpoints there are, and end with the data path', async () => {
    let most = 0;
    let underWay = () => 0;
    const sockets = new Set<Socket>();
    const silent = await startUpstream(
      () => {},
      (socket) => {
        sockets.add(socket);
        most = Math.max(most, underWay());
        socket.on('close', () => sockets.delete(socket));
      },
    );
    open.push(silent);
    // All are asked at the one port that never answers.
    const endpoints = Array.from({ length: 60 }, (_, nth) => ({ address: '127.0.0.1', port: 20_000 + nth }));
    const healthCheck = { ...CHECK, port: silent.port, timeoutMs: 200 };
    const started = await startBench(dependencyPlan({ healthCheck }), endpoints);
    open.push(started);
    underWay = () => started.plane.held().healthChecks;
    await expect.poll(underWay, soon).toBe(MAX_CHECKS_UNDER_WAY);
    // The others wait for their turn, and get it.
    await expect.poll(() => silent.connections, soon).toBeGreaterThan(60);
    started.plane.close();
    expect(started.plane.held()).toMatchObject({ healthChecks: 0, timers: 0 });
    await expect.poll(() => sockets.size, soon).toBe(0);
    expect(most).toBe(MAX_CHECKS_UNDER_WAY);
  });

  it('keep what they know over a new plan and over endpoints that stay, and narrow together with ejections', async () => {
    const servers = [await server(true), await server(), await server(), await server()];
    const started = await bench({ healthCheck: CHECK }, servers);
    await expect.poll(() => unhealthy(started).length, soon).toBe(1);
    const outlierDetection = {
      stateKey: 'outlierDetection:base',
      failureOn: [],
      consecutiveFailures: 0,
      consecutiveLocalOriginFailures: 0,
      successRate: null,
      intervalMs: 1_000,
      maxEjectionPercent: 50,
      ejectForMs: 1_000,
      maxEjectForMs: 1_000,
      panicThresholdPercent: 80,
    };
    const policies = [{ ...NO_POLICY, healthCheck: { ...CHECK, intervalMs: 60_000 }, outlierDetection }];
    started.plane.applyPlan(workloadPlan({ ...dependencyPlan({}), policies }));
    expect(started.plane.choices()).toMatchObject([
      { choice: 'outlierDetection:base healthCheck:base', pickable: 4, panicking: true, unhealthy: [{}] },
    ]);
    started.setEndpoints(...servers.slice(1).map(({ endpoint }) => endpoint));
    expect(started.plane.choices()).toMatchObject([{ pickable: 3, panicking: false, unhealthy: [] }]);
  });
});

describe('health checks in shadow', () => {
  const SHADOW = { ...CHECK, stateKey: 'shadow.healthCheck:base' };
  const shadow = (healthCheck: HealthCheckPlan) => ({ timeouts: null, ...NO_BLOCKS, healthCheck });

  it('ask, leave nobody out, and count who would not have been called', async () => {
    const servers = [await server(), await server(true), await server()];
    const loadBalancing: LoadBalancingPlan = {
      stateKey: 'loadBalancing:base',
      algorithm: 'RoundRobin',
      consistentHash: null,
      slowStart: null,
      zoneAware: 'Hints',
    };
    const started = await bench({ loadBalancing, shadow: shadow(SHADOW) }, servers);
    const labels = { dependency: 'payments', check: 'shadow.healthCheck:base' };
    await expect.poll(() => started.metric('breakwater_shadow_unhealthy_endpoints', labels), soon).toBe(1);
    expect(await calls(started.port, 30)).toBe(30);
    expect(servers.map(({ requests }) => requests)).toEqual([10, 10, 10]);
    expect(await shadowDecisions(started)).toEqual({ 'healthCheck unhealthy-endpoint': 10 });
    expect(
      await started.metric('breakwater_shadow_health_checks_total', { ...labels, result: 'failed' }),
    ).toBeGreaterThan(1);
    expect(await started.metric('breakwater_health_checks_total')).toBe(0);
    expect(await started.metric('breakwater_unhealthy_endpoints')).toBe(0);
    expect(started.plane.choices()).toMatchObject([
      { choice: 'shadow.healthCheck:base loadBalancing:base', pickable: 2, unhealthy: [{}] },
    ]);
    expect(started.plane.exclusions()).toMatchObject([
      { stateKey: 'shadow.healthCheck:base', endpoints: 1, totalEndpoints: 3, panicking: false },
    ]);
  });

  it('count nobody where all would be used', async () => {
    const servers = [await server(true), await server(true)];
    const started = await bench({ shadow: shadow(SHADOW) }, servers);
    await expect.poll(() => started.metric('breakwater_shadow_unhealthy_endpoints'), soon).toBe(2);
    await calls(started.port, 10);
    expect(await shadowDecisions(started)).toEqual({});
  });

  it('over enforced ones have results of their own, and end with the plan', async () => {
    const servers = [await server(), await server(true), await server()];
    const strict = { ...SHADOW, expectedStatuses: [204] };
    const started = await bench({ healthCheck: CHECK, shadow: shadow(strict) }, servers);
    await expect.poll(() => started.metric('breakwater_shadow_unhealthy_endpoints'), soon).toBe(3);
    await expect.poll(() => started.metric('breakwater_unhealthy_endpoints'), soon).toBe(1);
    await calls(started.port, 20);
    expect(servers[1]?.requests).toBe(0);
    started.plane.applyPlan(workloadPlan(dependencyPlan({})));
    await expect.poll(() => started.plane.held(), soon).toMatchObject({ healthChecks: 0, timers: 0 });
    expect(await started.metric('breakwater_shadow_unhealthy_endpoints')).toBe(0);
  });
});
