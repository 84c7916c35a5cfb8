import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type AcknowledgementReport, type CircuitReport, circuitReport } from '../../plan/wire.ts';
import { SESSION_GRACE_MS, Sessions } from './acknowledgements.ts';
import type { ReportedExclusion } from './exclusions.ts';
import { podA, podB, result, workload } from './fixtures.ts';
import { type PlanSnapshot, Snapshots } from './snapshots.ts';

const CHECKOUT = 'shop/checkout';

function published(version: string): { planOf: (id: string) => PlanSnapshot | undefined; plan: PlanSnapshot } {
  const snapshots = new Snapshots();
  snapshots.publish(result([workload(version, ['payments'], [podA, podB])]), 0);
  const plan = snapshots.plan(CHECKOUT);
  if (!plan) throw new Error('no plan');
  return { planOf: (id) => snapshots.plan(id), plan };
}

const ack = (version: string, more: Partial<AcknowledgementReport> = {}): AcknowledgementReport => ({
  stream: 'plan',
  version,
  applied: true,
  message: '',
  locallyDisabled: false,
  ...more,
});

const circuit = (more: Partial<CircuitReport['circuits'][number]> = {}): CircuitReport['circuits'][number] => ({
  dependency: 'shop/checkout/payments',
  stateKey: 'base',
  state: 'Open',
  since: 1000,
  reason: 'ConsecutiveFailures',
  ...more,
});

const none = new Map<string, string>();

test('only the current version counts as applied', () => {
  const sessions = new Sessions();
  const { planOf } = published('v2');
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  expect(sessions.acknowledge(podA, CHECKOUT, ack('v2'), 0)).toBe(true);
  expect(sessions.acknowledge(podB, CHECKOUT, ack('v1'), 0)).toBe(true);
  expect(sessions.acknowledge(podA, CHECKOUT, ack('v2'), 0)).toBe(false);
  expect(sessions.applied(planOf, none).get(CHECKOUT)).toEqual({
    applied: 1,
    of: 2,
    nacks: [],
    locallyDisabled: [],
    appliedPods: ['checkout-a'],
  });
});

test('an acknowledgement of endpoints says nothing about the plan', () => {
  const sessions = new Sessions();
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.acknowledge(podA, CHECKOUT, ack('v1', { stream: 'endpoints' }), 0);
  expect(sessions.applied(published('v1').planOf, none).get(CHECKOUT)).toMatchObject({ applied: 0, of: 1 });
});

test('the version with which a sidecar resumes is one it applied', () => {
  const sessions = new Sessions();
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  expect(sessions.resumed(podA, 'plan', 'v1')).toBe(true);
  expect(sessions.resumed(podA, 'plan', 'v1')).toBe(false);
  expect(sessions.applied(published('v1').planOf, none).get(CHECKOUT)).toMatchObject({ applied: 1, of: 1 });
});

test('refusals and local switches name their pods; a message is one line', () => {
  const sessions = new Sessions();
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  sessions.acknowledge(podA, CHECKOUT, ack('v1', { applied: false, message: 'no such\n\u001b[31mfield' }), 0);
  sessions.acknowledge(podB, CHECKOUT, ack('v1', { locallyDisabled: true }), 0);
  expect(sessions.applied(published('v1').planOf, none).get(CHECKOUT)).toMatchObject({
    applied: 1,
    of: 2,
    nacks: [{ pod: 'checkout-a', message: 'no such [31mfield' }],
    locallyDisabled: ['checkout-b'],
  });
});

test('a plan that cannot be sent is applied by nobody, and says so', () => {
  const sessions = new Sessions();
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.acknowledge(podA, CHECKOUT, ack('v1'), 0);
  const summary = sessions.applied(published('v1').planOf, new Map([[CHECKOUT, 'too large']])).get(CHECKOUT);
  expect(summary).toMatchObject({ applied: 0, of: 1, nacks: [{ pod: '*', message: 'too large' }], appliedPods: [] });
});

test('a pod is forgotten a while after its last stream, and keeps its acknowledgement when it is back earlier', () => {
  const sessions = new Sessions();
  const { planOf } = published('v1');
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.acknowledge(podA, CHECKOUT, ack('v1'), 0);
  sessions.closed(podA, 'plan', 0);
  expect(sessions.expire(SESSION_GRACE_MS * 10)).toBe(false);
  sessions.closed(podA, 'plan', 100);
  expect(sessions.expire(100 + SESSION_GRACE_MS - 1)).toBe(false);
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  expect(sessions.expire(100 + SESSION_GRACE_MS)).toBe(false);
  expect(sessions.applied(planOf, none).get(CHECKOUT)).toMatchObject({ applied: 1, of: 1 });
  sessions.closed(podA, 'plan', 200);
  expect(sessions.expire(200 + SESSION_GRACE_MS)).toBe(true);
  expect(sessions.applied(planOf, none).size).toBe(0);
});

test('of pods that do not exist any more, only those without a stream are forgotten at once', () => {
  const sessions = new Sessions();
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  sessions.closed(podB, 'plan', 0);
  expect(sessions.forgetIdle(() => true)).toBe(false);
  expect(sessions.forgetIdle(() => false)).toBe(true);
  expect(sessions.applied(published('v1').planOf, none).get(CHECKOUT)).toMatchObject({ of: 1 });
});

test('a pod that moves to another workload starts over there', () => {
  const sessions = new Sessions();
  sessions.opened(podA, 'shop/other', 'plan', 0);
  sessions.acknowledge(podA, 'shop/other', ack('v1'), 0);
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  const applied = sessions.applied(published('v1').planOf, none);
  expect([...applied.keys()]).toEqual([CHECKOUT]);
  expect(applied.get(CHECKOUT)).toMatchObject({ applied: 0, of: 1 });
});

test('circuits add up over pods; closed ones and those of foreign dependencies do not count', () => {
  const sessions = new Sessions();
  const { plan, planOf } = published('v1');
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  sessions.opened({ namespace: 'shop', name: 'checkout-c', uid: 'uid-c' }, CHECKOUT, 'plan', 0);
  const foreign = circuit({ dependency: 'billing/ledger/database' });
  const unknown = circuit({ stateKey: 'of a rule that is gone' });
  expect(sessions.report(podA, plan, { circuits: [circuit(), foreign, unknown] }, 0)).toBe(true);
  // One that is told twice counts once.
  expect(sessions.report(podA, plan, { circuits: [circuit(), circuit(), foreign] }, 0)).toBe(false);
  const earlier = circuit({ since: 500, failingSince: 100, nextProbe: 30_500, reopenings: 3, reason: 'FailureRate' });
  sessions.report(podB, plan, { circuits: [earlier, circuit({ stateKey: 'charge', state: 'Closed' })] }, 0);
  expect(sessions.circuits(planOf)).toEqual([
    {
      dependencyId: 'shop/checkout/payments',
      stateKey: 'base',
      state: 'Open',
      sidecars: 2,
      totalSidecars: 3,
      sinceUnixMs: 500,
      failingSinceUnixMs: 100,
      nextProbeUnixMs: 30_500,
      reopenings: 3,
      reason: 'ConsecutiveFailures',
    },
  ]);
  sessions.report(podA, plan, { circuits: [] }, 0);
  expect(sessions.circuits(planOf)).toMatchObject([{ sidecars: 1 }]);
  sessions.gone(podB);
  expect(sessions.circuits(planOf)).toEqual([]);
});

test('a sidecar of an earlier version, which says less, is understood', () => {
  const sessions = new Sessions();
  const { plan, planOf } = published('v1');
  const before = circuitReport.parse({
    circuits: [{ dependency: 'shop/checkout/payments', stateKey: 'base', state: 'Open', since: 1000, reason: 'x' }],
  });
  sessions.report(podA, plan, before, 0);
  expect(sessions.circuits(planOf)).toMatchObject([
    { sinceUnixMs: 1000, failingSinceUnixMs: 1000, nextProbeUnixMs: undefined, reopenings: 0, totalSidecars: 1 },
  ]);
});

test('a circuit that the newest plan no longer has is forgotten with it', () => {
  const sessions = new Sessions();
  const { plan, planOf } = published('v1');
  sessions.report(podA, plan, { circuits: [circuit()] }, 0);
  const without: PlanSnapshot = { ...plan, circuits: new Map([['shop/checkout/payments', new Set<string>()]]) };
  expect(sessions.circuits(planOf)).toHaveLength(1);
  expect(sessions.circuits(() => without)).toEqual([]);
});

/** Whatever a sidecar may say, which lands in a status. */
const reason = fc.string({
  unit: fc.constantFrom('a', ' ', '\n', '\r\n', '\u2028', '\u001b', 'ü'),
  maxLength: 120,
  size: 'max',
});

test('no report brings more than the circuits of the plan, each counted once, into the summary', () => {
  const { plan, planOf } = published('v1');
  const reported = fc.record({
    dependency: fc.constantFrom('shop/checkout/payments', 'billing/ledger/database', ''),
    stateKey: fc.constantFrom('base', 'other', ''),
    state: fc.constantFrom('Open' as const, 'HalfOpen' as const, 'Closed' as const),
    since: fc.nat(),
    reason,
    failingSince: fc.option(fc.nat(), { nil: undefined }),
    nextProbe: fc.option(fc.nat(), { nil: undefined }),
    reopenings: fc.option(fc.nat(), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(reported), fc.array(reported), (a, b) => {
      const sessions = new Sessions();
      sessions.report(podA, plan, { circuits: a }, 0);
      sessions.report(podB, plan, { circuits: b }, 0);
      const summaries = sessions.circuits(planOf);
      expect(summaries.reduce((sum, { sidecars }) => sum + sidecars, 0)).toBeLessThanOrEqual(2);
      for (const summary of summaries) {
        expect([summary.dependencyId, summary.stateKey]).toEqual(['shop/checkout/payments', 'base']);
        expect(summary.totalSidecars).toBe(2);
        expect(summary.reason).not.toMatch(/\n/);
        expect(summary.nextProbeUnixMs === undefined || summary.state === 'Open').toBe(true);
      }
    }),
  );
});

test.each([
  ['a time that no Date can hold', { since: Number.MAX_SAFE_INTEGER }],
  ['a time before 1970', { nextProbe: -1 }],
  ['half a millisecond', { failingSince: 0.5 }],
  ['a number of reopenings out of this world', { reopenings: 1e12 }],
  ['a reason without end', { reason: 'x'.repeat(257) }],
])('a report with %s is refused', (_what, more) => {
  expect(circuitReport.safeParse({ circuits: [circuit(more)] }).success).toBe(false);
});

const exclusion = (more: Partial<ReportedExclusion> = {}): ReportedExclusion => ({
  dependency: 'shop/checkout/payments',
  stateKey: 'outlierDetection:base',
  endpoints: 1,
  totalEndpoints: 5,
  since: 1000,
  panicking: false,
  names: [{ endpoint: '10.0.0.2:8080', reason: '5 consecutive failures' }],
  ...more,
});

test('excluded endpoints add up over pods; those of states that are not in the plan do not count', () => {
  const sessions = new Sessions();
  const { plan, planOf } = published('v1');
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  sessions.opened({ namespace: 'shop', name: 'checkout-c', uid: 'uid-c' }, CHECKOUT, 'plan', 0);
  const foreign = exclusion({ dependency: 'billing/ledger/database' });
  const unknown = exclusion({ stateKey: 'healthCheck:base' });
  const report = (...exclusions: ReportedExclusion[]): CircuitReport => ({ circuits: [], exclusions });
  expect(sessions.report(podA, plan, report(exclusion(), foreign, unknown), 0)).toBe(true);
  // One that is told twice counts once.
  expect(sessions.report(podA, plan, report(exclusion(), exclusion(), foreign), 0)).toBe(false);
  const worse = exclusion({
    endpoints: 3,
    totalEndpoints: 4,
    since: 500,
    panicking: true,
    names: [
      { endpoint: '10.0.0.1:8080', reason: 'success rate' },
      { endpoint: '10.0.0.2:8080', reason: 'another\nline' },
      { endpoint: '10.0.0.3:8080', reason: 'success rate' },
    ],
  });
  sessions.report(podB, plan, report(worse), 0);
  expect(sessions.exclusions(planOf)).toEqual([
    {
      dependencyId: 'shop/checkout/payments',
      stateKey: 'outlierDetection:base',
      sidecars: 2,
      totalSidecars: 3,
      panickingSidecars: 1,
      endpoints: 3,
      totalEndpoints: 4,
      sinceUnixMs: 500,
      names: [
        { endpoint: '10.0.0.2:8080', sidecars: 2, reason: '5 consecutive failures' },
        { endpoint: '10.0.0.1:8080', sidecars: 1, reason: 'success rate' },
        { endpoint: '10.0.0.3:8080', sidecars: 1, reason: 'success rate' },
      ],
    },
  ]);
  // A report without them says that there are none.
  expect(sessions.report(podA, plan, { circuits: [] }, 0)).toBe(true);
  expect(sessions.exclusions(planOf)).toMatchObject([{ sidecars: 1 }]);
  const without: PlanSnapshot = { ...plan, exclusions: new Map() };
  expect(sessions.exclusions(() => without)).toEqual([]);
  sessions.gone(podB);
  expect(sessions.exclusions(planOf)).toEqual([]);
});

test('no report brings more excluded endpoints into the summary than the plan knows states, whatever it says', () => {
  const { plan, planOf } = published('v1');
  const reported = fc.record({
    dependency: fc.constantFrom('shop/checkout/payments', 'billing/ledger/database', ''),
    stateKey: fc.constantFrom('outlierDetection:base', 'healthCheck:base', ''),
    endpoints: fc.integer({ min: 1, max: 1_000_000 }),
    totalEndpoints: fc.integer({ min: 0, max: 1_000_000 }),
    since: fc.nat(),
    panicking: fc.boolean(),
    names: fc.array(fc.record({ endpoint: fc.constantFrom('a', 'b', 'c', 'd', '\n'), reason }), { maxLength: 3 }),
  });
  const pods = [podA, podB, { namespace: 'shop', name: 'checkout-c', uid: 'uid-c' }];
  fc.assert(
    fc.property(fc.array(fc.array(reported), { minLength: 3, maxLength: 3 }), (all) => {
      const summaryOf = (order: readonly number[]) => {
        const sessions = new Sessions();
        for (const nth of order) {
          const pod = pods[nth] ?? podA;
          sessions.report(pod, plan, { circuits: [], exclusions: all[nth] ?? [] }, 0);
        }
        return sessions.exclusions(planOf);
      };
      const summaries = summaryOf([0, 1, 2]);
      expect(summaries.length).toBeLessThanOrEqual(1);
      for (const { sidecars, totalSidecars, panickingSidecars, endpoints, totalEndpoints, names } of summaries) {
        expect(sidecars).toBeLessThanOrEqual(totalSidecars);
        expect(panickingSidecars).toBeLessThanOrEqual(sidecars);
        expect(endpoints).toBeLessThanOrEqual(totalEndpoints);
        expect(names.length).toBeLessThanOrEqual(3);
        expect(new Set(names.map(({ endpoint }) => endpoint)).size).toBe(names.length);
        for (const { reason, sidecars: times } of names) {
          expect(times).toBeLessThanOrEqual(sidecars);
          expect(reason).not.toMatch(/\n/);
        }
      }
      expect(summaryOf([2, 0, 1])).toEqual(summaries);
    }),
  );
});

test.each([
  ['no endpoint', { endpoints: 0 }],
  ['a time that no Date can hold', { since: Number.MAX_SAFE_INTEGER }],
  ['a name without end', { names: [{ endpoint: 'x'.repeat(65), reason: '' }] }],
  ['many names', { names: ['a', 'b', 'c', 'd'].map((endpoint) => ({ endpoint, reason: '' })) }],
])('excluded endpoints with %s are refused', (_what, more) => {
  expect(circuitReport.safeParse({ circuits: [], exclusions: [exclusion()] }).success).toBe(true);
  expect(circuitReport.safeParse({ circuits: [], exclusions: [exclusion(more)] }).success).toBe(false);
});

test('what sidecars found on connections is told for dependencies of their plan, by what most of them say', () => {
  const sessions = new Sessions();
  const { plan, planOf } = published('v1');
  const dependency = 'shop/checkout/payments';
  sessions.opened(podA, CHECKOUT, 'plan', 0);
  sessions.opened(podB, CHECKOUT, 'plan', 0);
  expect(sessions.opaque(planOf)).toEqual([]);
  const found = { dependency, protocol: 'Tls' as const, alsoHttp: false };
  const stranger = { ...found, dependency: 'shop/other/payments' };
  expect(sessions.report(podA, plan, { circuits: [], opaque: [found, found, stranger] }, 0)).toBe(true);
  expect(sessions.report(podA, plan, { circuits: [], opaque: [found] }, 0)).toBe(false);
  const summary = { dependencyId: dependency, protocol: 'Tls', alsoHttp: false, sidecars: 1, totalSidecars: 2 };
  expect(sessions.opaque(planOf)).toEqual([summary]);
  sessions.report(podB, plan, { circuits: [], opaque: [{ ...found, alsoHttp: true }] }, 0);
  expect(sessions.opaque(planOf)).toEqual([{ ...summary, alsoHttp: true, sidecars: 2 }]);
  sessions.report(podA, plan, { circuits: [] }, 0);
  sessions.report(podB, plan, { circuits: [] }, 0);
  expect(sessions.opaque(planOf)).toEqual([]);
});
