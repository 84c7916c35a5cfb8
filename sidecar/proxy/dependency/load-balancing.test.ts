// Where real requests go: counted at the endpoints.
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { LoadBalancingPlan } from '../../../plan/policies/load-balancing.ts';
import {
  type Bench,
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

const { open } = opened();

const BALANCING: LoadBalancingPlan = {
  stateKey: 'loadBalancing:base',
  algorithm: 'PeakEwma',
  consistentHash: null,
  slowStart: null,
  zoneAware: 'Hints',
};
const BY_USER: LoadBalancingPlan = {
  ...BALANCING,
  algorithm: 'ConsistentHash',
  consistentHash: { key: 'Header', name: 'X-User', maxLoadPercent: 150 },
};
const FAILED = 'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n';

interface Pod extends Upstream {
  answer: string;
  /** Requests so far. */
  requests(): number;
}

async function pods(count: number): Promise<Pod[]> {
  const started: Pod[] = [];
  for (let index = 0; index < count; index++) {
    const pod: Pod = Object.assign(await startUpstream(answering(() => pod.answer)), {
      answer: OK,
      requests: () => pod.received.reduce((sum, text) => sum + text.split('\r\n\r\n').length - 1, 0),
    });
    open.push(pod);
    started.push(pod);
  }
  return started;
}

async function bench(loadBalancing: LoadBalancingPlan | null, ...endpoints: Endpoint[]): Promise<Bench> {
  const started = await startBench(dependencyPlan({ loadBalancing }), endpoints);
  open.push(started);
  return started;
}

const endpointsOf = (some: readonly Pod[]) => some.map(({ endpoint }) => endpoint);

/** One after the other, on one connection; the statuses. */
async function call(port: number, count: number, extra: (nth: number) => string = () => ''): Promise<number[]> {
  const client = connect(port);
  const statuses = (text: string) => Array.from(text.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => Number(status));
  for (let nth = 0; nth < count; nth++) {
    client.send(get('/', extra(nth)));
    await client.until((text) => statuses(text).length > nth && /\r\n\r\n(ok|\{.*\})?$/.test(text));
  }
  const text = await client.until(() => true);
  client.socket.destroy();
  return statuses(text);
}

describe('where everything fails', () => {
  it.each([
    ['in seconds', () => 'Retry-After: 60'],
    ['as a date', () => `Retry-After: ${new Date(Date.now() + 60_000).toUTCString()}`],
  ])('requests go to who does not ask, %s, to be left alone for longer', async (_form, field) => {
    const [busy, failing] = await pods(2);
    if (!busy || !failing) throw new Error('two were started');
    busy.answer = FAILED.replace('\r\n', `\r\n${field()}\r\n`);
    failing.answer = FAILED;
    const { port } = await bench(null, busy.endpoint, failing.endpoint);
    const client = connect(port);
    let sent = 0;
    const send = async () => {
      sent += 1;
      client.send(get('/'));
      await client.until((text) => text.split('500 Internal').length - 1 === sent);
    };
    while (busy.requests() === 0 || failing.requests() === 0) await send();
    const before = busy.requests();
    for (let nth = 0; nth < 30; nth += 1) await send();
    expect(busy.requests()).toBe(before);
  });
});

describe('without a policy', () => {
  it('an endpoint that fails at once attracts nothing', async () => {
    const three = await pods(3);
    const [broken] = three;
    if (broken) broken.answer = FAILED;
    const { port } = await bench(null, ...endpointsOf(three));
    const statuses = await call(port, 100);
    expect(broken?.requests()).toBeLessThanOrEqual(2);
    expect(statuses.filter((status) => status !== 200).length).toBe(broken?.requests());
  });

  it('an endpoint that cannot be reached attracts nothing, and no request fails of it', async () => {
    const three = await pods(3);
    three[0]?.close();
    const { port, metric } = await bench(null, ...endpointsOf(three));
    expect(new Set(await call(port, 60))).toEqual(new Set([200]));
    expect(await metric('breakwater_connects_total', { result: 'refused' })).toBeLessThanOrEqual(2);
  });
});

describe('RoundRobin', () => {
  it('calls one endpoint after the other, also over a new plan', async () => {
    const three = await pods(3);
    const { port, plane } = await bench({ ...BALANCING, algorithm: 'RoundRobin' }, ...endpointsOf(three));
    await call(port, 4);
    plane.applyPlan(workloadPlan(dependencyPlan({ loadBalancing: { ...BALANCING, algorithm: 'RoundRobin' } })));
    await call(port, 5);
    expect(three.map((pod) => pod.requests())).toEqual([3, 3, 3]);
  });
});

describe('ConsistentHash', () => {
  it('keeps a user with an endpoint, and spreads users and those who are none', async () => {
    const four = await pods(4);
    const { port } = await bench(BY_USER, ...endpointsOf(four));
    await call(port, 20, () => 'x-user: joan\r\n');
    expect(four.map((pod) => pod.requests()).filter((count) => count > 0)).toEqual([20]);
    await call(port, 60, (nth) => `x-user: user-${nth}\r\n`);
    expect(four.every((pod) => pod.requests() > 2)).toBe(true);
    const before = four.map((pod) => pod.requests());
    await call(port, 40);
    expect(four.filter((pod, index) => pod.requests() > (before[index] ?? 0)).length).toBeGreaterThan(1);
  });

  it('sends a retry to another endpoint, and the next request to its own again', async () => {
    const three = await pods(3);
    const started = await startBench(
      dependencyPlan({ loadBalancing: BY_USER, retries: { ...RETRIES, retryOn: ['ServerError'] } }),
      endpointsOf(three),
    );
    open.push(started);
    await call(started.port, 1, () => 'x-user: joan\r\n');
    const own = three.find((pod) => pod.requests() === 1);
    if (own) own.answer = FAILED;
    expect(await call(started.port, 3, () => 'x-user: joan\r\n')).toEqual([200, 200, 200]);
    expect(own?.requests()).toBe(4);
    expect(three.reduce((sum, pod) => sum + pod.requests(), 0)).toBe(7);
  });
});

describe('hints', () => {
  it('keep requests in the zone of the pod once it is known, until an endpoint has none', async () => {
    const [west, east, north] = await pods(3);
    if (!west || !east || !north) throw new Error('three pods');
    const { port, plane, setEndpoints } = await bench(
      { ...BALANCING, algorithm: 'LeastRequest' },
      { ...west.endpoint, zones: ['west'] },
      { ...east.endpoint, zones: ['east'] },
    );
    await call(port, 30);
    expect([west, east].every((pod) => pod.requests() > 5)).toBe(true);
    plane.setPlacement({ node: 'n1', zone: 'west' });
    const before = east.requests();
    await call(port, 20);
    expect(east.requests()).toBe(before);
    setEndpoints({ ...west.endpoint, zones: ['west'] }, { ...east.endpoint, zones: ['east'] }, north.endpoint);
    await call(port, 60);
    expect(east.requests()).toBeGreaterThan(before);
    expect(north.requests()).toBeGreaterThan(0);
  });

  it('do not count where the policy says so', async () => {
    const [west, east] = await pods(2);
    if (!west || !east) throw new Error('two pods');
    const { port, plane } = await bench(
      { ...BALANCING, algorithm: 'RoundRobin', zoneAware: 'Disabled' },
      { ...west.endpoint, zones: ['west'] },
      { ...east.endpoint, zones: ['east'] },
    );
    plane.setPlacement({ node: 'n1', zone: 'west' });
    await call(port, 10);
    expect([west, east].map((pod) => pod.requests())).toEqual([5, 5]);
  });
});

describe('slow start', () => {
  it('gives an endpoint that joins a small share, and those of the first set all of theirs', async () => {
    const [first, second, joining] = await pods(3);
    if (!first || !second || !joining) throw new Error('three pods');
    const slow = { ...BALANCING, algorithm: 'LeastRequest', slowStart: { windowMs: 600_000 } } as const;
    const { port, setEndpoints } = await bench(slow, first.endpoint, second.endpoint);
    await call(port, 40);
    expect(Math.min(first.requests(), second.requests())).toBeGreaterThan(8);
    setEndpoints(first.endpoint, second.endpoint, joining.endpoint);
    await call(port, 300);
    expect(joining.requests()).toBeGreaterThan(0);
    expect(joining.requests()).toBeLessThan(40);
  });
});

describe('rules', () => {
  it('may balance in a way of their own', async () => {
    const three = await pods(3);
    const plan = dependencyPlan(
      {},
      {
        levels: [[{ name: 'cart', matches: [{ method: null, path: { type: 'PathPrefix', value: '/cart' } }] }]],
        combinations: [0, 1],
        policies: [
          { ...NO_POLICY, loadBalancing: { ...BALANCING, algorithm: 'RoundRobin' } },
          { ...NO_POLICY, rule: 'cart', loadBalancing: { ...BY_USER, stateKey: 'loadBalancing:cart' } },
        ],
      },
    );
    const started = await startBench(plan, endpointsOf(three));
    open.push(started);
    await call(started.port, 9, () => 'x-user: joan\r\n');
    expect(three.map((pod) => pod.requests())).toEqual([3, 3, 3]);
    const client = connect(started.port);
    for (let nth = 1; nth <= 5; nth++) {
      client.send(get('/cart', 'x-user: joan\r\n'));
      await client.until((text) => text.split('ok').length > nth);
    }
    client.socket.destroy();
    expect(three.map((pod) => pod.requests()).toSorted((a, b) => a - b)).toEqual([3, 3, 8]);
  });
});

it('a retry of a request from before the plan goes to endpoints of now', async () => {
  const [before, now] = await pods(2);
  if (!before || !now) throw new Error('two pods');
  before.answer = FAILED.replace('500 Internal Server Error', '503 Service Unavailable');
  const retries = { ...RETRIES, backoffInitialMs: 1_000, backoffMaxMs: 1_000 };
  const roundRobin: LoadBalancingPlan = { ...BALANCING, algorithm: 'RoundRobin' };
  const started = await startBench(dependencyPlan({ retries, loadBalancing: roundRobin }), [before.endpoint]);
  open.push(started);
  const client = connect(started.port);
  client.send(get('/'));
  await expect.poll(() => before.requests()).toBe(1);
  started.plane.applyPlan(workloadPlan(dependencyPlan({ retries })));
  before.close();
  started.setEndpoints(now.endpoint);
  expect(await client.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 /);
  client.socket.destroy();
  expect(now.requests()).toBe(1);
  expect(await started.metric('breakwater_attempts_total')).toBe(2);
});
