// What many sidecars whose circuits flap cost the API server: the real parts from their reports to the writes, in virtual time.
import { expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { compile } from '../compile/compile.ts';
import { pod, policy, service, serviceDependency, TARGETS, world } from '../compile/testing.ts';
import { Sessions } from '../distribute/acknowledgements.ts';
import type { PodIdentity } from '../distribute/authenticate.ts';
import { Snapshots } from '../distribute/snapshots.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { type OwnStatus, statusOf } from '../status/conditions.ts';
import { StatusWriter } from '../status/writer.ts';
import { type OwnObject, ownKey, type WorldSource } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';
import { EventRecorder } from './events.ts';
import { MissedPods } from './missed-pods.ts';
import { StatusKeeper } from './status-keeper.ts';

const SIDECARS = 50;
const WORKLOAD = 'shop/checkout';
const DEPENDENCY = 'shop/checkout/payments';

interface Written {
  atMs: number;
  what: 'ServiceDependency' | 'ResiliencePolicy' | 'Event';
  status: OwnStatus | undefined;
}

/** An operator over a world in which 50 pods call one Service, and an API server that keeps what is written. */
function setUp() {
  const clock = new ManualClock();
  const pods = Array.from({ length: SIDECARS }, (_, index) => `checkout-${index}`);
  const input = world([
    service('payments'),
    serviceDependency('checkout'),
    policy('team', [TARGETS.dependency('checkout')], { circuitBreaker: {} }),
    ...pods.map((name) => pod(name)),
  ]);
  const result = compile(input);
  const snapshots = new Snapshots();
  snapshots.publish(result, clock.monotonicMs());
  const plan = snapshots.plan(WORKLOAD);
  if (plan === undefined) throw new Error('no plan');
  const planOf = (id: string) => snapshots.plan(id);
  const sessions = new Sessions();
  const identities = pods.map((name): PodIdentity => ({ namespace: 'shop', name, uid: name }));
  for (const identity of identities) {
    sessions.opened(identity, WORKLOAD, 'plan', 0);
    sessions.resumed(identity, 'plan', plan.version);
  }

  const objects = new Map<string, OwnObject>();
  for (const model of [...input.serviceDependencies, ...input.resiliencePolicies]) {
    const { kind } = model;
    const { namespace, name, generation } = model.metadata;
    const content = { model };
    objects.set(ownKey(kind, namespace, name), {
      kind,
      namespace,
      name,
      uid: name,
      generation,
      content,
      status: undefined,
    });
  }
  const writes: Written[] = [];
  const metrics = createOperatorMetrics();
  const api = {
    request<T>(_method: string, path: string, options: { body?: unknown } = {}): Promise<T> {
      const { kind, metadata, status } = options.body as {
        kind: Written['what'];
        metadata: { name: string };
        status?: OwnStatus;
      };
      writes.push({ atMs: clock.monotonicMs(), what: path.includes('/events') ? 'Event' : kind, status });
      if (status === undefined) return Promise.resolve({} as T);
      const key = ownKey(kind === 'ServiceDependency' ? kind : 'ResiliencePolicy', 'shop', metadata.name);
      const object = objects.get(key);
      if (object !== undefined) objects.set(key, { ...object, status });
      return Promise.resolve({ status } as T);
    },
  };
  const events = new EventRecorder({ api, instance: 'operator-1', clock, log: silentLogger, metrics });
  const source = { world: () => input, own: (key: string) => objects.get(key) } as unknown as WorldSource;
  const circuits = () => sessions.circuits(planOf);
  const keeper = new StatusKeeper({
    source,
    result: () => result,
    isCompiled: () => true,
    summaries: () => ({
      applied: sessions.applied(planOf, new Map()),
      circuits: circuits(),
      exclusions: [],
      opaque: [],
      tls: [],
    }),
    statusOf: (object, compiled, summaries, nowUnixMs) =>
      statusOf(object, compiled, summaries, new Date(nowUnixMs).toISOString().replace(/\.\d+Z$/, 'Z')),
    sink: new StatusWriter(api, metrics),
    circuits: new CircuitEvents({ source, circuits, events, clock }),
    missedPods: new MissedPods(events),
    clock,
    log: silentLogger,
    metrics,
  });
  const stateKey = plan.circuits.get(DEPENDENCY)?.values().next().value ?? '';
  return {
    clock,
    writes,
    keeper,
    events,
    /** One sidecar reports, as over the wire. */
    report: (sidecar: number, state: 'Closed' | 'Open' | 'HalfOpen', reason = '5 consecutive failures'): void => {
      const identity = identities[sidecar % SIDECARS];
      if (identity === undefined) return;
      const now = clock.unixMs();
      const open = { dependency: DEPENDENCY, stateKey, state, since: now, nextProbe: now + 30_000, reason };
      const report = { circuits: state === 'Closed' ? [] : [open] };
      if (sessions.report(identity, plan, report, clock.monotonicMs())) keeper.changed();
    },
    /** It could not apply the plan. */
    refuse: (sidecar: number): void => {
      const identity = identities[sidecar];
      if (identity === undefined) return;
      const { version } = plan;
      const refusal = { stream: 'plan', version, applied: false, message: 'cut', locallyDisabled: false } as const;
      if (sessions.acknowledge(identity, WORKLOAD, refusal, clock.monotonicMs())) keeper.changed();
    },
    count: (what: Written['what'], sinceMs = 0) => writes.filter((it) => it.what === what && it.atMs >= sinceMs).length,
    last: (what: Written['what']) => writes.findLast((it) => it.what === what)?.status,
  };
}

test('fifty sidecars that flap for ten minutes cost a write in ten seconds per object, and as many Events as one would', async () => {
  const { clock, keeper, events, report, count, last, writes } = setUp();
  keeper.start();
  await clock.advance(15_000);
  expect(count('ServiceDependency')).toBe(1);
  const startMs = clock.monotonicMs();
  const states = ['Open', 'HalfOpen', 'Open', 'Closed'] as const;
  let changes = 0;
  for (let step = 0; step < 6_000; step += 1) {
    report(step * 7, states[(step * 13 + Math.floor(step / SIDECARS)) % 4] ?? 'Open', `reason ${step}`);
    changes += 1;
    await clock.advance(100);
  }
  const seconds = 600;
  expect(changes).toBe(6_000);
  for (const kind of ['ServiceDependency', 'ResiliencePolicy'] as const) {
    const written = count(kind, startMs);
    expect(written).toBeGreaterThan(30);
    expect(written).toBeLessThanOrEqual(6 + seconds / 10 + 1);
  }
  expect(count('Event', startMs)).toBeLessThanOrEqual(6 + seconds / 60);

  // The end is not lost: it is there within the pace.
  for (let sidecar = 0; sidecar < SIDECARS; sidecar += 1) report(sidecar, 'Closed');
  await clock.advance(10_000);
  for (const kind of ['ServiceDependency', 'ResiliencePolicy'] as const) {
    expect(last(kind)?.circuits).toBeUndefined();
    expect(last(kind)?.openCircuits).toBe('');
  }
  const atRest = writes.length;
  await clock.advance(600_000);
  expect(writes.slice(atRest).filter(({ what }) => what !== 'Event')).toEqual([]);
  await keeper.stop();
  await events.stop();
  expect(clock.timers).toBe(0);
});

test('an outage that hits all sidecars within seconds is written at once and then rests', async () => {
  const { clock, keeper, report, count, last } = setUp();
  keeper.start();
  await clock.advance(15_000);
  const startMs = clock.monotonicMs();
  for (let sidecar = 0; sidecar < SIDECARS; sidecar += 1) {
    report(sidecar, 'Open');
    await clock.advance(40);
  }
  expect(last('ServiceDependency')?.circuits?.[0]?.sidecars).toBeGreaterThan(0);
  await clock.advance(2_000);
  expect(last('ServiceDependency')).toMatchObject({
    summary: '1/1 resolved · 50/50 sidecars · payments Open in 50 of 50',
    circuits: [{ dependency: 'payments', rule: 'base', state: 'Open', sidecars: 50, totalSidecars: 50 }],
  });
  expect(last('ResiliencePolicy')?.circuits).toMatchObject([{ dependency: DEPENDENCY, sidecars: 50 }]);
  expect(count('ServiceDependency', startMs)).toBeLessThanOrEqual(4);
  expect(count('Event', startMs)).toBe(1);
  await clock.advance(600_000);
  expect(count('ServiceDependency', startMs)).toBeLessThanOrEqual(4);
  await keeper.stop();
});

test('what is not of circuits is written at its own pace while they flap', async () => {
  const { clock, keeper, report, refuse, last } = setUp();
  keeper.start();
  await clock.advance(15_000);
  for (let step = 0; step < 100; step += 1) {
    report(step, step % 2 === 0 ? 'Open' : 'Closed');
    await clock.advance(500);
  }
  expect(last('ServiceDependency')?.programmed).toBe('50/50');
  refuse(0);
  await clock.advance(1_600);
  expect(last('ServiceDependency')?.programmed).toBe('49/50');
  expect(last('ServiceDependency')?.conditions?.find(({ type }) => type === 'Programmed')).toMatchObject({
    status: 'False',
    reason: 'Refused',
  });
  await keeper.stop();
});
