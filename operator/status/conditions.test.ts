import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resiliencePolicyStatus } from '../../crds/resilience-policy.ts';
import { serviceDependencyStatus } from '../../crds/service-dependency.ts';
import { compile } from '../compile/compile.ts';
import { PROBLEMS } from '../compile/problem.ts';
import type { CompileResult, OwnKind } from '../compile/result.ts';
import { type Manifest, pod, policy, service, serviceDependency, TARGETS, world } from '../compile/testing.ts';
import type { World } from '../compile/world.ts';
import type { ExclusionSummary } from '../distribute/exclusions.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import { statusOf } from './conditions.ts';
import type { SidecarReports, StatusSubject } from './scope.ts';

const T1 = '2026-03-01T10:00:00Z';
const T2 = '2026-03-01T11:00:00Z';
const none: SidecarReports = { applied: new Map(), circuits: [], exclusions: [], opaque: [], tls: [] };

function reports(
  applied: Record<
    string,
    {
      applied: number;
      of: number;
      nacks?: { pod: string; message: string }[];
      locallyDisabled?: string[];
      appliedPods?: string[];
    }
  >,
  circuits: SidecarReports['circuits'] = [],
  exclusions: SidecarReports['exclusions'] = [],
  tls: SidecarReports['tls'] = [],
): SidecarReports {
  const entries = Object.entries(applied).map(
    ([id, it]) => [id, { nacks: [], locallyDisabled: [], appliedPods: [], ...it }] as const,
  );
  return { applied: new Map(entries), circuits, exclusions, opaque: [], tls };
}

function subjectIn(
  { serviceDependencies, resiliencePolicies, invalid }: World,
  kind: OwnKind,
  name: string,
  status?: unknown,
): StatusSubject {
  const models = kind === 'ServiceDependency' ? serviceDependencies : resiliencePolicies;
  const model = models.find((it) => it.metadata.name === name);
  if (model !== undefined) {
    const { namespace, generation } = model.metadata;
    return { kind, namespace, name, generation, content: { model }, status };
  }
  const broken = invalid.find((it) => it.kind === kind && it.name === name);
  if (broken === undefined) throw new Error(`no ${kind} ${name}`);
  return {
    kind,
    namespace: broken.namespace,
    name,
    generation: broken.generation,
    content: { invalid: broken },
    status,
  };
}

interface Given {
  reports?: SidecarReports;
  previous?: unknown;
  now?: string;
}

function status(manifests: readonly Manifest[], kind: OwnKind, name: string, given: Given = {}) {
  const input = world(manifests);
  const result = compile(input);
  const subject = subjectIn(input, kind, name, given.previous);
  const made = statusOf(subject, result, given.reports ?? none, given.now ?? T1);
  const schema = kind === 'ServiceDependency' ? serviceDependencyStatus : resiliencePolicyStatus;
  expect(schema.parse(made)).toEqual(made);
  return made;
}

const sdep = (manifests: readonly Manifest[], given?: Given) =>
  status(manifests, 'ServiceDependency', 'checkout', given);
const rpol = (manifests: readonly Manifest[], given?: Given) => status(manifests, 'ResiliencePolicy', 'team', given);

/** "Accepted=True Accepted", … */
function verdicts(made: { conditions?: { type: string; status: string; reason: string }[] | undefined }) {
  return made.conditions?.map((it) => `${it.type}=${it.status} ${it.reason}`);
}

function message(made: { conditions?: { type: string; message: string }[] | undefined }, type: string) {
  return made.conditions?.find((it) => it.type === type)?.message;
}

const team = (spec: Manifest = { circuitBreaker: {} }, metadata: Manifest = {}) =>
  policy('team', [TARGETS.dependency('checkout')], spec, metadata);
const base = [
  service('payments'),
  serviceDependency('checkout', { metadata: { generation: 4 } }),
  team(),
  pod('checkout-1'),
];
const allApplied = reports({ 'shop/checkout': { applied: 1, of: 1 } });
const circuit = (
  stateKey: string,
  state: CircuitSummary['state'],
  sidecars: number,
  dependencyId = 'shop/checkout/payments',
  more: Partial<CircuitSummary> = {},
): CircuitSummary => ({
  dependencyId,
  stateKey,
  state,
  sidecars,
  totalSidecars: 12,
  sinceUnixMs: Date.parse(T1) - 5_000,
  failingSinceUnixMs: Date.parse(T1) - 70_000,
  nextProbeUnixMs: state === 'Open' ? Date.parse(T1) + 25_900 : undefined,
  reopenings: 1,
  reason: '5 consecutive failures (last: ConnectFailure)',
  ...more,
});
const excluded = (stateKey: string, more: Partial<ExclusionSummary> = {}): ExclusionSummary => ({
  dependencyId: 'shop/checkout/payments',
  stateKey,
  sidecars: 3,
  totalSidecars: 12,
  panickingSidecars: 0,
  endpoints: 2,
  totalEndpoints: 5,
  sinceUnixMs: Date.parse(T1) - 5_000,
  names: [{ endpoint: '10.0.0.2:8080', sidecars: 3, reason: '5 consecutive failures (last: Reset)' }],
  ...more,
});
const details = {
  totalSidecars: 12,
  since: '2026-03-01T09:59:55Z',
  failingSince: '2026-03-01T09:58:50Z',
  reason: '5 consecutive failures (last: ConnectFailure)',
  reopenings: 1,
};

describe('a ServiceDependency', () => {
  it('is ready when everything is there and every sidecar applies it', () => {
    const made = sdep(base, { reports: allApplied });
    expect(verdicts(made)).toEqual([
      'Accepted=True Accepted',
      'ResolvedRefs=True ResolvedRefs',
      'Programmed=True Programmed',
      'Ready=True Ready',
    ]);
    expect(made).toMatchObject({
      observedGeneration: 4,
      summary: '1/1 resolved · 1/1 sidecars',
      resolved: '1/1',
      programmed: '1/1',
      openCircuits: '',
      circuits: undefined,
    });
    for (const it of made.conditions ?? []) expect(it).toMatchObject({ observedGeneration: 4, lastTransitionTime: T1 });
  });

  it('says which circuits are not closed, of which rule, and in how many sidecars', () => {
    const made = sdep(base, {
      reports: reports({ 'shop/checkout': { applied: 12, of: 12 } }, [
        circuit('circuitBreaker:shop/team/charge', 'HalfOpen', 1),
        circuit('circuitBreaker:base', 'Open', 3),
        circuit('circuitBreaker:base', 'Closed', 8),
        circuit('circuitBreaker:base', 'Open', 5, 'shop/other/payments'),
        circuit('circuitBreaker:base', 'Open', 5, 'shop/checkout-2/payments'),
      ]),
    });
    expect(made.summary).toBe(
      '1/1 resolved · 12/12 sidecars · payments Open in 3 of 12, payments (charge) HalfOpen in 1 of 12',
    );
    expect(made.openCircuits).toBe('payments Open in 3 of 12, payments (charge) HalfOpen in 1 of 12');
    expect(made.circuits).toEqual([
      {
        dependency: 'payments',
        rule: 'base',
        state: 'Open',
        sidecars: 3,
        ...details,
        nextProbe: '2026-03-01T10:00:25Z',
      },
      { dependency: 'payments', rule: 'charge', state: 'HalfOpen', sidecars: 1, ...details, nextProbe: undefined },
    ]);
    // Somebody else's outage is no reason to fail a deployment.
    expect(verdicts(made)?.at(-1)).toBe('Ready=True Ready');
  });

  it('shows circuits that a policy forces, without an outage that nobody saw, and the reset that the plans carry', () => {
    const forced = { reason: 'the policy forces it open', nextProbeUnixMs: undefined };
    const metadata = { generation: 4, annotations: { 'breakwater.dev/reset-circuit': '2026-11-25' } };
    const made = sdep([service('payments'), serviceDependency('checkout', { metadata }), team(), pod('checkout-1')], {
      reports: reports({ 'shop/checkout': { applied: 12, of: 12 } }, [
        circuit('circuitBreaker:base', 'ForcedOpen', 12, 'shop/checkout/payments', forced),
      ]),
    });
    expect(made.openCircuits).toBe('payments ForcedOpen in 12 of 12');
    expect(made.circuits).toEqual([
      {
        dependency: 'payments',
        rule: 'base',
        state: 'ForcedOpen',
        sidecars: 12,
        totalSidecars: 12,
        since: '2026-03-01T09:59:55Z',
        failingSince: undefined,
        nextProbe: undefined,
        reopenings: undefined,
        reason: 'the policy forces it open',
      },
    ]);
    expect(made.circuitReset).toBe('2026-11-25');
    expect(sdep(base, { reports: allApplied }).circuitReset).toBeUndefined();
  });

  it('tells of circuits in shadow apart from those that act', () => {
    const shadow = [
      circuit('shadow.circuitBreaker:base', 'Open', 3),
      circuit('shadow.circuitBreaker:shop/team/charge', 'HalfOpen', 1),
    ];
    const applied = { 'shop/checkout': { applied: 12, of: 12 } };
    const made = sdep(base, {
      reports: reports(applied, [circuit('circuitBreaker:shop/team/charge', 'Open', 1), ...shadow]),
    });
    expect(made.summary).toBe(
      '1/1 resolved · 12/12 sidecars · payments (charge) Open in 1 of 12 · shadow: payments would be Open in 3 of 12, payments (charge) would be HalfOpen in 1 of 12',
    );
    expect(made.openCircuits).toBe('payments (charge) Open in 1 of 12');
    expect(made.circuits?.map(({ rule, state }) => `${rule} ${state}`)).toEqual(['charge Open']);
    expect(made.shadowCircuits?.map(({ rule, state }) => `${rule} ${state}`)).toEqual(['base Open', 'charge HalfOpen']);
  });

  it('says how many endpoints get no calls, in how many sidecars, since when, and names some', () => {
    const exclusions = [
      excluded('outlierDetection:base'),
      excluded('healthCheck:base', { endpoints: 4, panickingSidecars: 1, names: [] }),
      excluded('outlierDetection:shop/a/charge', { sidecars: 1, endpoints: 1 }),
      excluded('outlierDetection:shop/b/charge', { sidecars: 1, endpoints: 1 }),
      excluded('outlierDetection:base', { dependencyId: 'shop/other/payments' }),
    ];
    const made = sdep(base, { reports: reports({ 'shop/checkout': { applied: 12, of: 12 } }, [], exclusions) });
    expect(made.summary).toBe(
      '1/1 resolved · 12/12 sidecars · payments 2 of 5 endpoints Ejected in 3 of 12, payments 4 of 5 endpoints Unhealthy in 3 of 12 (all used in 1), payments (shop/a/charge) 1 of 5 endpoints Ejected in 1 of 12, payments (shop/b/charge) 1 of 5 endpoints Ejected in 1 of 12',
    );
    expect(made.excludedEndpoints?.slice(0, 2)).toEqual([
      {
        dependency: 'payments',
        rule: 'base',
        state: 'Ejected',
        endpoints: 2,
        totalEndpoints: 5,
        sidecars: 3,
        totalSidecars: 12,
        panickingSidecars: undefined,
        since: '2026-03-01T09:59:55Z',
        names: [{ endpoint: '10.0.0.2:8080', sidecars: 3, reason: '5 consecutive failures (last: Reset)' }],
      },
      expect.objectContaining({ state: 'Unhealthy', endpoints: 4, panickingSidecars: 1, names: undefined }),
    ]);
    expect(made.excludedEndpoints).toHaveLength(4);
    // One bad endpoint is what ejection is for: nothing is wrong with the object.
    expect(verdicts(made)?.at(-1)).toBe('Ready=True Ready');
    expect(sdep(base, { reports: allApplied }).excludedEndpoints).toBeUndefined();
  });

  it('tells of endpoints that would be ejected in shadow apart from those that are', () => {
    const exclusions = [excluded('outlierDetection:base'), excluded('shadow.outlierDetection:base', { sidecars: 1 })];
    const made = sdep(base, { reports: reports({ 'shop/checkout': { applied: 12, of: 12 } }, [], exclusions) });
    expect(made.summary).toBe(
      '1/1 resolved · 12/12 sidecars · payments 2 of 5 endpoints Ejected in 3 of 12 · shadow: payments 2 of 5 endpoints would be Ejected in 1 of 12',
    );
    expect(made.excludedEndpoints).toMatchObject([{ rule: 'base', state: 'Ejected', sidecars: 3 }]);
    expect(made.shadowExcludedEndpoints).toMatchObject([{ rule: 'base', state: 'Ejected', sidecars: 1 }]);
    expect(sdep(base, { reports: allApplied }).shadowExcludedEndpoints).toBeUndefined();
  });

  it('leaves out times that cannot be, and never says "3 of 2"', () => {
    const odd = { nextProbeUnixMs: 8.64e15, sinceUnixMs: 8.64e15, failingSinceUnixMs: 0, totalSidecars: 2, reason: '' };
    const made = sdep(base, {
      reports: reports({}, [circuit('circuitBreaker:base', 'Open', 3, undefined, odd)]),
    });
    expect(made.circuits?.[0]).toEqual({
      dependency: 'payments',
      rule: 'base',
      state: 'Open',
      sidecars: 3,
      totalSidecars: 3,
      failingSince: '1970-01-01T00:00:00Z',
      reopenings: 1,
    });
  });

  it('names rules of two policies so that they can be told apart', () => {
    const made = sdep(base, {
      reports: reports({}, [
        circuit('circuitBreaker:shop/a/charge', 'Open', 1),
        circuit('circuitBreaker:shop/b/charge', 'Open', 2),
      ]),
    });
    expect(made.circuits?.map((it) => it.rule)).toEqual(['shop/a/charge', 'shop/b/charge']);
  });

  it('is not resolved while a Service is missing, and names field and fix', () => {
    const made = sdep(base.slice(1), { reports: allApplied });
    expect(verdicts(made)).toEqual([
      'Accepted=True Accepted',
      'ResolvedRefs=False ServiceNotFound',
      'Programmed=True NothingToProgram',
      'Ready=False ServiceNotFound',
    ]);
    expect(message(made, 'ResolvedRefs')).toBe(
      'spec.dependsOn[0].service: Service shop/payments does not exist, so its calls pass without policies; create it, or correct name and namespace',
    );
    expect(message(made, 'Ready')).toMatch(/^ResolvedRefs: spec\.dependsOn\[0\]\.service: /);
    expect(made.summary).toBe('0/1 resolved · 1/1 sidecars');
  });

  it('counts sidecars that run but are not connected', () => {
    const made = sdep([...base, pod('checkout-2')], { reports: allApplied });
    expect(verdicts(made)?.slice(2)).toEqual([
      'Programmed=False PartiallyProgrammed',
      'Ready=False PartiallyProgrammed',
    ]);
    expect(made.programmed).toBe('1/2');
  });

  it('names who is missing, a few of them, and how to find out why', () => {
    const many = ['2', '3', '4', '5', '6'].map((number) => pod(`checkout-${number}`));
    const applied = { applied: 1, of: 1, appliedPods: ['checkout-1'] };
    const made = sdep([...base, ...many], { reports: reports({ 'shop/checkout': applied }) });
    expect(message(made, 'Programmed')).toBe(
      'applied by 1 of 6 sidecars; shop/checkout-2, shop/checkout-3, shop/checkout-4 and 2 more did not confirm it yet; ' +
        'where it lasts, see whether the operator is reached: kubectl exec -n shop checkout-2 -c breakwater -- breakwater status',
    );
  });

  it('is pending before the first sidecar confirmed it', () => {
    expect(verdicts(sdep(base))?.slice(2)).toEqual(['Programmed=False Pending', 'Ready=False Pending']);
  });

  it('tells why sidecars refuse a plan', () => {
    const nacks = [
      { pod: 'checkout-1', message: 'cut' },
      { pod: '*', message: 'too large' },
    ];
    const made = sdep(base, { reports: reports({ 'shop/checkout': { applied: 0, of: 1, nacks } }) });
    expect(verdicts(made)?.[2]).toBe('Programmed=False Refused');
    expect(message(made, 'Programmed')).toBe(
      'applied by 0 of 1 sidecars; the others keep what they had before: checkout-1: cut; too large; where it lasts, restart these pods: their sidecars may be older than the operator',
    );
  });

  it('waits for nothing before its first pod, and for a sidecar where pods run without one', () => {
    const without = base.slice(0, 3);
    expect(verdicts(sdep(without))?.slice(2)).toEqual(['Programmed=True NoSidecars', 'Ready=True Ready']);
    expect(message(sdep(without), 'Programmed')).toContain('selects no pod of namespace shop');
    const bare = { ...pod('checkout-1'), spec: { containers: [{ name: 'app' }] } };
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };
    const made = sdep([...without, bare, namespace]);
    expect(verdicts(made)?.slice(2)).toEqual(['Programmed=False NoSidecars', 'Ready=False NoSidecars']);
    expect(message(made, 'Ready')).toContain('kubectl label namespace shop breakwater.dev/injection=enabled');
    expect(made.summary).toBe('1/1 resolved · no sidecars');
  });

  it('tells warnings behind errors, and both where they are long', () => {
    const bootstrap = JSON.stringify({ formatVersion: 1, capture: 'loopback', entries: [] });
    const born = {
      ...pod('checkout-1'),
      metadata: {
        name: 'checkout-1',
        namespace: 'shop',
        labels: { app: 'checkout' },
        annotations: { 'breakwater.dev/bootstrap': bootstrap },
      },
      spec: { initContainers: [{ name: 'breakwater', env: [{ name: 'BREAKWATER_CAPTURE', value: 'loopback' }] }] },
    };
    const entries = Array.from({ length: 60 }, (_, index) => `payments-${index}-${'x'.repeat(50)}`);
    const dependsOn = entries.map((name) => ({ name, service: { name, port: 8080 } }));
    const declared = serviceDependency('checkout', { dependsOn });
    const made = sdep(
      [
        ...entries.map((name) => service(name)),
        { ...declared, spec: { ...(declared['spec'] as Manifest), undeclared: 'Deny' } },
        born,
      ],
      { reports: allApplied },
    );
    expect(verdicts(made)?.slice(2)).toEqual([
      'Programmed=False PodsPredateDependency',
      'Ready=False PodsPredateDependency',
    ]);
    const told = message(made, 'Programmed') ?? '';
    expect(told.length).toBeLessThanOrEqual(4096);
    expect(told).toMatch(/^spec\.dependsOn\[0\].*1 of 1 pods were started before/);
    expect(told).toMatch(/; note: spec\.undeclared: undeclared: Deny is not enforced in 1 of 1 pods/);
  });

  it('does not miss pods whose sidecars report, as those of standalone mode do', () => {
    const made = sdep(base.slice(0, 3), { reports: reports({ 'shop/checkout': { applied: 1, of: 1 } }) });
    expect(message(made, 'Programmed')).toBe('applied by 1 of 1 sidecars');
  });

  it('shows both kill switches', () => {
    const disabled = { metadata: { annotations: { 'breakwater.dev/enforcement': 'disabled' } } };
    const made = sdep([service('payments'), serviceDependency('checkout', disabled), pod('checkout-1')], {
      reports: reports({ 'shop/checkout': { applied: 1, of: 1, locallyDisabled: ['checkout-1'] } }),
    });
    expect(made.summary).toBe('1/1 resolved · 1/1 sidecars · enforcement disabled · switched off by hand in 1');
    expect(verdicts(made)?.[2]).toBe('Programmed=True Programmed');
    expect(message(made, 'Programmed')).toContain('on ServiceDependency shop/checkout switches all policies off');
  });

  it('is not ready, and its parts are not judged, while it is invalid', () => {
    const broken = serviceDependency('checkout', {
      dependsOn: [{ name: 'x', service: { name: 'y', port: 0 } }],
      metadata: { generation: 9 },
    });
    const made = sdep([broken]);
    expect(verdicts(made)).toEqual([
      'Accepted=False Invalid',
      'ResolvedRefs=Unknown Invalid',
      'Programmed=False Invalid',
      'Ready=False Invalid',
      'Stalled=True Invalid',
    ]);
    expect(made.observedGeneration).toBe(9);
    expect(made.summary).toMatch(/^spec\.dependsOn\[0\]\.service\.port: /);
  });
});

describe('a ResiliencePolicy', () => {
  it('says which of its blocks are in shadow, and what their circuits would do', () => {
    const trial = team({
      retries: {},
      circuitBreaker: { mode: 'Shadow' },
      timeouts: { mode: 'Shadow', request: '1s' },
    });
    const made = rpol([service('payments'), serviceDependency('checkout'), trial, pod('checkout-1')], {
      reports: reports({ 'shop/checkout': { applied: 1, of: 1 } }, [circuit('shadow.circuitBreaker:base', 'Open', 1)]),
    });
    expect(made.summary).toBe(
      '1/1 targets · 1/1 sidecars · shadow: timeouts, circuitBreaker; payments would be Open in 1 of 12',
    );
    expect(made.shadowCircuits).toMatchObject([{ dependency: 'shop/checkout/payments', rule: 'base', state: 'Open' }]);
  });

  it('names its dependencies in full, for it may act in many namespaces', () => {
    const made = rpol(base, {
      reports: reports({ 'shop/checkout': { applied: 1, of: 1 } }, [circuit('circuitBreaker:base', 'Open', 1)]),
    });
    expect(made.summary).toBe('1/1 targets · 1/1 sidecars · payments Open in 1 of 12');
    expect(made.circuits).toMatchObject([
      { dependency: 'shop/checkout/payments', rule: 'base', state: 'Open', sidecars: 1, ...details },
    ]);
    expect(verdicts(made)?.at(-1)).toBe('Ready=True Ready');
  });

  it('says that its target is missing in both conditions that mean it', () => {
    const made = rpol([policy('team', [TARGETS.dependency('nobody')], {})]);
    expect(verdicts(made)).toEqual([
      'Accepted=False TargetNotFound',
      'ResolvedRefs=False TargetNotFound',
      'Programmed=True NothingToProgram',
      'Ready=False TargetNotFound',
    ]);
    expect(message(made, 'Accepted')).toContain(
      'spec.targetRefs[0].name: ServiceDependency shop/nobody does not exist; create it',
    );
    expect(made.summary).toBe('0/1 targets · no sidecars');
  });

  it('says that an older one wins, first thing in its summary', () => {
    const older = policy('older', [TARGETS.dependency('checkout')], {});
    const made = rpol([
      ...base.filter((it) => it['kind'] !== 'ResiliencePolicy'),
      older,
      team({}, { creationTimestamp: '2026-02-01T00:00:00Z' }),
    ]);
    expect(verdicts(made)?.[0]).toBe('Accepted=False Conflicted');
    expect(made.summary).toBe('Conflicted · 1/1 targets · no sidecars');
  });

  it('keeps warnings out of the verdict and in the message', () => {
    const made = rpol(
      [...base.filter((it) => it['kind'] !== 'ResiliencePolicy'), team({ timeouts: { attempt: '8s' } })],
      { reports: allApplied },
    );
    expect(verdicts(made)?.[0]).toBe('Accepted=True Accepted');
    expect(message(made, 'Accepted')).toMatch(/^valid and in effect; note: spec\.timeouts\.attempt: /);
  });

  it('is unknown until it was compiled', () => {
    const input = world(base);
    const before = compile(world(base.filter((it) => it['kind'] !== 'ResiliencePolicy')));
    const made = statusOf(subjectIn(input, 'ResiliencePolicy', 'team'), before, none, T1);
    expect(verdicts(made)?.slice(2)).toEqual(['Programmed=Unknown Pending', 'Ready=Unknown Pending']);
  });
});

describe('every status', () => {
  it('moves a transition time only when the status of that condition flips', () => {
    const first = sdep(base, { reports: none, now: T1 });
    const second = sdep(base, { reports: allApplied, previous: first, now: T2 });
    const times = Object.fromEntries((second.conditions ?? []).map((it) => [it.type, it.lastTransitionTime]));
    expect(times).toEqual({ Accepted: T1, ResolvedRefs: T1, Programmed: T2, Ready: T2 });
  });

  it('equals itself while nothing changes, however late', () => {
    const first = sdep(base, { reports: allApplied, now: T1 });
    expect(sdep(base, { reports: allApplied, previous: first, now: T2 })).toEqual(first);
  });

  it('survives a status that somebody else wrote', () => {
    for (const previous of [null, 'x', { conditions: 'x' }, { conditions: [null, { type: 'Ready' }] }]) {
      expect(sdep(base, { reports: allApplied, previous, now: T2 })).toEqual(
        sdep(base, { reports: allApplied, now: T2 }),
      );
    }
  });

  it('stays within the bounds of its schema', () => {
    const entries = Array.from({ length: 64 }, (_, at) => ({
      name: `${'n'.repeat(60)}${at}`,
      service: { name: 's'.repeat(63), port: 8080 },
    }));
    const circuits = entries.flatMap(({ name }) =>
      ['a', 'b', 'c', 'd', 'e'].map((rule) =>
        circuit(`circuitBreaker:${`${rule}/${'r'.repeat(63)}+`.repeat(9)}x`, 'Open', 1, `shop/checkout/${name}`),
      ),
    );
    const names = [1, 2, 3].map((nth) => ({ endpoint: `${nth}`.repeat(64), sidecars: 1, reason: 'r'.repeat(256) }));
    const exclusions = entries.flatMap(({ name }) =>
      ['outlierDetection', 'healthCheck'].map((block) =>
        excluded(`${block}:${'x/'.repeat(500)}y`, { dependencyId: `shop/checkout/${name}`, names, totalSidecars: 1 }),
      ),
    );
    const made = sdep([serviceDependency('checkout', { dependsOn: entries }), pod('p')], {
      reports: reports({}, circuits, exclusions),
    });
    expect(made.circuits).toHaveLength(256);
    expect(made.excludedEndpoints).toHaveLength(64);
    expect(made.summary?.length).toBeLessThanOrEqual(1024);
    expect(message(made, 'ResolvedRefs')).toContain('and 56 more');
  });

  it('does not depend on the order of reports', () => {
    const all = [
      circuit('circuitBreaker:base', 'Open', 1),
      circuit('circuitBreaker:shop/team/a', 'Open', 2),
      circuit('circuitBreaker:shop/team/b', 'HalfOpen', 3),
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (circuits) => {
        expect(sdep(base, { reports: reports({}, circuits) })).toEqual(sdep(base, { reports: reports({}, all) }));
      }),
    );
  });
});

describe('every reason', () => {
  it('is a word that a condition may carry', () => {
    for (const reason of Object.keys(PROBLEMS)) expect(reason).toMatch(/^[A-Z][A-Za-z]{0,62}$/);
  });

  it('turns its condition False when it is an error, and no other way', () => {
    for (const [reason, { condition, severity }] of Object.entries(PROBLEMS)) {
      const hasPods = reason !== 'NoPodsSelected';
      const input = world(hasPods ? base : base.slice(0, 3));
      const it = {
        kind: 'ResiliencePolicy' as const,
        object: { namespace: 'shop', name: 'team' },
        field: 'spec.x',
        condition,
        severity,
        reason,
        message: 'words',
      };
      const result: CompileResult = { ...compile(input), problems: [it] };
      const made = statusOf(subjectIn(input, 'ResiliencePolicy', 'team'), result, hasPods ? allApplied : none, T1);
      const own = made.conditions?.find((one) => one.type === condition);
      expect([reason, own?.status]).toEqual([reason, severity === 'Error' ? 'False' : 'True']);
      expect(own?.message).toContain('words');
      expect(made.conditions?.find((one) => one.type === 'Ready')?.status).toBe(own?.status);
    }
  });
});
