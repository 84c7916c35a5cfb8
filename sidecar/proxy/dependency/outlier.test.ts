// Ejection on real requests: counted at the upstreams, which are the only places that cannot be fooled.
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import type { LoadBalancingPlan } from '../../../plan/policies/load-balancing.ts';
import type { OutlierDetectionPlan } from '../../../plan/policies/outlier-detection.ts';
import { UNAVAILABLE } from '../testing/calls.ts';
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
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const OUTLIER: OutlierDetectionPlan = {
  stateKey: 'outlierDetection:base',
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 3,
  consecutiveLocalOriginFailures: 3,
  successRate: null,
  intervalMs: 1_000,
  maxEjectionPercent: 50,
  ejectForMs: 60_000,
  maxEjectForMs: 60_000,
  panicThresholdPercent: 50,
};
/** By default one failure keeps requests away from an endpoint, and there would be nothing left to eject. */
const LEAST_REQUEST: LoadBalancingPlan = {
  stateKey: 'loadBalancing:base',
  algorithm: 'LeastRequest',
  consistentHash: null,
  slowStart: null,
  zoneAware: 'Hints',
};
const { open } = opened();

interface Server extends Upstream {
  requests: number;
  broken: boolean;
}

/** Answers 200, or 503 while it is broken. */
async function server(broken = false): Promise<Server> {
  const answer = answering(() => {
    state.requests += 1;
    return state.broken ? UNAVAILABLE : OK;
  });
  const state: Server = Object.assign(await startUpstream(answer), { requests: 0, broken });
  open.push(state);
  return state;
}

async function bench(
  policy: Partial<PolicyPlan>,
  servers: readonly Upstream[],
  changes?: Partial<DependencyPlan>,
): Promise<Bench> {
  const started = await startBench(
    dependencyPlan({ loadBalancing: LEAST_REQUEST, ...policy }, changes),
    servers.map(({ endpoint }) => endpoint),
  );
  open.push(started);
  return started;
}

/** The status that the application gets. */
async function call(port: number, request = get('/')): Promise<number> {
  const client = connect(port);
  client.send(request);
  const text = await client
    .until((received) => received.includes('\r\n\r\n') && (received.includes('ok') || received.includes('gth: ')))
    .finally(() => client.socket.destroy());
  return Number(text.split(' ')[1]);
}

async function calls(port: number, count: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let nth = 0; nth < count; nth++) statuses.push(await call(port));
  return statuses;
}

const failed = (statuses: readonly number[]) => statuses.filter((status) => status !== 200).length;

describe('outlier detection', () => {
  it('sends nothing more to the one bad endpoint of four, and the circuit beside it stays closed', async () => {
    const servers = [await server(), await server(true), await server(), await server()];
    const { port, plane, metric } = await bench({ outlierDetection: OUTLIER, circuitBreaker: BREAKER }, servers);
    expect(failed(await calls(port, 60))).toBe(3);
    expect(servers[1]?.requests).toBe(3);
    expect(plane.circuits()).toMatchObject([{ state: 'Closed' }]);
    expect(plane.choices()).toMatchObject([
      {
        dependency: 'shop/checkout/payments',
        choice: 'outlierDetection:base loadBalancing:base',
        endpoints: 4,
        pickable: 3,
        maxEjected: 2,
        panicking: false,
        ejected: [
          { endpoint: `127.0.0.1:${servers[1]?.port}`, reason: '3 consecutive failures (last: ServerError)', times: 1 },
        ],
      },
    ]);
    const labels = { dependency: 'payments', detection: 'outlierDetection:base' };
    expect(await metric('breakwater_outlier_ejections_total', { ...labels, cause: 'consecutive-failures' })).toBe(1);
    expect(await metric('breakwater_outlier_ejected_endpoints', labels)).toBe(1);
    expect(await metric('breakwater_endpoints_panic', { dependency: 'payments' })).toBe(0);
  });

  it('with retries hides a bad endpoint from the application', async () => {
    const servers = [await server(), await server(true), await server()];
    const { port } = await bench({ outlierDetection: OUTLIER, retries: RETRIES }, servers);
    expect(failed(await calls(port, 40))).toBe(0);
    expect(servers[1]?.requests).toBe(3);
  });

  it('ejects who gives no answer: refused, reset, silent', async () => {
    const refusing = await startUpstream(() => {});
    refusing.close();
    const resetting = await startUpstream((_received, socket) => socket.resetAndDestroy());
    const silent = await startUpstream(() => {});
    open.push(resetting, silent);
    const servers = [refusing, resetting, silent, await server(), await server(), await server()];
    const timeouts = { ...NO_POLICY.timeouts, attemptMs: 50 };
    const { port, plane } = await bench({ timeouts, outlierDetection: OUTLIER, retries: RETRIES }, servers);
    await calls(port, 80);
    const [choice] = plane.choices();
    expect(
      choice?.ejected.map(({ endpoint, reason }) => `${endpoint} ${/last: (\w+)/.exec(reason)?.[1]}`).sort(),
    ).toEqual(
      [
        `127.0.0.1:${refusing.port} ConnectFailure`,
        `127.0.0.1:${resetting.port} Reset`,
        `127.0.0.1:${silent.port} AttemptTimeout`,
      ].sort(),
    );
    expect(choice?.panicking).toBe(false);
    expect(failed(await calls(port, 20))).toBe(0);
  });

  it('lets the endpoint back in when its time is over', async () => {
    const servers = [await server(), await server(true)];
    const { port, plane } = await bench({ outlierDetection: { ...OUTLIER, ejectForMs: 1_000 } }, servers);
    await calls(port, 20);
    expect(plane.choices()[0]?.ejected).toHaveLength(1);
    for (const each of servers) each.broken = false;
    await expect.poll(() => plane.choices()[0]?.ejected.length, { timeout: 3_000 }).toBe(0);
    const before = servers[1]?.requests ?? 0;
    expect(failed(await calls(port, 20))).toBe(0);
    expect(servers[1]?.requests).toBeGreaterThan(before);
  });

  it('leaves the only endpoint, and one of two, whatever they answer', async () => {
    const alone = await server(true);
    const first = await bench({ outlierDetection: { ...OUTLIER, maxEjectionPercent: 100 } }, [alone]);
    expect(failed(await calls(first.port, 12))).toBe(12);
    expect(alone.requests).toBe(12);
    const two = [await server(true), await server(true)];
    const second = await bench({ outlierDetection: { ...OUTLIER, maxEjectionPercent: 100 } }, two);
    await calls(second.port, 20);
    expect(second.plane.choices()[0]?.ejected).toHaveLength(1);
    expect(await second.metric('breakwater_outlier_ejections_withheld_total')).toBe(1);
  });

  it('uses all endpoints where too few are left, and says so', async () => {
    const servers = [await server(true), await server(true), await server(true), await server()];
    const policy = { outlierDetection: { ...OUTLIER, maxEjectionPercent: 100 } };
    const { port, plane, metric } = await bench(policy, servers);
    await calls(port, 60);
    expect(plane.choices()[0]).toMatchObject({ panicking: true, pickable: 4 });
    expect(plane.choices()[0]?.ejected).toHaveLength(3);
    expect(await metric('breakwater_endpoints_panic')).toBe(1);
    expect(await metric('breakwater_endpoints_panics_total')).toBe(1);
    const before = servers.map(({ requests }) => requests);
    await calls(port, 40);
    servers.forEach(({ requests }, index) => expect(requests).toBeGreaterThan(before[index] ?? 0));
  });

  it('blames nobody for callers that went away or were slow, nor for refusals of the sidecar', async () => {
    const waiting = await startUpstream(() => {});
    open.push(waiting);
    const servers = [waiting, await server()];
    const { port, plane } = await bench(
      {
        timeouts: { ...NO_POLICY.timeouts, attemptMs: 300 },
        outlierDetection: { ...OUTLIER, consecutiveFailures: 1, consecutiveLocalOriginFailures: 1 },
      },
      servers,
    );
    for (let nth = 0; nth < 8; nth++) {
      const before = waiting.received.join('').length;
      const client = connect(port);
      let answered = false;
      client.socket.on('data', () => {
        answered = true;
      });
      client.send(get('/'));
      await expect.poll(() => answered || waiting.received.join('').length > before, { timeout: 2_000 }).toBe(true);
      client.socket.resetAndDestroy();
    }
    // The rest of the body is the application's to send: the time that it takes is not the endpoint's.
    for (let nth = 0; nth < 4; nth++) {
      const slow = connect(port);
      slow.send('POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 10\r\n\r\nhalf');
      await slow.until((received) => received.includes('\r\n\r\n'));
      slow.socket.destroy();
    }
    expect(waiting.connections).toBeGreaterThan(0);
    expect(plane.choices()[0]?.ejected).toEqual([]);
  });

  it('keeps what it knows over a new plan and over endpoints that stay', async () => {
    const servers = [await server(), await server(true), await server(), await server()];
    const plan = dependencyPlan({ outlierDetection: OUTLIER, loadBalancing: LEAST_REQUEST });
    const { port, plane, setEndpoints } = await bench({ outlierDetection: OUTLIER }, servers);
    await calls(port, 40);
    plane.applyPlan(
      workloadPlan({
        ...plan,
        policies: [
          { ...NO_POLICY, loadBalancing: LEAST_REQUEST, outlierDetection: { ...OUTLIER, consecutiveFailures: 9 } },
        ],
      }),
    );
    expect(plane.choices()[0]?.ejected).toHaveLength(1);
    setEndpoints(...servers.slice(0, 3).map(({ endpoint }) => endpoint));
    expect(plane.choices()[0]).toMatchObject({ endpoints: 3, pickable: 2 });
    const before = servers[1]?.requests;
    await calls(port, 20);
    expect(servers[1]?.requests).toBe(before);
    // Gone and back: a stranger at the same address.
    setEndpoints(...servers.filter((_, index) => index !== 1).map(({ endpoint }) => endpoint));
    setEndpoints(...servers.map(({ endpoint }) => endpoint));
    expect(plane.choices()[0]?.ejected).toEqual([]);
    plane.applyPlan(workloadPlan(dependencyPlan({})));
    expect(plane.choices()).toEqual([]);
  });

  it('of a rule is its own: the others still go to the endpoint', async () => {
    const post = { name: 'charge', matches: [{ method: 'POST', path: null }] };
    const servers = [await server(), await server(true)];
    const { port, plane } = await bench({}, servers, {
      levels: [[post]],
      combinations: [0, 1],
      policies: [
        { ...NO_POLICY, loadBalancing: LEAST_REQUEST, outlierDetection: { ...OUTLIER, consecutiveFailures: 1_000 } },
        {
          ...NO_POLICY,
          rule: 'charge',
          loadBalancing: LEAST_REQUEST,
          outlierDetection: { ...OUTLIER, stateKey: 'outlierDetection:shop/team/charge' },
        },
      ],
    });
    for (let nth = 0; nth < 20; nth++)
      await call(port, 'POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 0\r\n\r\n');
    expect(servers[1]?.requests).toBe(3);
    expect(plane.choices().map(({ choice, ejected }) => `${choice} ${ejected.length}`)).toEqual([
      'outlierDetection:base loadBalancing:base 0',
      'outlierDetection:shop/team/charge loadBalancing:base 1',
    ]);
    await calls(port, 20);
    expect(servers[1]?.requests).toBeGreaterThan(3);
  });

  it('does not act while the kill switch is thrown', async () => {
    const servers = [await server(), await server(true)];
    const { port, plane } = await bench({ outlierDetection: OUTLIER }, servers);
    await calls(port, 20);
    const before = servers[1]?.requests ?? 0;
    plane.setLocallyDisabled(true);
    expect(plane.choices()[0]).toMatchObject({ enforced: false });
    // Nobody else is left: an ejected endpoint would not be asked even then.
    servers[0]?.close();
    await calls(port, 20);
    expect(servers[1]?.requests).toBeGreaterThan(before);
  });
});
