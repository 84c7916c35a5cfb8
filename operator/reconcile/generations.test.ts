// What a status says of an object is always about the generation that it names: an object that is newer than the newest compilation waits for the next one.
import { expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { compile } from '../compile/compile.ts';
import { toServiceDependency } from '../compile/objects.ts';
import { emptyWorkload } from '../compile/workloads.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/world-builder.ts';
import type { Summaries } from '../distribute/distributor.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { statusOf } from '../status/conditions.ts';
import type { OwnObject, WorldSource } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';
import { MissedPods } from './missed-pods.ts';
import { Reconciler } from './reconciler.ts';
import { StatusKeeper } from './status-keeper.ts';

const KEY = 'ServiceDependency/shop/checkout';
const NO_SUMMARIES: Summaries = { applied: new Map(), circuits: [], exclusions: [], opaque: [], tls: [] };
const PAYMENTS = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'payments', namespace: 'shop' },
  spec: { type: 'ClusterIP', clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1'], ports: [{ port: 8080 }] },
};

function checkout(service: string, generation: number, uid = 'one') {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name: 'checkout', namespace: 'shop', generation, uid },
    spec: {
      consumer: { selector: { matchLabels: { app: 'checkout' } } },
      dependsOn: service === '' ? [] : [{ name: 'payments', service: { name: service, port: 8080 } }],
    },
  };
}

type Manifest = ReturnType<typeof checkout>;

/** A cluster whose watch has brought what is put, and whose world is told of when `compiles` is called. */
function cluster() {
  const clock = new ManualClock();
  const writes: { uid: string; observedGeneration: number; resolvedRefs: string | undefined }[] = [];
  let own: OwnObject | undefined;
  let manifest: Manifest | undefined;
  const world = () => {
    const builder = createWorldBuilder();
    for (const object of [PAYMENTS, ...(manifest === undefined ? [] : [manifest])]) addObject(builder, object);
    return buildWorld(builder, 'cluster.local');
  };
  const source = { hasSynced: true, world, own: () => own } as unknown as WorldSource;
  const tools = { clock, log: silentLogger, metrics: createOperatorMetrics() };
  const reconciler: Reconciler = new Reconciler({
    ...tools,
    source,
    compile,
    emptyWorkload,
    publish: () => undefined,
    onResult: () => keeper.changed(),
  });
  const events = { record: () => undefined };
  const keeper = new StatusKeeper<Summaries>({
    ...tools,
    source,
    result: () => reconciler.result,
    isCompiled: (object) => reconciler.isCompiled(object),
    summaries: () => NO_SUMMARIES,
    statusOf: (object, result, summaries) => statusOf(object, result, summaries, '2026-01-01T00:00:00Z'),
    sink: {
      write(object, status) {
        const { observedGeneration = 0, conditions = [] } = status as ReturnType<typeof statusOf>;
        const resolvedRefs = conditions.find(({ type }) => type === 'ResolvedRefs')?.status;
        writes.push({ uid: object.uid, observedGeneration, resolvedRefs });
        if (own !== undefined) own = { ...own, status };
        return Promise.resolve('Written');
      },
      forget: () => undefined,
    },
    circuits: new CircuitEvents({ source, circuits: () => [], events, clock }),
    missedPods: new MissedPods(events),
  });
  const put = (next: Manifest) => {
    manifest = next;
    const { namespace, name, uid, generation } = next.metadata;
    const status = own?.uid === uid ? own.status : undefined;
    own = { kind: 'ServiceDependency', namespace, name, uid, generation, content: toServiceDependency(next), status };
  };
  reconciler.start();
  keeper.start();
  return { clock, keeper, put, writes, compiles: () => reconciler.worldChanged() };
}

test('a status names no generation that was not compiled yet', async () => {
  const { clock, keeper, put, writes, compiles } = cluster();
  put(checkout('payments', 1));
  compiles();
  await clock.advance(5_000);
  expect(writes).toEqual([{ uid: 'one', observedGeneration: 1, resolvedRefs: 'True' }]);
  put(checkout('paymnts', 2));
  // A sidecar acknowledges something while the new world is being gathered and compiled.
  keeper.changed();
  keeper.statusChanged(KEY);
  await clock.advance(5_000);
  expect(writes).toHaveLength(1);
  compiles();
  await clock.advance(5_000);
  expect(writes.slice(1)).toEqual([{ uid: 'one', observedGeneration: 2, resolvedRefs: 'False' }]);
  await keeper.stop();
});

test('an object that was deleted and made again does not inherit what was compiled of the one before', async () => {
  const { clock, keeper, put, writes, compiles } = cluster();
  put(checkout('payments', 1));
  compiles();
  await clock.advance(5_000);
  put(checkout('paymnts', 1, 'two'));
  keeper.changed();
  await clock.advance(5_000);
  expect(writes).toHaveLength(1);
  compiles();
  await clock.advance(5_000);
  expect(writes.slice(1)).toEqual([{ uid: 'two', observedGeneration: 1, resolvedRefs: 'False' }]);
  await keeper.stop();
});

test('an object that does not fit its schema any more is not told accepted before that was compiled', async () => {
  const { clock, keeper, put, writes, compiles } = cluster();
  put(checkout('payments', 1));
  compiles();
  await clock.advance(5_000);
  put(checkout('', 2));
  keeper.changed();
  await clock.advance(5_000);
  expect(writes).toHaveLength(1);
  compiles();
  await clock.advance(5_000);
  expect(writes.slice(1)).toEqual([{ uid: 'one', observedGeneration: 2, resolvedRefs: 'Unknown' }]);
  await keeper.stop();
});
