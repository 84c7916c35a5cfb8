import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';
import type { Admitted } from './admission.ts';
import type { Authentication, PodIdentity } from './authenticate.ts';
import { Distributor } from './distributor.ts';
import { endpoints, podA, podB, result, workload } from './fixtures.ts';
import { createDistributorMetrics } from './metrics.ts';
import type { Sink } from './stream.ts';

type Frame = { kind: string } & Record<string, unknown>;

/** A reader that the test makes slow. */
class FakeSink implements Sink {
  readonly frames: Frame[] = [];
  slow = false;
  over: 'ended' | 'cut' | undefined;

  write(frame: Buffer): boolean {
    this.frames.push(JSON.parse(frame.toString()) as Frame);
    return !this.slow;
  }

  end(frame: Buffer): void {
    this.frames.push(JSON.parse(frame.toString()) as Frame);
    this.over = 'ended';
  }

  destroy(): void {
    this.over = 'cut';
  }

  get kinds(): string[] {
    return this.frames.map((frame) => frame.kind);
  }

  take(): Frame[] {
    return this.frames.splice(0);
  }
}

/** A distributor whose cluster is a result of the compiler, and whose pods are what `pods` says. */
function setUp(options: { trust?: string } = {}) {
  const clock = new ManualClock();
  const registry = new Registry();
  const pods = new Map<string, CompiledWorkload | undefined>();
  const authentications = new Map<string, Authentication>();
  let bundle = options.trust ?? '';
  let trustChanged = () => {};
  const distributor = new Distributor({
    clock,
    log: silentLogger,
    authenticator: {
      authenticate: (authorization) =>
        Promise.resolve(
          authentications.get(authorization ?? '') ?? {
            ok: false,
            status: 401,
            reason: 'TokenMissing',
            message: 'none',
          },
        ),
    },
    workloadOfPod: (pod: PodIdentity) => Promise.resolve(pods.get(pod.uid)),
    metrics: createDistributorMetrics(registry),
    ...(options.trust === undefined
      ? {}
      : {
          trust: {
            trustBundle: () => bundle,
            onChange: (listener: () => void) => {
              trustChanged = listener;
              return () => {};
            },
          },
        }),
  });
  const publish = (published: CompileResult) => {
    pods.clear();
    for (const one of published.workloads) {
      for (const pod of [podA, podB]) if (one.pods.includes(`shop/${pod.name}`)) pods.set(pod.uid, one);
    }
    distributor.publish(published);
  };
  const login = (pod: PodIdentity, expiresUnixMs = Number.POSITIVE_INFINITY) =>
    authentications.set(pod.uid, { ok: true, pod, expiresUnixMs });
  login(podA);
  login(podB);
  const admit = async (pod: PodIdentity): Promise<Admitted> => {
    const admitted = await distributor.admit(pod.uid, undefined);
    if (!admitted.ok) throw new Error(admitted.message);
    return admitted;
  };
  const open = async (pod: PodIdentity, kind: 'plan' | 'endpoints' = 'plan', version?: string) => {
    const sink = new FakeSink();
    const handle = distributor.open(kind, await admit(pod), version, sink);
    return { sink, handle };
  };
  const metric = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values ?? [];
  const setTrust = (next: string) => {
    bundle = next;
    trustChanged();
  };
  return { clock, distributor, pods, publish, login, admit, open, metric, setTrust };
}

const checkout = (version: string, pods: readonly PodIdentity[] = [podA, podB]) =>
  workload(version, ['payments'], pods);
const one = (address: string) => [endpoints('payments', address)];

describe('who is let in', () => {
  test('nobody before the first publication', async () => {
    const { distributor } = setUp();
    expect(await distributor.admit(podA.uid, undefined)).toMatchObject({ ok: false, status: 503, reason: 'NotSynced' });
  });

  test('a pod, by its token alone', async () => {
    const { distributor, publish } = setUp();
    publish(result([checkout('v1')]));
    expect(await distributor.admit(podA.uid, undefined)).toMatchObject({
      ok: true,
      plan: { workloadId: 'shop/checkout' },
    });
    expect(await distributor.admit(podA.uid, 'shop/checkout')).toMatchObject({ ok: true });
    expect(await distributor.admit(undefined, undefined)).toMatchObject({ ok: false, status: 401 });
  });

  test("nobody to another workload's plan", async () => {
    const { distributor, publish, metric } = setUp();
    publish(result([checkout('v1', [podA]), workload('w1', ['ledger'], [podB], 'billing')]));
    const refusal = await distributor.admit(podA.uid, 'shop/billing');
    expect(refusal).toMatchObject({ ok: false, status: 403, reason: 'NotYourWorkload' });
    expect(refusal.ok ? '' : refusal.message).toContain(
      'the token belongs to pod shop/checkout-a of workload "shop/checkout"',
    );
    expect(await metric('breakwater_distribute_requests_refused_total')).toMatchObject([
      { labels: { reason: 'NotYourWorkload' }, value: 1 },
    ]);
  });

  test('no pod that does not exist, and none that cannot be looked up', async () => {
    const { distributor, publish, pods } = setUp();
    publish(result([checkout('v1', [podA])]));
    expect(await distributor.admit(podB.uid, undefined)).toMatchObject({
      ok: false,
      status: 404,
      reason: 'PodNotFound',
    });
    pods.get = () => {
      throw new Error('the API server does not answer');
    };
    expect(await distributor.admit(podA.uid, undefined)).toMatchObject({
      ok: false,
      status: 503,
      reason: 'PodUnknown',
    });
  });

  test('a pod without dependencies gets a plan without any', async () => {
    const { publish, pods, open } = setUp();
    publish(result([]));
    pods.set(podA.uid, workload('empty', [], [], ''));
    const { sink } = await open(podA);
    expect(sink.frames).toMatchObject([{ kind: 'plan', version: 'empty', plan: { dependencies: [] } }]);
    const { sink: endpointsSink } = await open(podA, 'endpoints');
    expect(endpointsSink.frames).toMatchObject([{ kind: 'snapshot', sets: [] }]);
  });
});

describe('the plan stream', () => {
  test('begins with the plan and follows it', async () => {
    const { publish, open } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    publish(result([checkout('v1')]));
    publish(result([checkout('v2')]));
    expect(sink.frames.map((frame) => frame['version'])).toEqual(['v1', 'v2']);
  });

  test('resumes: the same version is only named, another one sent', async () => {
    const { publish, open } = setUp();
    publish(result([checkout('v2')]));
    expect((await open(podA, 'plan', 'v2')).sink.frames).toEqual([{ kind: 'unchanged', version: 'v2' }]);
    expect((await open(podB, 'plan', 'v1')).sink.kinds).toEqual(['plan']);
  });

  test('tells whom to trust before anything else, and again when that changes', async () => {
    const { publish, open, setTrust } = setUp({ trust: 'first' });
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    expect(sink.take()).toMatchObject([{ kind: 'trust', bundle: 'first' }, { kind: 'plan' }]);
    const { sink: endpointsSink } = await open(podA, 'endpoints');
    setTrust('second');
    setTrust('second');
    expect(sink.take()).toEqual([{ kind: 'trust', bundle: 'second' }]);
    expect(endpointsSink.kinds).toEqual(['snapshot']);
  });

  test('tells a sidecar where it runs before the endpoints, again when that changes, and nothing where nobody has to know', async () => {
    const { publish, open } = setUp();
    const placed = (...places: [PodIdentity, string][]) => ({
      ...result([workload('v1', ['payments'], [podA, podB])], one('10.0.0.1')),
      placements: new Map(places.map(([pod, zone]) => [`shop/${pod.name}`, { node: 'n1', zone }])),
    });
    publish(placed([podA, 'west']));
    const west = await open(podA, 'endpoints');
    const nowhere = await open(podB, 'endpoints');
    const plans = await open(podA);
    expect(west.sink.take()).toMatchObject([
      { kind: 'placement', placement: { node: 'n1', zone: 'west' } },
      { kind: 'snapshot' },
    ]);
    expect(nowhere.sink.kinds).toEqual(['snapshot']);
    expect(plans.sink.kinds).toEqual(['plan']);
    publish(placed([podA, 'west'], [podB, 'east']));
    expect(west.sink.take()).toEqual([]);
    expect(nowhere.sink.take().at(-1)).toEqual({ kind: 'placement', placement: { node: 'n1', zone: 'east' } });
    publish(result([workload('v1', ['payments'], [podA, podB])], one('10.0.0.1')));
    expect(west.sink.take()).toEqual([{ kind: 'placement', placement: { node: '', zone: '' } }]);
  });

  test('a heartbeat comes every five seconds, until the stream is over', async () => {
    const { clock, publish, open } = setUp();
    publish(result([checkout('v1')]));
    const { sink, handle } = await open(podA);
    sink.take();
    await clock.advance(3 * HEARTBEAT_INTERVAL_MS);
    expect(sink.take()).toEqual([{ kind: 'heartbeat' }, { kind: 'heartbeat' }, { kind: 'heartbeat' }]);
    handle.closed();
    await clock.advance(3 * HEARTBEAT_INTERVAL_MS);
    expect(sink.frames).toEqual([]);
  });
});

describe('a slow reader', () => {
  test('skips versions, holds no queue and disturbs nobody', async () => {
    const { publish, open, metric } = setUp();
    publish(result([checkout('v0')]));
    const slow = await open(podA);
    const fast = await open(podB);
    slow.sink.slow = true;
    for (let version = 1; version <= 100; version += 1) publish(result([checkout(`v${version}`)]));
    expect(slow.sink.frames.map((frame) => frame['version'])).toEqual(['v0', 'v1']);
    expect(fast.sink.frames).toHaveLength(101);
    slow.sink.slow = false;
    slow.handle.drained();
    expect(slow.sink.frames.map((frame) => frame['version'])).toEqual(['v0', 'v1', 'v100']);
    expect(await metric('breakwater_distribute_coalesced_total')).toContainEqual({
      labels: { stream: 'plan' },
      value: 98,
    });
  });

  test('gets one delta over all the endpoints it missed', async () => {
    const { publish, open } = setUp();
    publish(result([checkout('v1')], one('10.0.0.0')));
    const { sink, handle } = await open(podA, 'endpoints');
    sink.slow = true;
    for (let last = 1; last <= 50; last += 1) publish(result([checkout('v1')], one(`10.0.0.${last}`)));
    expect(sink.take()).toHaveLength(2);
    sink.slow = false;
    handle.drained();
    expect(sink.frames).toMatchObject([{ kind: 'update', sets: [endpoints('payments', '10.0.0.50')], removed: [] }]);
  });

  test('that is back where it was is sent nothing', async () => {
    const { publish, open } = setUp();
    publish(result([checkout('v1')], one('10.0.0.1')));
    const { sink, handle } = await open(podA, 'endpoints');
    sink.slow = true;
    publish(result([checkout('v1')], one('10.0.0.2')));
    publish(result([checkout('v1')], one('10.0.0.3')));
    publish(result([checkout('v1')], one('10.0.0.2')));
    sink.slow = false;
    sink.take();
    handle.drained();
    expect(sink.frames).toEqual([]);
  });

  test('gets no heartbeats, and is cut off after a minute', async () => {
    const { clock, publish, open, distributor, metric } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    const fast = await open(podB);
    sink.slow = true;
    publish(result([checkout('v2')]));
    sink.take();
    await clock.advance(59_000);
    expect(sink.frames).toEqual([]);
    expect(sink.over).toBeUndefined();
    await clock.advance(6_000);
    expect(sink.over).toBe('cut');
    expect(distributor.openStreams).toBe(1);
    expect(fast.sink.over).toBeUndefined();
    const ended = await metric('breakwater_distribute_streams_ended_total');
    expect(ended).toEqual([{ labels: { stream: 'plan', reason: 'SlowReader' }, value: 1 }]);
  });
});

describe('a stream ends', () => {
  test('when its token expires, also one that outlives a timer', async () => {
    const { clock, publish, open, login } = setUp();
    publish(result([checkout('v1')]));
    login(podA, clock.unixMs() + 600_000);
    login(podB, clock.unixMs() + 2.5 * 3_600_000);
    const short = await open(podA);
    const long = await open(podB);
    await clock.advance(599_999);
    expect(short.sink.over).toBeUndefined();
    await clock.advance(1);
    expect(short.sink.over).toBe('ended');
    expect(short.sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'TokenExpired' });
    await clock.advance(2.5 * 3_600_000 - 600_001);
    expect(long.sink.over).toBeUndefined();
    await clock.advance(1);
    expect(long.sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'TokenExpired' });
  });

  test('when its pod is gone; the pod is forgotten with it', async () => {
    const { publish, open, distributor } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    const other = await open(podB);
    publish(result([checkout('v1', [podB])]));
    await settle();
    expect(sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'PodGone' });
    expect(other.sink.over).toBeUndefined();
    expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ of: 1 });
  });

  test('when its pod belongs to another workload now', async () => {
    const { publish, open } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    publish(result([checkout('v1', [podB]), workload('w1', ['payments', 'ledger'], [podA], 'billing')]));
    await settle();
    expect(sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'WorkloadChanged' });
    expect((await open(podA)).sink.frames).toMatchObject([{ kind: 'plan', version: 'w1' }]);
  });

  test('not when its pod cannot be looked up', async () => {
    const { publish, open, pods, distributor } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    pods.get = () => {
      throw new Error('the API server does not answer');
    };
    distributor.publish(result([]));
    await settle();
    expect(sink.over).toBeUndefined();
  });

  test('for good, also where the reader never takes the last frame', async () => {
    const { publish, open, distributor, clock } = setUp();
    publish(result([checkout('v1')]));
    const stuck = await open(podA);
    const prompt = await open(podB);
    distributor.close();
    prompt.handle.closed();
    await clock.advance(4_999);
    expect(stuck.sink.over).toBe('ended');
    await clock.advance(1);
    expect(stuck.sink.over).toBe('cut');
    expect(prompt.sink.over).toBe('ended');
    expect(clock.timers).toBe(0);
  });

  test('when the same pod opens a newer one', async () => {
    const { publish, open, distributor } = setUp();
    publish(result([checkout('v1')]));
    const old = await open(podA);
    const endpointsStream = await open(podA, 'endpoints');
    const young = await open(podA);
    expect(old.sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'Replaced' });
    old.handle.closed();
    expect(young.sink.over ?? endpointsStream.sink.over).toBeUndefined();
    expect(distributor.openStreams).toBe(2);
  });

  test('at once, when the same pod opens a newer one and does not read the old one', async () => {
    const { publish, open, distributor } = setUp();
    publish(result([checkout('v1')]));
    const stuck = await open(podA);
    stuck.sink.slow = true;
    publish(result([checkout('v2')]));
    await open(podA);
    expect(stuck.sink.over).toBe('cut');
    stuck.handle.closed();
    expect(distributor.openStreams).toBe(1);
  });

  test('when this replica stops; then nobody is let in', async () => {
    const { publish, open, distributor, clock } = setUp();
    publish(result([checkout('v1')]));
    const { sink } = await open(podA);
    distributor.close();
    expect(sink.frames.at(-1)).toEqual({ kind: 'end', reason: 'Shutdown' });
    expect(await distributor.admit(podA.uid, undefined)).toMatchObject({
      ok: false,
      status: 503,
      reason: 'ShuttingDown',
    });
    await clock.advance(HEARTBEAT_INTERVAL_MS);
    expect(clock.timers).toBe(0);
  });

  test('when this replica stopped while the pod was looked up', async () => {
    const { publish, admit, distributor, clock } = setUp();
    publish(result([checkout('v1')]));
    const admitted = await admit(podA);
    distributor.close();
    const sink = new FakeSink();
    const handle = distributor.open('plan', admitted, undefined, sink);
    expect(sink.frames).toEqual([{ kind: 'end', reason: 'Shutdown' }]);
    expect(distributor.openStreams).toBe(0);
    handle.closed();
    expect(clock.timers).toBe(0);
  });
});

describe('reports', () => {
  test('reach the summaries and the listener once each', async () => {
    const { publish, admit, open, distributor, metric, clock } = setUp();
    let changes = 0;
    distributor.onChange(() => (changes += 1));
    publish(result([checkout('v1')]));
    await open(podA);
    await clock.advance(20);
    publish(result([checkout('v2')]));
    await clock.advance(80);
    const report = { stream: 'plan', version: 'v2', applied: true, message: '', locallyDisabled: false } as const;
    distributor.acknowledge(await admit(podA), report);
    distributor.acknowledge(await admit(podA), report);
    const open1 = {
      dependency: 'shop/checkout/payments',
      stateKey: 'base',
      state: 'Open',
      since: 1,
      reason: 'x',
    } as const;
    distributor.reportCircuits(await admit(podA), { circuits: [open1] });
    distributor.reportCircuits(await admit(podA), { circuits: [open1] });
    expect(changes).toBe(2);
    expect(distributor.summaries()).toMatchObject({
      circuits: [{ dependencyId: 'shop/checkout/payments', sidecars: 1 }],
    });
    expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ applied: 1, of: 1 });
    const applied = await metric('breakwater_distribute_applied_duration_seconds');
    expect(
      applied.find((value) => 'metricName' in value && String(value.metricName).endsWith('_sum'))?.value,
    ).toBeCloseTo(0.08);
  });

  test('a new version makes those of the old one stale', async () => {
    const { publish, open, distributor } = setUp();
    publish(result([checkout('v1')]));
    await open(podA, 'plan', 'v1');
    expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ applied: 1, of: 1 });
    publish(result([checkout('v2')]));
    expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ applied: 0, of: 1 });
  });

  test('of a sidecar that is gone are forgotten after the grace', async () => {
    const { publish, open, distributor, clock } = setUp();
    publish(result([checkout('v1')]));
    const { handle } = await open(podA, 'plan', 'v1');
    let changes = 0;
    distributor.onChange(() => (changes += 1));
    handle.closed();
    await clock.advance(29_000);
    expect(distributor.summaries().applied.size).toBe(1);
    await clock.advance(10_000);
    expect(distributor.summaries().applied.size).toBe(0);
    expect(changes).toBe(1);
  });
});
