import { beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import type { CompileResult } from '../compile/result.ts';
import type { InvalidObject } from '../compile/world.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { type OwnObject, ownKey } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';
import { EMPTY_RESULT, sourceOf } from './fixtures.ts';
import { MissedPods } from './missed-pods.ts';
import { StatusKeeper } from './status-keeper.ts';

let clock: ManualClock;
/** What the API server holds; a write changes it, as the watch would. */
let objects: Map<string, OwnObject>;
let applied: number;
let result: CompileResult | undefined;
let summed: number;
let writes: { key: string; status: unknown; atMs: number }[];
let fails: number;
let forgotten: string[];
let keeper: StatusKeeper<number>;

beforeEach(() => {
  clock = new ManualClock();
  objects = new Map();
  applied = 0;
  result = EMPTY_RESULT;
  summed = 0;
  writes = [];
  fails = 0;
  forgotten = [];
  const source = sourceOf(objects);
  const events = { record: () => undefined };
  keeper = new StatusKeeper<number>({
    source,
    result: () => result,
    isCompiled: () => true,
    summaries: () => {
      summed += 1;
      return applied;
    },
    statusOf: (object, _result, summaries) => ({ observedGeneration: object.generation, applied: summaries }),
    sink: {
      write(object, status) {
        const key = ownKey(object.kind, object.namespace, object.name);
        if (fails > 0) {
          fails -= 1;
          return Promise.reject(new Error('the API server is away'));
        }
        if (JSON.stringify(object.status) === JSON.stringify(status)) return Promise.resolve('Unchanged');
        writes.push({ key, status, atMs: clock.monotonicMs() });
        objects.set(key, { ...object, status });
        return Promise.resolve('Written');
      },
      forget: (key) => forgotten.push(key),
    },
    circuits: new CircuitEvents({ source, circuits: () => [], events, clock }),
    missedPods: new MissedPods(events),
    clock,
    log: silentLogger,
    metrics: createOperatorMetrics(),
  });
});

function put(name: string, generation = 1, status?: unknown): string {
  const invalid: InvalidObject = { kind: 'ResiliencePolicy', namespace: 'shop', name, generation, problems: [] };
  const key = ownKey('ResiliencePolicy', 'shop', name);
  objects.set(key, {
    kind: 'ResiliencePolicy',
    namespace: 'shop',
    name,
    uid: name,
    generation,
    content: { invalid },
    status,
  });
  return key;
}

test('a new object gets its status at once, every object gets its own', async () => {
  put('a');
  put('b');
  keeper.start();
  await clock.advance(200);
  expect(writes.map(({ key }) => key)).toEqual(['ResiliencePolicy/shop/a', 'ResiliencePolicy/shop/b']);
  await keeper.stop();
  expect(clock.timers).toBe(0);
});

test('many changes make one write a second, the last of them with the last state', async () => {
  put('a');
  keeper.start();
  await clock.advance(200);
  for (let step = 1; step <= 30; step += 1) {
    applied = step;
    keeper.changed();
    await clock.advance(100);
  }
  await clock.advance(5_000);
  expect(writes.length).toBeLessThanOrEqual(5);
  expect(writes.at(-1)?.status).toEqual({ observedGeneration: 1, applied: 30 });
  for (const [index, { atMs }] of writes.entries()) {
    if (index > 0) expect(atMs - (writes[index - 1]?.atMs ?? 0)).toBeGreaterThanOrEqual(1_000);
  }
  await keeper.stop();
});

test('nothing is written while nothing changes', async () => {
  put('a');
  keeper.start();
  for (let step = 0; step < 20; step += 1) {
    keeper.changed();
    await clock.advance(1_000);
  }
  expect(writes).toHaveLength(1);
  await keeper.stop();
});

test('reports are added up once for all objects', async () => {
  for (let number = 0; number < 50; number += 1) put(`p${number}`);
  keeper.start();
  await clock.advance(200);
  expect(writes).toHaveLength(50);
  expect(summed).toBe(1);
  await keeper.stop();
});

test('a write that failed is made again until it succeeds', async () => {
  put('a');
  fails = 5;
  keeper.start();
  await clock.advance(10_000);
  expect(writes).toHaveLength(1);
  await keeper.stop();
});

test('after a restart a status of the present generation stays until the sidecars had time to come back', async () => {
  put('known', 3, { observedGeneration: 3, applied: 12 });
  put('changed', 4, { observedGeneration: 3, applied: 12 });
  keeper.start();
  await clock.advance(9_000);
  expect(writes.map(({ key }) => key)).toEqual(['ResiliencePolicy/shop/changed']);
  await clock.advance(2_000);
  expect(writes.map(({ key }) => key)).toEqual(['ResiliencePolicy/shop/changed', 'ResiliencePolicy/shop/known']);
  await keeper.stop();
});

test('a replica that does not lead writes nothing, and one that takes the lead later writes at once', async () => {
  put('known', 3, { observedGeneration: 3, applied: 12 });
  keeper.changed();
  keeper.statusChanged('ResiliencePolicy/shop/known');
  await clock.advance(60_000);
  expect(writes).toEqual([]);
  expect(summed).toBe(0);
  keeper.start();
  await clock.advance(500);
  expect(writes).toHaveLength(1);
  // It is suspended, and leads on: whatever changed meanwhile is made up for.
  await keeper.stop();
  applied = 5;
  keeper.changed();
  await clock.advance(5_000);
  expect(writes).toHaveLength(1);
  keeper.start();
  await clock.advance(500);
  expect(writes.at(-1)?.status).toMatchObject({ applied: 5 });
  await keeper.stop();
  expect(clock.timers).toBe(0);
});

test('a status that somebody else wrote is mended', async () => {
  const key = put('a');
  keeper.start();
  await clock.advance(2_000);
  put('a', 1, { observedGeneration: 1, applied: 99 });
  keeper.statusChanged(key);
  await clock.advance(100);
  expect(writes).toHaveLength(2);
  await keeper.stop();
});

test('nothing is written before the world is known', async () => {
  put('a');
  result = undefined;
  keeper.start();
  await clock.advance(5_000);
  expect(writes).toEqual([]);
  result = EMPTY_RESULT;
  keeper.changed();
  await clock.advance(500);
  expect(writes).toHaveLength(1);
  await keeper.stop();
});

test('an object that is deleted is forgotten, also one that vanished while another replica led', async () => {
  const keys = [put('a'), put('b')];
  keeper.start();
  await clock.advance(2_000);
  objects.delete(keys[0] ?? '');
  keeper.changed();
  await clock.advance(2_000);
  expect(forgotten).toEqual([keys[0]]);
  await keeper.stop();
  objects.delete(keys[1] ?? '');
  keeper.start();
  await clock.advance(2_000);
  expect(forgotten).toEqual(keys);
  keeper.changed();
  await clock.advance(2_000);
  expect(forgotten).toEqual(keys);
  await keeper.stop();
});
