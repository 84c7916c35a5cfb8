// What decides about whole requests, in shadow on real ones: the rate limit, faults on purpose and the fallback. It is counted, and nobody
// is refused, held up or answered otherwise.
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, PolicyPlan, ShadowPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { FallbackPlan } from '../../../plan/policies/fallback.ts';
import type { RateLimitPlan } from '../../../plan/policies/rate-limit.ts';
import { type Clock, systemClock } from '../../../runtime/clock.ts';
import { call, shadowDecisions, UNAVAILABLE } from '../testing/calls.ts';
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
import { answering, DEAD_ENDPOINT, OK, type Upstream } from '../testing/upstreams.ts';

const { bench, open, upstream } = opened();

/** Time stands still, so that no bucket is filled. */
const STILL: Clock = { ...systemClock, monotonicMs: () => 1_000 };

async function still(plan: DependencyPlan, { endpoint }: Upstream): Promise<Bench> {
  const started = await startBench(plan, [endpoint], { clock: STILL });
  open.push(started);
  return started;
}

const NOTHING: ShadowPlan = { timeouts: null, ...NO_BLOCKS };
const TWO: RateLimitPlan = { stateKey: 'shadow.rateLimit:base', requestsPerSecond: 1, burst: 2, perHeader: null };
const RESPONSE: FallbackPlan = {
  stateKey: 'shadow.fallback:base',
  fallbackOn: ['CircuitOpen', 'RateLimited', 'NoEndpoints', 'ConnectFailure', 'AttemptTimeout', 'ServerError'],
  methods: 'Safe',
  response: { statusCode: 200, contentType: 'text/plain', body: 'instead' },
  lastGood: null,
  dependency: null,
};
const LAST_GOOD: FallbackPlan = {
  ...RESPONSE,
  response: null,
  lastGood: { maxAgeMs: 60_000, maxBytes: 5_000, maxAnswerBytes: 4_000, audience: 'Anonymous', keyHeaders: [] },
};
const ASKING: FallbackPlan = { ...RESPONSE, response: null, dependency: 'replica' };

const planOf = (shadow: Partial<ShadowPlan>, policy: Partial<PolicyPlan> = {}) =>
  dependencyPlan({ ...policy, shadow: { ...NOTHING, ...shadow } });

const requestsOf = ({ received }: { received: readonly string[] }) =>
  received.reduce((sum, text) => sum + text.split('\r\n\r\n').length - 1, 0);

async function statuses({ port }: Bench, ...requests: readonly string[]): Promise<number[]> {
  const answers: number[] = [];
  for (const request of requests) answers.push((await call(port, request)).status);
  return answers;
}

const times = (count: number, request = get('/')) => Array.from({ length: count }, () => request);

describe('a rate limit in shadow', () => {
  it('counts whom it would refuse, and refuses nobody', async () => {
    const server = await upstream(answering(OK));
    const started = await still(planOf({ rateLimit: TWO }), server);
    expect(await statuses(started, ...times(5))).toEqual([200, 200, 200, 200, 200]);
    expect(requestsOf(server)).toBe(5);
    expect(await shadowDecisions(started)).toEqual({ 'rateLimit rate-limited': 3 });
    expect(await started.metric('breakwater_requests_total', { reason: 'rate-limited' })).toBe(0);
  });

  it('counts by the values of a header', async () => {
    const server = await upstream(answering(OK));
    const rateLimit = { ...TWO, perHeader: { name: 'X-Tenant', maxValues: 10 } };
    const started = await still(planOf({ rateLimit }), server);
    const of = (tenant: string) => get('/', `x-tenant: ${tenant}\r\n`);
    await statuses(started, ...times(3, of('a')), ...times(2, of('b')), ...times(3));
    expect(await shadowDecisions(started)).toEqual({ 'rateLimit rate-limited': 2 });
  });

  it('takes nothing of the enforced one, and sees whom that refuses', async () => {
    const server = await upstream(answering(OK));
    const enforced = { ...TWO, stateKey: 'rateLimit:base', burst: 3 };
    const started = await still(planOf({ rateLimit: TWO }, { rateLimit: enforced }), server);
    expect(await statuses(started, ...times(5))).toEqual([200, 200, 200, 429, 429]);
    expect(await shadowDecisions(started)).toEqual({ 'rateLimit rate-limited': 3 });
  });

  it('keeps what was taken over a new plan', async () => {
    const server = await upstream(answering(OK));
    const started = await still(planOf({ rateLimit: TWO }), server);
    await statuses(started, ...times(2));
    started.plane.applyPlan(workloadPlan(planOf({ rateLimit: TWO })));
    await statuses(started, ...times(1));
    expect(await shadowDecisions(started)).toEqual({ 'rateLimit rate-limited': 1 });
  });
});

describe('faults in shadow', () => {
  it('hit nobody, and those that would be hit are over for the other shadows', async () => {
    const server = await upstream(answering(OK));
    const faultInjection = { delay: { fixedMs: 60_000, percent: 100 }, abort: { statusCode: 503, percent: 100 } };
    const started = await bench(planOf({ faultInjection, rateLimit: { ...TWO, burst: 1 } }), server.endpoint);
    expect(await statuses(started, ...times(3))).toEqual([200, 200, 200]);
    expect(await shadowDecisions(started)).toEqual({ 'faultInjection delay': 3, 'faultInjection abort': 3 });
    expect(await started.metric('breakwater_faults_injected_total')).toBe(0);
  });

  it('change nothing of whom enforced faults hit', async () => {
    const enforced = { delay: null, abort: { statusCode: 500, percent: 50 } };
    const shadow = { delay: { fixedMs: 10, percent: 50 }, abort: { statusCode: 503, percent: 50 } };
    const outcomes: number[][] = [];
    for (const faultInjection of [null, shadow]) {
      const server = await upstream(answering(OK));
      const started = await bench(planOf({ faultInjection }, { faultInjection: enforced }), server.endpoint);
      outcomes.push(await statuses(started, ...times(40)));
    }
    expect(outcomes[1]).toEqual(outcomes[0]);
    expect(new Set(outcomes[0])).toEqual(new Set([200, 500]));
  });
});

describe('a fallback in shadow', () => {
  it('counts what it would answer, and the application reads the failure', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench(planOf({ fallback: RESPONSE }), server.endpoint);
    expect(await statuses(started, get('/'), get('/').replace('GET', 'POST'))).toEqual([503, 503]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback response': 1 });
    expect(await started.metric('breakwater_fallbacks_total')).toBe(0);
  });

  it('counts for answers of the sidecar itself, and not for what it does not name', async () => {
    const started = await bench(planOf({ fallback: RESPONSE }), DEAD_ENDPOINT);
    expect(await statuses(started, get('/'))).toEqual([502]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback response': 1 });
    const other = await bench(planOf({ fallback: { ...RESPONSE, fallbackOn: ['Deadline'] } }), DEAD_ENDPOINT);
    expect(await statuses(other, get('/'))).toEqual([502]);
    expect(await shadowDecisions(other)).toEqual({});
  });

  it('counts a failure once, whatever number of attempts really came to it', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench(planOf({ fallback: RESPONSE }, { retries: RETRIES }), server.endpoint);
    expect(await statuses(started, get('/'))).toEqual([503]);
    expect(requestsOf(server)).toBe(3);
    expect(await shadowDecisions(started)).toEqual({ 'fallback response': 1 });
  });

  it('counts nothing for a request whose last attempt succeeds, nor where retries in shadow would go on', async () => {
    let nth = 0;
    const server = await upstream(answering(() => (++nth % 2 === 1 ? UNAVAILABLE : OK)));
    const started = await bench(planOf({ fallback: RESPONSE }, { retries: RETRIES }), server.endpoint);
    expect(await statuses(started, get('/'))).toEqual([200]);
    expect(await shadowDecisions(started)).toEqual({});
    const failing = await upstream(answering(UNAVAILABLE));
    const trying = await bench(planOf({ fallback: RESPONSE, retries: RETRIES }), failing.endpoint);
    expect(await statuses(trying, get('/'))).toEqual([503]);
    expect(await shadowDecisions(trying)).toEqual({ 'retries retry': 1 });
  });

  it('takes the place of what other blocks in shadow would have refused', async () => {
    const server = await upstream(answering(OK));
    const started = await still(planOf({ fallback: RESPONSE, rateLimit: TWO }), server);
    expect(await statuses(started, ...times(3))).toEqual([200, 200, 200]);
    expect(await shadowDecisions(started)).toEqual({ 'rateLimit rate-limited': 1, 'fallback response': 1 });
  });

  it('is told of what the enforced fallback takes the place of', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const enforced: FallbackPlan = { ...RESPONSE, stateKey: 'fallback:base' };
    const started = await bench(planOf({ fallback: LAST_GOOD }, { fallback: enforced }), server.endpoint);
    expect(await statuses(started, get('/'))).toEqual([200]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback missed': 1 });
  });

  it('knows whether there would be a last good answer, and keeps no byte of it', async () => {
    let healthy = true;
    const body = 'x'.repeat(3_000);
    const good = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n${body}\r\n0\r\n\r\n`;
    const server = await upstream(answering(() => (healthy ? good : UNAVAILABLE)));
    const started = await bench(planOf({ fallback: LAST_GOOD }), server.endpoint);
    const ask = async (path: string) => {
      const client = connect(started.port);
      client.send(get(path));
      await client
        .until((text) => text.endsWith('0\r\n\r\n') || text.includes(' 503 '))
        .finally(() => client.socket.destroy());
    };
    await ask('/a');
    healthy = false;
    await ask('/a');
    await ask('/b');
    expect(await shadowDecisions(started)).toEqual({ 'fallback last-good': 1, 'fallback missed': 1 });
    // Its bound holds as if it kept them: two of 3,000 bytes are more than 5,000.
    healthy = true;
    await ask('/b');
    healthy = false;
    await ask('/a');
    await ask('/b');
    expect(await shadowDecisions(started)).toEqual({ 'fallback last-good': 2, 'fallback missed': 2 });
    expect(await started.metric('breakwater_last_good_bytes')).toBe(0);
    expect(started.plane.held().recordingBytes).toBe(0);
  });

  it('measures what the enforced one keeps, and both are given it', async () => {
    let healthy = true;
    const server = await upstream(answering(() => (healthy ? OK : UNAVAILABLE)));
    const enforced: FallbackPlan = { ...LAST_GOOD, stateKey: 'fallback:base' };
    const started = await bench(planOf({ fallback: LAST_GOOD }, { fallback: enforced }), server.endpoint);
    await statuses(started, get('/'));
    healthy = false;
    expect(await statuses(started, get('/'))).toEqual([200]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback last-good': 1 });
  });

  it('asks no other dependency, and knows whether there is one', async () => {
    const failing = await upstream(answering(UNAVAILABLE));
    const replica = await upstream(answering(OK));
    const payments = planOf({ fallback: ASKING });
    const started = await bench(payments, failing.endpoint);
    expect(await statuses(started, get('/'))).toEqual([503]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback missed': 1 });
    const other = dependencyPlan(NO_POLICY, { id: 'shop/checkout/replica', name: 'replica', endpointsKey: 'replica' });
    started.plane.applyPlan(workloadPlan(payments, other));
    started.plane.applyEndpointsUpdate([{ key: 'replica', endpoints: [replica.endpoint] }], []);
    expect(await statuses(started, get('/'))).toEqual([503]);
    expect(await shadowDecisions(started)).toEqual({ 'fallback missed': 1, 'fallback dependency': 1 });
    expect(requestsOf(replica)).toBe(0);
  });

  it('counts nothing for an application that went away, before an answer or between attempts', async () => {
    const silent = await upstream(() => {});
    const started = await bench(planOf({ fallback: RESPONSE }), silent.endpoint);
    const client = connect(started.port);
    client.send(get('/'));
    await expect.poll(() => silent.received.join('')).toContain('GET');
    client.socket.resetAndDestroy();
    await expect.poll(() => started.plane.held().requests).toBe(0);
    const failing = await upstream(answering(UNAVAILABLE));
    const retries = { ...RETRIES, backoffInitialMs: 600_000, backoffMaxMs: 600_000, maxAttempts: 2 };
    const waiting = await bench(planOf({ fallback: RESPONSE }, { retries, circuitBreaker: BREAKER }), failing.endpoint);
    const leaver = connect(waiting.port);
    leaver.send(get('/'));
    await expect.poll(() => waiting.metric('breakwater_attempts_total', { result: 'failure-status' })).toBe(1);
    leaver.socket.resetAndDestroy();
    await expect.poll(() => waiting.plane.held().requests).toBe(0);
    expect([await shadowDecisions(started), await shadowDecisions(waiting)]).toEqual([{}, {}]);
  });
});
