import { beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { compile } from '../compile/compile.ts';
import type { CompileResult } from '../compile/result.ts';
import { emptyWorkload } from '../compile/workloads.ts';
import type { World, WorldPod } from '../compile/world.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/world-builder.ts';
import { createOperatorMetrics } from '../metrics.ts';
import type { StandIn, WorldSource } from '../watch/world-source.ts';
import { Reconciler } from './reconciler.ts';

let clock: ManualClock;
let world: World;
let hasSynced: boolean;
/** Pods that only the API server knows yet. */
let newPods: Map<string, object>;
let published: CompileResult[];
let failing: boolean;
let compilationMs: number;
let reconciler: Reconciler;

beforeEach(() => {
  clock = new ManualClock();
  world = worldOf(dependency('checkout'), pod('checkout-1', { app: 'checkout' }), pod('bare', { app: 'bare' }));
  hasSynced = true;
  newPods = new Map();
  published = [];
  failing = false;
  compilationMs = 0;
  const source = {
    get hasSynced() {
      return hasSynced;
    },
    world: () => world,
    pod: (_namespace: string, name: string, uid: string): Promise<WorldPod | StandIn | undefined> => {
      const fresh = newPods.get(name);
      if (fresh !== undefined) world = { ...world, pods: [...world.pods, ...worldOf(fresh).pods] };
      newPods.delete(name);
      return Promise.resolve(world.pods.find((one) => one.name === name && one.uid === uid));
    },
  } as WorldSource;
  reconciler = new Reconciler({
    source,
    compile: (input) => {
      clock.block(compilationMs);
      if (failing) throw new Error('a mistake in the compiler');
      return compile(input);
    },
    publish: (result) => published.push(result),
    emptyWorkload,
    onResult: () => undefined,
    clock,
    log: silentLogger,
    metrics: createOperatorMetrics(),
  });
  reconciler.start();
});

function worldOf(...objects: object[]): World {
  const builder = createWorldBuilder();
  for (const object of objects) addObject(builder, object);
  return buildWorld(builder, 'cluster.local');
}

function pod(name: string, labels: Record<string, string>) {
  const containers = [{ name: 'app' }, { name: 'breakwater' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, labels },
    spec: { containers },
    status: { phase: 'Running' },
  };
}

function dependency(name: string) {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name, namespace: 'shop' },
    spec: {
      consumer: { selector: { matchLabels: { app: name } } },
      dependsOn: [{ name: 'payments', service: { name: 'payments', port: 8080 } }],
    },
  };
}

const identity = (name: string) => ({ namespace: 'shop', name, uid: `uid-${name}` });

test('compiles and publishes each world that it is told of', async () => {
  reconciler.worldChanged();
  await clock.advance(0);
  expect(published).toHaveLength(1);
  expect(published[0]?.workloads.map(({ id }) => id)).toContain('shop/checkout');
  world = { ...world };
  reconciler.worldChanged();
  await clock.advance(0);
  expect(published).toHaveLength(2);
  expect(reconciler.result).toBe(published[1]);
});

test('publishes nothing before everything was read', async () => {
  hasSynced = false;
  reconciler.worldChanged();
  await clock.advance(0);
  expect(published).toEqual([]);
  await expect(reconciler.workloadOfPod(identity('checkout-1'))).rejects.toThrow('not known yet');
});

test('a failing compiler leaves the last result in force, and is tried again', async () => {
  reconciler.worldChanged();
  await clock.advance(0);
  failing = true;
  reconciler.worldChanged();
  await clock.advance(100);
  expect(reconciler.result).toBe(published[0]);
  failing = false;
  await clock.advance(1_000);
  expect(published).toHaveLength(2);
});

test('knows the workload of a pod by its labels', async () => {
  reconciler.worldChanged();
  await clock.advance(0);
  expect((await reconciler.workloadOfPod(identity('checkout-1')))?.id).toBe('shop/checkout');
  const bare = await reconciler.workloadOfPod(identity('bare'));
  expect(bare?.plan.dependencies).toEqual([]);
  expect(bare?.id).toBe(emptyWorkload('shop').id);
});

test('does not know a pod whose name belongs to another by now', async () => {
  reconciler.worldChanged();
  await clock.advance(0);
  expect(await reconciler.workloadOfPod({ ...identity('checkout-1'), uid: 'the one before' })).toBeUndefined();
});

test('compiles at once for a pod that is newer than the cache', async () => {
  reconciler.worldChanged();
  await clock.advance(0);
  newPods.set('checkout-2', pod('checkout-2', { app: 'checkout' }));
  expect((await reconciler.workloadOfPod(identity('checkout-2')))?.pods).toContain('shop/checkout-2');
  expect(published).toHaveLength(2);
  await reconciler.workloadOfPod(identity('checkout-2'));
  expect(published).toHaveLength(2);
});

test('compiles nothing for a pod without a sidecar that it has seen, however often that asks and the world changes', async () => {
  const withStranger = (labels: Record<string, string>) => {
    const stranger = { ...pod('stranger', labels), spec: { containers: [{ name: 'app' }] } };
    return worldOf(dependency('checkout'), stranger);
  };
  world = withStranger({ app: 'stranger' });
  reconciler.worldChanged();
  await clock.advance(0);
  for (let at = 0; at < 5; at += 1) {
    world = { ...world };
    expect((await reconciler.workloadOfPod(identity('stranger')))?.id).toBe(emptyWorkload('shop').id);
  }
  expect(published).toHaveLength(1);
  world = withStranger({ app: 'checkout' });
  expect((await reconciler.workloadOfPod(identity('stranger')))?.id).toBe('shop/checkout');
  expect(published).toHaveLength(2);
});

test('rests as long as it worked, and then compiles the newest world', async () => {
  compilationMs = 200;
  reconciler.worldChanged();
  await clock.advance(0);
  expect(published).toHaveLength(1);
  world = worldOf(dependency('web'));
  reconciler.worldChanged();
  await clock.advance(199);
  expect(published).toHaveLength(1);
  await clock.advance(1);
  expect(published).toHaveLength(2);
  expect(published[1]?.workloads.map(({ id }) => id)).toEqual(['shop/web']);
});
