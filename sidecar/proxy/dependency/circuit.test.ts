// What a circuit does to real requests: probes with a time of their own, circuits held by the policy, and resets by hand.
import { describe, expect, it } from 'vitest';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { call, HALF, type ScriptedUpstream, startScripted } from '../testing/calls.ts';
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

const { open } = opened();

type Breaker = NonNullable<PolicyPlan['circuitBreaker']>;

async function start(policy: Partial<PolicyPlan>): Promise<{ bench: Bench; upstream: ScriptedUpstream }> {
  const upstream = await startScripted();
  const bench = await startBench(dependencyPlan(policy), [upstream.endpoint]);
  open.push(upstream, bench);
  return { bench, upstream };
}

const circuit = (bench: Bench) => bench.plane.circuits()[0];
const becomes = (bench: Bench, state: string) =>
  expect.poll(() => circuit(bench)?.state, { interval: 5, timeout: 3_000 }).toBe(state);

describe('the death of one endpoint', () => {
  it('is one failure in a row, however many calls were with it, and the others are called on', async () => {
    const [dying, living] = [await startScripted(), await startScripted()];
    const bench = await startBench(dependencyPlan({ circuitBreaker: BREAKER }), [dying.endpoint]);
    open.push(living, bench);
    const under = Array.from({ length: 3 * BREAKER.consecutiveFailures }, () => call(bench.port, get('/hang')));
    await expect.poll(() => bench.plane.held().attempts).toBe(under.length);
    bench.setEndpoints(dying.endpoint, living.endpoint);
    dying.close();
    for (const { reason } of await Promise.all(under)) expect(reason).toBe('reset');
    expect(circuit(bench)).toMatchObject({ state: 'Closed', counts: { calls: under.length, failures: under.length } });
    bench.setEndpoints(living.endpoint);
    for (let nth = 0; nth < 5; nth += 1) expect((await call(bench.port)).reason).toBe('');
  });

  it('opens the circuit where there is no other: nobody can be connected to any more', async () => {
    const { bench, upstream } = await start({ circuitBreaker: BREAKER });
    const under = Array.from({ length: 3 * BREAKER.consecutiveFailures }, () => call(bench.port, get('/hang')));
    await expect.poll(() => bench.plane.held().attempts).toBe(under.length);
    upstream.close();
    await Promise.all(under);
    const reasons: string[] = [];
    for (let nth = 0; nth < BREAKER.consecutiveFailures; nth += 1) reasons.push((await call(bench.port)).reason);
    expect(reasons.at(0)).toBe('connect-failed');
    expect(reasons.at(-1)).toBe('circuit-open');
  });
});

describe('a probe', () => {
  const PROBING: Breaker = {
    ...BREAKER,
    consecutiveFailures: 1,
    openForMs: 100,
    maxOpenForMs: 100,
    halfOpenMaxProbes: 1,
    halfOpenSuccesses: 1,
    halfOpenProbeTimeoutMs: 60,
  };

  async function halfOpen(policy: Partial<PolicyPlan> = {}): Promise<{ bench: Bench; upstream: ScriptedUpstream }> {
    const started = await start({ circuitBreaker: PROBING, ...policy });
    await call(started.bench.port, get('/fail'));
    await becomes(started.bench, 'HalfOpen');
    return started;
  }

  it('that gets no answer in its time fails, though nothing else bounds it; others are refused at once', async () => {
    const { bench } = await halfOpen();
    const probe = call(bench.port, get('/hang'));
    await expect.poll(() => bench.plane.held().probes, { interval: 2 }).toBe(1);
    expect((await call(bench.port)).reason).toBe('circuit-open');
    const answer = await probe;
    expect(answer.reason).toBe('attempt-timeout');
    expect(answer.tookMs).toBeGreaterThan(55);
    expect(answer.tookMs).toBeLessThan(5_000);
    expect(circuit(bench)?.reason).toBe('a probe failed (AttemptTimeout)');
    expect(await bench.metric('breakwater_attempts_total', { result: 'attempt-timeout' })).toBe(1);
  });

  it('has the time of an attempt where that is shorter', async () => {
    const timeouts = { ...NO_POLICY.timeouts, attemptMs: 30 };
    const { bench } = await halfOpen({ timeouts, circuitBreaker: { ...PROBING, halfOpenProbeTimeoutMs: 5_000 } });
    const answer = await call(bench.port, get('/hang'));
    expect([answer.reason, answer.tookMs < 300]).toEqual(['attempt-timeout', true]);
    expect(circuit(bench)?.reason).toBe('a probe failed (AttemptTimeout)');
  });

  it('does not bound calls while the circuit is closed', async () => {
    const { bench } = await start({ circuitBreaker: PROBING, timeouts: { ...NO_POLICY.timeouts, attemptMs: 200 } });
    const answer = await call(bench.port, get('/hang'));
    expect(answer.reason).toBe('attempt-timeout');
    expect(answer.tookMs).toBeGreaterThan(195);
  });

  it('whose answer began in time is judged by its head, and the answer goes on', async () => {
    const { bench } = await halfOpen();
    const client = connect(bench.port);
    client.send(get('/half'));
    await client.until((text) => text.endsWith('half-'));
    expect(bench.plane.held().probes).toBe(1);
    await becomes(bench, 'Closed');
    expect(bench.plane.held().attempts).toBe(1);
    client.socket.destroy();
  });

  it('whose answer began in time is slow all the same where it takes longer than slowCalls allows', async () => {
    const slowCalls = { percent: 100, minimumCalls: 100, thresholdMs: 20 };
    const { bench } = await halfOpen({ circuitBreaker: { ...PROBING, slowCalls } });
    const client = connect(bench.port);
    client.send(get('/half'));
    await client.until((text) => text.endsWith('half-'));
    await becomes(bench, 'Open');
    expect(circuit(bench)?.reason).toBe('a probe was slow');
    expect(bench.plane.held().attempts).toBe(1);
    client.socket.destroy();
  });

  it('whose answer began in time still ends by the attempt timeout', async () => {
    const { bench } = await halfOpen({ timeouts: { ...NO_POLICY.timeouts, attemptMs: 150 } });
    const client = connect(bench.port);
    const startedMs = performance.now();
    client.send(get('/half'));
    expect(await client.ended()).toBe(HALF);
    expect(performance.now() - startedMs).toBeGreaterThan(140);
    expect(circuit(bench)?.state).toBe('Closed');
  });

  it('of an application that still sends decides nothing, and its request goes on', async () => {
    const { bench } = await halfOpen();
    const client = connect(bench.port);
    client.send('POST /answer HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo');
    await expect.poll(() => bench.plane.held().probes, { interval: 2 }).toBe(1);
    await expect.poll(() => bench.plane.held().probes, { interval: 2 }).toBe(0);
    expect([circuit(bench)?.state, bench.plane.held().attempts]).toEqual(['HalfOpen', 1]);
    client.send('dy');
    await client.until((text) => text.endsWith('ok'));
    client.socket.destroy();
    expect(circuit(bench)?.state).toBe('HalfOpen');
  });

  it('that times out may be followed by another attempt, which the open circuit refuses', async () => {
    const { bench, upstream } = await halfOpen({ retries: RETRIES });
    const before = upstream.heads;
    const answer = await call(bench.port, get('/hang'));
    expect([answer.reason, upstream.heads - before]).toEqual(['circuit-open', 1]);
  });

  it('that decides nothing, since its failure does not count, leaves its place to the next', async () => {
    const { bench } = await halfOpen({ circuitBreaker: { ...PROBING, failureOn: ['ServerError'] } });
    expect((await call(bench.port, get('/hang'))).reason).toBe('attempt-timeout');
    expect(circuit(bench)?.state).toBe('HalfOpen');
    expect((await call(bench.port)).status).toBe(200);
    expect(circuit(bench)?.state).toBe('Closed');
  });
});

describe('a circuit that the policy forces', () => {
  const sources = { circuitBreaker: 'ResiliencePolicy shop/hold generation 1' };

  it('open refuses every call, and says who and that nothing tells when', async () => {
    const { bench, upstream } = await start({ circuitBreaker: { ...BREAKER, force: 'Open' }, sources });
    for (let i = 0; i < 3; i++) {
      const { status, reason, text } = await call(bench.port);
      expect([status, reason]).toEqual([503, 'circuit-open']);
      expect(text).not.toMatch(/retry-after/i);
      expect(text).toContain('circuitBreaker.force');
      expect(text).toContain('shop/hold generation 1');
    }
    expect(upstream.heads).toBe(0);
    expect(circuit(bench)).toMatchObject({
      state: 'ForcedOpen',
      reason: 'the policy forces it open',
      failingSinceUnixMs: null,
      nextProbeUnixMs: null,
    });
    expect(await bench.metric('breakwater_circuit_state', { state: 'ForcedOpen' })).toBe(1);
  });

  it('closed lets every call pass, and still counts', async () => {
    const plan = dependencyPlan({ circuitBreaker: { ...BREAKER, force: 'Closed' } });
    const { bench, upstream } = await start({ circuitBreaker: { ...BREAKER, force: 'Closed' } });
    for (let i = 0; i < 9; i++) expect((await call(bench.port, get('/fail'))).status).toBe(503);
    expect(upstream.heads).toBe(9);
    expect(circuit(bench)).toMatchObject({ state: 'ForcedClosed', counts: { calls: 9, failures: 9 } });
    bench.plane.applyPlan(workloadPlan({ ...plan, policies: [{ ...NO_POLICY, circuitBreaker: BREAKER }] }));
    expect((await call(bench.port, get('/fail'))).reason).toBe('');
    expect((await call(bench.port)).reason).toBe('circuit-open');
  });

  it('is told of once, and once when it is no longer', async () => {
    const { bench } = await start({ circuitBreaker: BREAKER });
    const told: string[] = [];
    bench.plane.onCircuitChange(({ state }) => told.push(state));
    for (const force of ['Open', 'Open', 'Closed', null] as const)
      bench.plane.applyPlan(workloadPlan(dependencyPlan({ circuitBreaker: { ...BREAKER, force } })));
    expect(told).toEqual(['ForcedOpen', 'ForcedClosed', 'Closed']);
    expect(await bench.metric('breakwater_circuit_transitions_total', { to: 'ForcedOpen' })).toBe(1);
  });
});

describe('a reset', () => {
  const policies = (): Partial<DependencyPlan> => ({
    levels: [[{ name: 'charge', matches: [{ method: null, path: { type: 'Exact', value: '/fail' } }] }]],
    combinations: [0, 1],
    policies: [
      { ...NO_POLICY, circuitBreaker: { ...BREAKER, openForMs: 60_000 } },
      {
        ...NO_POLICY,
        rule: 'charge',
        circuitBreaker: { ...BREAKER, stateKey: 'circuitBreaker:charge', openForMs: 60_000 },
      },
    ],
  });
  const plan = (circuitReset: string) => workloadPlan(dependencyPlan({}, { ...policies(), circuitReset }));

  async function opened(): Promise<Bench> {
    const upstream = await startScripted();
    const bench = await startBench(dependencyPlan({}, { ...policies(), circuitReset: 'first' }), [upstream.endpoint]);
    open.push(upstream, bench);
    for (let i = 0; i < 5; i++) await call(bench.port, get('/fail'));
    for (let i = 0; i < 5; i++) await call(bench.port, get('/reset'));
    expect(bench.plane.circuits().map(({ state }) => state)).toEqual(['Open', 'Open']);
    return bench;
  }
  const states = (bench: Bench) => bench.plane.circuits().map(({ state }) => state);

  it('closes the circuits of every rule at once, and says why', async () => {
    const bench = await opened();
    const told: string[] = [];
    bench.plane.onCircuitChange(({ state, reason }) => told.push(`${state}: ${reason}`));
    bench.plane.applyPlan(plan('second'));
    expect(states(bench)).toEqual(['Closed', 'Closed']);
    expect(told).toEqual(['Closed: reset by hand', 'Closed: reset by hand']);
    expect((await call(bench.port)).status).toBe(200);
    expect(await bench.metric('breakwater_circuit_resets_total', { dependency: 'payments' })).toBe(1);
  });

  it('comes of a value that was never seen: not of none, nor of one that a replica behind brings again', async () => {
    const bench = await opened();
    for (const value of ['', 'first', '', 'first']) bench.plane.applyPlan(plan(value));
    expect(states(bench)).toEqual(['Open', 'Open']);
    bench.plane.applyPlan(plan('second'));
    for (let i = 0; i < 5; i++) await call(bench.port, get('/fail'));
    for (const value of ['first', 'second']) bench.plane.applyPlan(plan(value));
    expect(states(bench)).toEqual(['Closed', 'Open']);
    expect(await bench.metric('breakwater_circuit_resets_total')).toBe(1);
  });

  it('lets calls in flight decide nothing', async () => {
    const bench = await opened();
    bench.plane.applyPlan(plan('second'));
    const client = connect(bench.port);
    client.send(get('/hang'));
    await expect.poll(() => bench.plane.held().attempts).toBe(1);
    bench.plane.applyPlan(plan('third'));
    client.socket.resetAndDestroy();
    await expect.poll(() => bench.plane.held().attempts).toBe(0);
    expect(bench.plane.circuits().map(({ counts }) => counts.calls)).toEqual([0, 0]);
  });

  it('leaves a circuit that is forced as it is', async () => {
    const bench = await opened();
    const forced = policies().policies?.map((row) => ({
      ...row,
      circuitBreaker: { ...BREAKER, force: 'Open' as const },
    }));
    bench.plane.applyPlan(
      workloadPlan(dependencyPlan({}, { ...policies(), policies: forced ?? [], circuitReset: 'second' })),
    );
    expect(states(bench)).toEqual(['ForcedOpen']);
  });
});
