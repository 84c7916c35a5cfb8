// Hedging in shadow on real connections: what would have been sent is counted, and nothing is.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan, ShadowPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { call, shadowDecisions } from '../testing/calls.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  HEDGING,
  RETRIES,
  startBench,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, type Upstream } from '../testing/upstreams.ts';

const { open, upstream } = opened();

/** Far above what a fast answer takes on a busy machine, and far below a slow one. */
const DELAY_MS = 100;
const SHADOW = {
  timeouts: null,
  ...NO_BLOCKS,
  hedging: { ...HEDGING, minDelayMs: DELAY_MS, maxDelayMs: DELAY_MS, stateKey: 'shadow.hedging:base' },
};
const ENOUGH_CALLS = 20;
/** However long it takes: what requests bring here is far from another one. */
const ONE_RETRY = { budgetPercent: 1, budgetMinPerSecond: 0 };
/** Longer than the delay and all that the machine may add to it. */
const SLOW_MS = 400;

/** Answers at once, but what goes to /slow, or what has a body that ends in "slow", only after a while. */
function server(): Promise<Upstream> {
  const answered = new WeakMap<Socket, number>();
  return upstream((received, socket) => {
    const text = received.slice(answered.get(socket) ?? 0);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (text.length < text.indexOf('\r\n\r\n') + 4 + length || !text.includes('\r\n\r\n')) return;
    answered.set(socket, received.length);
    if (!text.includes('slow')) socket.write(OK);
    else systemClock.after(SLOW_MS, () => socket.writable && socket.write(OK));
  });
}

interface Shadowed {
  bench: Bench;
  /** Requests that the upstreams got. */
  requests: () => number;
}

async function shadowed(
  policy: Partial<PolicyPlan> = {},
  { shadow = SHADOW, endpoints = 2 }: { shadow?: ShadowPlan; endpoints?: number } = {},
): Promise<Shadowed> {
  const upstreams = await Promise.all(Array.from({ length: endpoints }, () => server()));
  const plan = dependencyPlan({ retries: RETRIES, ...policy, shadow });
  const bench = await startBench(
    plan,
    upstreams.map(({ endpoint }) => endpoint),
  );
  open.push(bench);
  const client = connect(bench.port);
  for (let nth = 1; nth <= ENOUGH_CALLS; nth++) {
    client.send(get('/fast'));
    await client.until((text) => text.split('\r\n\r\nok').length > nth);
  }
  client.socket.destroy();
  const delaySeconds = () => bench.metric('breakwater_shadow_hedging_delay_seconds');
  await expect.poll(delaySeconds, { interval: 10 }).toBeGreaterThan(0);
  const count = ({ received }: Upstream) => received.join('').match(/HTTP\/1\.1\r\n/g)?.length ?? 0;
  return { bench, requests: () => upstreams.reduce((sum, each) => sum + count(each), 0) - ENOUGH_CALLS };
}

const post = (path: string, body = '') =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

describe('hedging in shadow', () => {
  it('sends nothing, and counts what it would have sent', async () => {
    const { bench, requests } = await shadowed();
    for (const path of ['/slow', '/fast', '/slow']) expect((await call(bench.port, get(path))).status).toBe(200);
    expect(await shadowDecisions(bench)).toEqual({ 'hedging hedge': 2 });
    expect([requests(), await bench.metric('breakwater_hedges_total')]).toEqual([3, 0]);
    expect(bench.plane.held()).toMatchObject({ requests: 0, timers: 0, attempts: 0 });
  });

  it('tells a dependency of no attempts that enforced hedging would number', async () => {
    const seen: string[] = [];
    const one = await upstream(
      answering((head) => {
        seen.push(head);
        return OK;
      }),
    );
    const plan = dependencyPlan({ retries: { ...RETRIES, maxAttempts: 1 }, shadow: SHADOW });
    const bench = await startBench(plan, [one.endpoint]);
    open.push(bench);
    await call(bench.port);
    expect(seen.join('')).not.toMatch(/x-breakwater-attempt/i);
  });

  it.each<[string, Parameters<typeof shadowed>, string]>([
    ['unsafe', [], post('/slow')],
    ['body', [], post('/', `${'x'.repeat(70_000)}slow`).replace('\r\n', '\r\nIdempotency-Key: k\r\n')],
    ['no-other-endpoint', [{}, { endpoints: 1 }], get('/slow')],
    ['budget', [{ retries: { ...RETRIES, budgetPercent: 0, budgetMinPerSecond: 0 } }], get('/slow')],
    [
      'bulkhead',
      [{ bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null } }],
      get('/slow'),
    ],
    [
      'bulkhead',
      [
        {},
        {
          shadow: {
            ...SHADOW,
            bulkhead: {
              stateKey: 'shadow.bulkhead:base',
              maxConcurrent: 1,
              maxQueued: 0,
              queueTimeoutMs: 0,
              adaptive: null,
            },
          },
        },
      ],
      get('/slow'),
    ],
  ])('says what would have kept it: %s', async (cause, setting, request) => {
    const { bench, requests } = await shadowed(...setting);
    expect((await call(bench.port, request)).status).toBe(200);
    expect(await shadowDecisions(bench)).toEqual({ [`hedging suppressed-${cause}`]: 1 });
    expect(requests()).toBe(1);
  });

  it('takes nothing out of the budget that retries have', async () => {
    const retries = { ...RETRIES, ...ONE_RETRY };
    const { bench, requests } = await shadowed({ retries });
    await Promise.all([1, 2, 3, 4].map(() => call(bench.port, get('/slow'))));
    expect(await shadowDecisions(bench)).toEqual({ 'hedging hedge': 1, 'hedging suppressed-budget': 3 });
    bench.setEndpoints({ address: '127.0.0.1', port: 1 });
    expect((await call(bench.port, get('/fast'))).status).toBe(502);
    expect(await bench.metric('breakwater_retries_total')).toBe(1);
    expect(requests()).toBe(4);
  });

  it('shares the budget of retries in shadow', async () => {
    const retries = { ...RETRIES, stateKey: 'shadow.retries:base', ...ONE_RETRY };
    const { bench } = await shadowed({ retries: null }, { shadow: { ...SHADOW, retries } });
    await Promise.all([1, 2].map(() => call(bench.port, get('/slow'))));
    bench.setEndpoints({ address: '127.0.0.1', port: 1 });
    expect((await call(bench.port, get('/fast'))).status).toBe(502);
    // What was never sent is tried once more by what is enforced, without any policy.
    expect(await shadowDecisions(bench)).toEqual({
      'hedging hedge': 1,
      'hedging suppressed-budget': 1,
      'retries suppressed-budget': 2,
    });
  });

  it('judges what is enforced beside it too, and knows a circuit that opened meanwhile', async () => {
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 1, openForMs: 60_000, maxOpenForMs: 60_000 };
    const { bench } = await shadowed({ circuitBreaker, hedging: { ...HEDGING, minDelayMs: 60_000, maxDelayMs: null } });
    const plan = dependencyPlan({
      retries: RETRIES,
      circuitBreaker: { ...circuitBreaker, force: 'Open' },
      shadow: SHADOW,
    });
    const slow = call(bench.port, get('/slow'));
    await expect.poll(() => bench.plane.held().attempts).toBe(1);
    bench.plane.applyPlan(workloadPlan(plan));
    expect((await slow).status).toBe(200);
    expect(await shadowDecisions(bench)).toEqual({ 'hedging suppressed-circuit': 1 });
  });

  it('is nothing where no policy says what may run twice', async () => {
    const one = await server();
    const bench = await startBench(dependencyPlan({ shadow: SHADOW }), [one.endpoint]);
    open.push(bench);
    for (let nth = 0; nth <= ENOUGH_CALLS; nth++) await call(bench.port, get('/fast'));
    expect((await call(bench.port, get('/slow'))).status).toBe(200);
    expect(await shadowDecisions(bench)).toEqual({});
  });
});
