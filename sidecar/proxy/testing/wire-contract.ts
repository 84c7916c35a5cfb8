// What every policy must keep on the wire, with a whole data path between real connections, whatever becomes of the calls.
//
// TO JOIN: add a row to POLICIES of wire-contract-rows.ts with the blocks of a plan that switch your policy on. Its numbers must be such that it lets a call pass now and
// then; `refuses` has the reasons of its refusals, and `before` brings it into the situation that the row is about. Each row is run through all of ENDINGS, and held to this:
//  1. nothing stays taken: every count of `held()` is zero (a new kind of thing that can be taken belongs into Holdings of holdings.ts);
//  2. nothing counts twice: each request once in the requests, each attempt once in the attempts and once, or not at all, in the window of its circuit;
//  3. an equal plan that comes in between changes nothing, and takes nothing from a request in progress;
//  4. the next call is served, or refused for a reason of the row.
// The machines alone are asked the same in sidecar/policies/contract.test.ts. The endings are those of a protocol: contract.test.ts is HTTP/1.1,
// http2-contract.test.ts is HTTP/2.
import { expect, vi } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan, WorkloadPlan } from '../../../plan/plan.ts';
import { systemClock } from '../../../runtime/clock.ts';
import type { CertificateSource } from '../../tls/certificate-files.ts';
import type { Holdings } from '../holdings.ts';
import { type Bench, dependencyPlan, NO_POLICY, startBench, workloadPlan } from './fixtures.ts';
import { COUNTING, COUNTING_IN_SHADOW, type Row, TIMEOUTS } from './wire-contract-rows.ts';

/** A dependency that does what the path of each request says. */
export interface Scripted {
  endpoint: Endpoint;
  /** Heads of requests that it has read. */
  heads: number;
  close(): unknown;
}

/** A protocol that the contract is kept in. */
export interface Wire<Upstream extends Scripted = Scripted> {
  /** What the legs are made of; absent: plain TCP. */
  legs?: { changes: Pick<DependencyPlan, 'host'>; certificates: CertificateSource };
  start(): Promise<Upstream>;
  call(port: number, path: string): Promise<{ status: number; reason: string }>;
}

/** Sends requests, sees them to their end, and says how many they were. What it adds to `open` is closed after it. */
export type Run<Upstream> = (bench: Bench, upstream: Upstream, open: { close(): unknown }[]) => Promise<number>;

export interface Ending<Upstream> {
  name: string;
  run: Run<Upstream>;
  /** Bounds each call by the time of an attempt, where the row has one. */
  needsTimeouts?: true;
  /** Nothing is known of requests and attempts but that none counts twice: some callers are gone before anybody has read them. */
  uncertain?: true;
}

/** For calls that no time has to end: nothing is cut by them because the machine is busy. */
const PATIENT_TIMEOUTS = { ...TIMEOUTS, requestMs: 20_000, attemptMs: 10_000, connectMs: 10_000 };
const NOTHING: Holdings = {
  requests: 0,
  tunnels: 0,
  clientConnections: 0,
  timers: 0,
  replayBytes: 0,
  attempts: 0,
  bulkheadPlaces: 0,
  bulkheadQueued: 0,
  probes: 0,
  recordingBytes: 0,
  healthChecks: 0,
};

async function counted(bench: Bench, upstream: Scripted) {
  const attempts = await bench.metric('breakwater_attempts_total');
  return {
    requests: await bench.metric('breakwater_requests_total'),
    attempts,
    /** Attempts that say something about the dependency. */
    results:
      attempts -
      (await bench.metric('breakwater_attempts_total', { result: 'cancelled' })) -
      (await bench.metric('breakwater_attempts_total', { result: 'refused' })),
    /** What attempts came to, seen from outside: heads that arrived, and connections that were not made. */
    reached:
      upstream.heads +
      (await bench.metric('breakwater_upstream_connects_total')) -
      (await bench.metric('breakwater_upstream_connects_total', { result: 'success' })),
    calls: bench.plane.circuits()[0]?.counts.calls ?? 0,
  };
}

/** With time enough for a call that nothing hinders, on however busy a machine; what is remembered stays. */
function unhurried({ policy, replica, ...row }: Row): Row {
  const patient = (hurried: Partial<PolicyPlan>): Partial<PolicyPlan> => {
    const circuitBreaker = hurried.circuitBreaker && { ...hurried.circuitBreaker, halfOpenProbeTimeoutMs: 5_000 };
    return { ...hurried, timeouts: NO_POLICY.timeouts, ...(circuitBreaker && { circuitBreaker }) };
  };
  return { ...row, policy: patient(policy), ...(replica && { replica: patient(replica) }) };
}

/** The same policies with long timeouts, for cases in which none is to pass: five run at a time, and a busy machine makes short ones pass. */
function patient({ policy, replica, ...row }: Row): Row {
  const waits = (hurried: Partial<PolicyPlan>): Partial<PolicyPlan> => ({
    ...hurried,
    ...(hurried.timeouts && { timeouts: PATIENT_TIMEOUTS }),
  });
  return { ...row, policy: waits(policy), ...(replica && { replica: waits(replica) }) };
}

/** The plan of a row, in new objects each time. */
function planOf({ policy, replica }: Row, changes: Partial<DependencyPlan> = {}): WorkloadPlan {
  const plan = dependencyPlan(policy, changes);
  if (replica === undefined) return workloadPlan(plan);
  const names = { id: 'shop/checkout/replica', name: 'replica', endpointsKey: 'billing/replica:80' };
  return workloadPlan(plan, dependencyPlan(replica, { ...changes, ...names }));
}

/** Returns what ends it. */
function every(intervalMs: number, act: () => void): () => void {
  const again = (): void => {
    act();
    cancel = systemClock.after(intervalMs, again);
  };
  let cancel = systemClock.after(intervalMs, again);
  return () => cancel();
}

/** The first of them, with the heads that all have read. */
function together<Upstream extends Scripted>(first: Upstream, upstreams: readonly Upstream[]): Upstream {
  const heads = () => upstreams.reduce((sum, each) => sum + each.heads, 0);
  return Object.defineProperty(Object.create(first) as Upstream, 'heads', { get: heads });
}

/** Several may run at a time, for which expect.poll is not made: each has a data path, upstreams and applications of its own. */
export async function keepsContract<Upstream extends Scripted>(
  row: Row,
  ending: Ending<Upstream>,
  wire: Wire<Upstream>,
): Promise<void> {
  const open: { close(): unknown }[] = [];
  try {
    await isKept(ending.needsTimeouts ? row : patient(row), ending, wire, open);
  } finally {
    for (const each of open) await each.close();
  }
}

async function isKept<Upstream extends Scripted>(
  row: Row,
  ending: Ending<Upstream>,
  wire: Wire<Upstream>,
  open: { close(): unknown }[],
): Promise<void> {
  const first = await wire.start();
  const upstreams = row.another ? [first, await wire.start()] : [first];
  const upstream = together(first, upstreams);
  const plan = () => planOf(row, wire.legs?.changes);
  const endpoints = upstreams.map(({ endpoint }) => endpoint);
  const { changes, certificates = null } = wire.legs ?? {};
  const bench = await startBench(dependencyPlan(row.policy, changes), endpoints, { certificates });
  open.push(...upstreams, bench);
  bench.plane.applyPlan(plan());
  bench.plane.applyEndpointsUpdate([{ key: 'billing/replica:80', endpoints: [upstream.endpoint] }], []);
  await row.before?.(bench, wire);
  const before = await counted(bench, upstream);
  const stop = every(3, () => bench.plane.applyPlan(plan()));
  const requests = await ending.run(bench, upstream, open).finally(stop);
  await vi.waitFor(() => expect(bench.plane.held()).toEqual(NOTHING), { timeout: 5_000, interval: 5 });
  const after = await counted(bench, upstream);
  const now = (key: keyof typeof after) => after[key] - before[key];
  const uncertain = ending.uncertain || row.hedged;
  if (uncertain) {
    expect(now('requests')).toBeLessThanOrEqual(requests);
    expect(now('reached')).toBeLessThanOrEqual(now('attempts'));
  } else {
    expect([now('requests'), now('attempts')]).toEqual([requests, now('reached')]);
  }
  // A timeout in shadow ends what it judges earlier than it ends, and how often depends on how busy the machine is.
  if (row.policy.shadow?.circuitBreaker === COUNTING_IN_SHADOW)
    expect(now('calls')).toBeLessThanOrEqual(now('attempts'));
  if (row.policy.circuitBreaker === COUNTING) {
    if (uncertain) expect(now('calls')).toBeLessThanOrEqual(now('results'));
    else expect(now('calls')).toBe(now('results'));
  }
  const state = async () => [bench.plane.circuits(), await bench.metric('breakwater_last_good_answers')];
  const remembered = await state();
  bench.plane.applyPlan(plan());
  expect(await state()).toEqual(remembered);
  bench.plane.applyPlan(planOf(unhurried(row), wire.legs?.changes));
  const { status, reason } = await wire.call(bench.port, '/answer');
  if (status !== 200) expect(row.refuses ?? []).toContain(reason);
  await vi.waitFor(() => expect(bench.plane.held()).toEqual(NOTHING), { timeout: 5_000, interval: 5 });
}
