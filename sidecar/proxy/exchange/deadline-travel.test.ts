// Deadlines on the wire: what a request came with shortens its time, and every attempt tells the dependency when it ends.
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { CLOCK_SKEW_MS, STALE_AFTER_MS } from '../../policies/deadline.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  RETRIES,
  startBench,
  TableOfNames,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

/** The wall clock stands still, so that what is told can be compared with what is left. */
const UNIX = 1_764_090_000_000;
const clock = { ...systemClock, unixMs: () => UNIX };
const TRACE = 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n';
const CORRELATED = 'X-Correlation-ID: c\r\n';
const HEAD = 'GET / HTTP/1.1\r\nHost: payments.billing\r\n';
const timeouts = (deadline: PolicyPlan['timeouts']['deadline'], requestMs = 5_000, attemptMs = 1_000) => ({
  ...NO_POLICY.timeouts,
  requestMs,
  attemptMs,
  ...(deadline === undefined ? {} : { deadline }),
});

interface Called extends Bench {
  upstream: Upstream;
  heads: string[];
}

async function dependency(
  policy: Partial<PolicyPlan> = { timeouts: timeouts('InCluster') },
  changes: Partial<DependencyPlan> = {},
  answers: readonly string[] = [],
): Promise<Called> {
  const heads: string[] = [];
  const left = [...answers];
  const upstream = await startUpstream(
    answering((head) => {
      heads.push(`${head}\r\n\r\n`);
      return left.shift() ?? OK;
    }),
  );
  const names = new TableOfNames({ 'api.example.com': ['127.0.0.1'] });
  const host = changes.host ? { host: { ...changes.host, port: upstream.port } } : {};
  const bench = await startBench(dependencyPlan(policy, { ...changes, ...host }), [upstream.endpoint], {
    clock,
    names,
  });
  open.push(upstream, bench);
  return { ...bench, upstream, heads };
}

async function call({ port }: Bench, fields = '', done = /(\r\n\r\nok|\}\n)$/): Promise<string> {
  const client = connect(port);
  client.send(get('/', fields + CORRELATED));
  const text = await client.until((received) => done.test(received));
  client.socket.destroy();
  return text;
}

/** The one time in a head, and the head with all of them replaced. */
function timeIn(head = ''): { toldMs: number; rest: string } {
  const times = new Set(head.match(/\d{13}/g));
  expect(times.size).toBe(1);
  return { toldMs: Number([...times][0]) - UNIX, rest: head.replaceAll(/\d{13}/g, '<ms>') };
}

const OUTSIDE: Partial<DependencyPlan> = {
  service: null,
  host: { name: 'api.example.com', port: 0 },
  balancing: 'Dns',
};

describe('an attempt', () => {
  it('tells when it ends', async () => {
    const bench = await dependency();
    await call(bench);
    const { toldMs, rest } = timeIn(bench.heads[0]);
    expect(rest).toBe(`${HEAD}X-Correlation-ID: c\r\nX-Breakwater-Deadline: <ms>\r\n\r\n`);
    expect(toldMs).toBeGreaterThan(900);
    expect(toldMs).toBeLessThanOrEqual(1_000);
  });

  it.each([
    ['', `X-Correlation-ID: c\r\ntracestate: breakwater=d:<ms>`],
    ['tracestate: rojo=1,congo=2\r\n', `tracestate: breakwater=d:<ms>,rojo=1,congo=2\r\nX-Correlation-ID: c`],
    [
      'Tracestate:  rojo=1\r\nX-A: 1\r\ntracestate: congo=2 \r\n',
      'tracestate: breakwater=d:<ms>,rojo=1,congo=2\r\nX-A: 1\r\nX-Correlation-ID: c',
    ],
  ])('tells it in the trace context too, behind %j', async (fields, sent) => {
    const bench = await dependency();
    await call(bench, TRACE + fields);
    expect(timeIn(bench.heads[0]).rest).toBe(`${HEAD}${TRACE}${sent}\r\nX-Breakwater-Deadline: <ms>\r\n\r\n`);
  });

  it('writes no tracestate where there is no trace', async () => {
    const bench = await dependency();
    await call(bench, 'tracestate: rojo=1\r\n');
    expect(timeIn(bench.heads[0]).rest).toBe(
      `${HEAD}tracestate: rojo=1\r\nX-Correlation-ID: c\r\nX-Breakwater-Deadline: <ms>\r\n\r\n`,
    );
  });

  it('after another one tells its own end, and the last of them no more than the request has left', async () => {
    const policy = { timeouts: timeouts('InCluster', 1_300), retries: { ...RETRIES, maxRetryAfterMs: 2_000 } };
    const later = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n';
    const started = performance.now();
    const bench = await dependency(policy, {}, [later]);
    await call(bench);
    const tookMs = performance.now() - started;
    const [first, second] = bench.heads.map(timeIn);
    expect(first?.rest).toContain('X-Breakwater-Attempt: 1\r\nX-Breakwater-Deadline: <ms>\r\n\r\n');
    expect(second?.rest).toContain('X-Breakwater-Attempt: 2\r\nX-Breakwater-Deadline: <ms>\r\n\r\n');
    expect(first?.toldMs).toBeGreaterThan(900);
    // The wait of a second is gone from it, by the wall clock that stands still.
    expect(second?.toldMs).toBeLessThanOrEqual(300);
    expect(second?.toldMs).toBeGreaterThan(1_300 - tookMs - 50);
  });

  it.each([
    ['that asks for a stream of events', 'Accept: text/event-stream\r\n'],
    ['that may become another protocol', 'Connection: Upgrade\r\nUpgrade: echo\r\n'],
  ])('of a request %s tells nothing: only its head has a deadline', async (_what, fields) => {
    const bench = await dependency();
    await call(bench, fields + TRACE);
    expect(bench.heads[0]).not.toMatch(/deadline|tracestate/i);
  });
});

describe('a deadline that a request came with', () => {
  it.each([
    ['in its own field', (ms: number) => `x-breakwater-deadline: ${ms}\r\n`],
    ['in the trace context', (ms: number) => `${TRACE}tracestate: rojo=1,breakwater=d:${ms}\r\n`],
    ['in both, the sooner', (ms: number) => `x-breakwater-deadline: ${ms + 400}\r\ntracestate: breakwater=d:${ms}\r\n`],
  ])('shortens it and travels on as it is: %s', async (_where, fields) => {
    const silent = await startUpstream(() => {});
    const bench = await startBench(dependencyPlan({ timeouts: timeouts('InCluster') }), [silent.endpoint], { clock });
    open.push(silent, bench);
    const startedMs = performance.now();
    const answer = await call(bench, fields(UNIX + 200));
    const tookMs = performance.now() - startedMs;
    expect(answer).toMatch(/^HTTP\/1\.1 504 [^]*Breakwater-Reason: deadline\r\n[^]*its caller does not wait any more/);
    expect(tookMs).toBeGreaterThanOrEqual(200 + CLOCK_SKEW_MS);
    expect(tookMs).toBeLessThan(900);
    expect(timeIn(silent.received[0]).toldMs).toBe(200);
    expect(await bench.metric('breakwater_deadlines_received_total', { effect: 'shortened' })).toBe(1);
    await expect.poll(() => new Set(Object.values(bench.plane.held()))).toEqual(new Set([0]));
  });

  it('that is later than our own changes nothing', async () => {
    const bench = await dependency();
    expect(await call(bench, `x-breakwater-deadline: ${UNIX + 60_000}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(timeIn(bench.heads[0]).toldMs).toBeLessThanOrEqual(1_000);
    expect(await bench.metric('breakwater_deadlines_received_total', { effect: 'later' })).toBe(1);
  });

  it('that has passed ends the call before anything is sent', async () => {
    const bench = await dependency();
    expect(await call(bench, `x-breakwater-deadline: ${UNIX - STALE_AFTER_MS}\r\n`)).toMatch(
      /^HTTP\/1\.1 504 [^]*Breakwater-Reason: deadline/,
    );
    expect(bench.heads).toEqual([]);
  });

  it.each([
    ['passed long ago', 'stale', String(UNIX - STALE_AFTER_MS - 1)],
    ['cannot be read', 'invalid', 'tomorrow'],
  ])('that %s is ignored, and replaced by our own', async (_what, effect, value) => {
    const bench = await dependency();
    const answer = await call(
      bench,
      `x-breakwater-deadline: ${value}\r\n${TRACE}tracestate: breakwater=d:${value}\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(timeIn(bench.heads[0]).toldMs).toBeGreaterThan(900);
    expect(await bench.metric('breakwater_deadlines_received_total', { effect })).toBe(1);
  });

  it.each<[string, Partial<PolicyPlan>, Partial<DependencyPlan>, string]>([
    ['is ended by Never', { timeouts: timeouts('Never') }, {}, `${TRACE}tracestate: rojo=1\r\nX-Correlation-ID: c`],
    ['is kept from a host outside', {}, OUTSIDE, `${TRACE}tracestate: rojo=1\r\nX-Correlation-ID: c`],
    [
      'is told to a host outside by Always',
      { timeouts: timeouts('Always') },
      OUTSIDE,
      `${TRACE}tracestate: breakwater=d:${UNIX + 600},rojo=1\r\nX-Correlation-ID: c\r\nX-Breakwater-Deadline: ${UNIX + 600}`,
    ],
    [
      'passes as it is where no policy sets timeouts',
      { timeouts: NO_POLICY.timeouts },
      {},
      `${TRACE}tracestate: rojo=1,breakwater=d:${UNIX + 700}\r\nX-Correlation-ID: c\r\nX-Breakwater-Deadline: ${UNIX + 600}`,
    ],
  ])('%s', async (_what, policy, changes, sent) => {
    const bench = await dependency({ timeouts: timeouts('InCluster'), ...policy }, changes);
    const received = `x-breakwater-deadline: ${UNIX + 600}\r\n${TRACE}tracestate: rojo=1,breakwater=d:${UNIX + 700}\r\n`;
    await call(bench, received);
    expect(bench.heads[0]).toBe(`${HEAD}${sent}\r\n\r\n`);
    const never = policy.timeouts !== undefined && policy.timeouts.deadline !== 'Always';
    expect(await bench.metric('breakwater_deadlines_received_total', { effect: 'shortened' })).toBe(never ? 0 : 1);
  });
});

describe('a received deadline that ends an attempt', () => {
  const circuitBreaker = { ...BREAKER, consecutiveFailures: 1 };
  const none = { requestMs: 0, attemptMs: 0 };
  it.each([
    ['is nobody’s fault where nothing else says how long an attempt may take', none, 'Closed'],
    ['is nobody’s fault before half the time of an attempt', { requestMs: 0, attemptMs: 60_000 }, 'Closed'],
    ['is nobody’s fault before half the time of the request', { requestMs: 60_000, attemptMs: 0 }, 'Closed'],
    ['is a failure of the dependency after half the time of an attempt', { requestMs: 0, attemptMs: 300 }, 'Open'],
    ['is a failure of the dependency after half the time of the request', { requestMs: 300, attemptMs: 0 }, 'Open'],
  ])('%s', async (_name, times, state) => {
    const upstream = await startUpstream(() => {});
    const policy = { circuitBreaker, timeouts: { ...timeouts('InCluster'), ...times } };
    const bench = await startBench(dependencyPlan(policy), [upstream.endpoint], { clock });
    open.push(upstream, bench);
    const text = await call(bench, `x-breakwater-deadline: ${UNIX + 200 - CLOCK_SKEW_MS}\r\n`);
    expect(text).toMatch(/breakwater-reason: deadline/i);
    expect(bench.plane.circuits()[0]?.state).toBe(state);
  });
});
