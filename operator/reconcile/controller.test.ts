import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { createOperatorMetrics } from '../metrics.ts';
import type { Outcome } from '../watch/work-queue.ts';
import { Controller } from './controller.ts';

function setUp(reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>, workers = 2) {
  const clock = new ManualClock();
  const metrics = createOperatorMetrics();
  const controller = new Controller({ name: 'test', workers, reconcile, clock, log: silentLogger, metrics });
  return { clock, metrics, controller };
}

test('works on no more keys at a time than it has workers, and on all in the end', async () => {
  const open: (() => void)[] = [];
  let most = 0;
  const done: string[] = [];
  const { controller } = setUp(async (key) => {
    await new Promise<void>((resolve) => {
      open.push(resolve);
      most = Math.max(most, open.length);
    });
    done.push(key);
    return { kind: 'done' };
  });
  for (const key of ['a', 'b', 'c', 'd']) controller.add(key);
  expect(open).toHaveLength(0);
  controller.start();
  while (done.length < 4) {
    open.shift()?.();
    await settle();
  }
  expect(most).toBe(2);
  expect(done).toEqual(['a', 'b', 'c', 'd']);
  await controller.stop();
});

test('a failure comes again after its backoff, and throws nothing at anybody', async () => {
  const at: number[] = [];
  const { clock, metrics, controller } = setUp((): Promise<Outcome> => {
    at.push(clock.monotonicMs());
    if (at.length < 4) throw new Error('not yet');
    return Promise.resolve({ kind: 'done' });
  });
  controller.start();
  controller.add('a');
  await clock.advance(1_000);
  expect(at.map((ms) => ms - (at[0] ?? 0))).toEqual([0, 5, 15, 35]);
  const text = await metrics.registry.metrics();
  expect(text).toContain('workqueue_retries_total{name="test"} 3');
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="error"} 3');
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="success"} 1');
  await controller.stop();
  expect(clock.timers).toBe(0);
});

test('a key is asked for again when it wants to be', async () => {
  const at: number[] = [];
  const { clock, controller } = setUp(() => {
    at.push(clock.monotonicMs());
    return Promise.resolve(at.length < 3 ? { kind: 'requeue', afterMs: 250 } : { kind: 'done' });
  });
  controller.start();
  controller.add('a');
  await clock.advance(5_000);
  expect(at.map((ms) => ms - (at[0] ?? 0))).toEqual([0, 250, 500]);
  await controller.stop();
});

test('stopping aborts the work in progress and waits for it', async () => {
  let aborted = false;
  const { clock, metrics, controller } = setUp(
    (_key, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(signal.reason as Error);
        });
      }),
  );
  controller.start();
  controller.add('a');
  await clock.advance(3_000);
  controller.observe();
  expect(await metrics.registry.metrics()).toContain('workqueue_longest_running_processor_seconds{name="test"} 3');
  await controller.stop();
  expect(aborted).toBe(true);
  controller.add('b');
  expect(clock.timers).toBe(0);
});

test('one that does not end is told to, left behind, and comes again', async () => {
  const at: number[] = [];
  const aborted: string[] = [];
  const { clock, metrics, controller } = setUp((key, signal): Promise<Outcome> => {
    if (key !== 'hangs') return Promise.resolve({ kind: 'done' });
    at.push(clock.monotonicMs());
    signal.addEventListener('abort', () => aborted.push((signal.reason as Error).message));
    return new Promise(() => undefined);
  }, 1);
  controller.start();
  controller.add('hangs');
  controller.add('other');
  await clock.advance(60_000);
  expect(aborted).toEqual(['the work on a key did not end within 60 s']);
  await clock.advance(5);
  expect(at.map((ms) => ms - (at[0] ?? 0))).toEqual([0, 60_005]);
  const text = await metrics.registry.metrics();
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="success"} 1');
  expect(text).toContain('controller_runtime_reconcile_errors_total{controller="test"} 1');
  await controller.stop();
  expect(clock.timers).toBe(0);
});

test('a key that wants to be worked on without end leaves time for others', async () => {
  let turns = 0;
  const { clock, controller } = setUp(() => {
    turns += 1;
    return Promise.resolve({ kind: 'requeue', afterMs: 0 });
  });
  controller.start();
  controller.add('a');
  await clock.advance(100);
  expect(turns).toBeGreaterThan(50);
  expect(turns).toBeLessThanOrEqual(101);
  await controller.stop();
});

type Behaviour = 'works' | 'throws' | 'throwsSometimes' | 'hangs' | 'requeues';
const BEHAVIOURS: readonly Behaviour[] = ['works', 'throws', 'throwsSometimes', 'hangs', 'requeues'];

test('whatever reconciliations do, each key is seen in its last state, none twice at a time, none in a hot loop', async () => {
  const event = fc.record({ key: fc.nat(BEHAVIOURS.length * 2 - 1), waitMs: fc.integer({ min: 0, max: 3_000 }) });
  const behaviourOf = (key: string) => BEHAVIOURS[Number(key) % BEHAVIOURS.length];
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 1, maxLength: 40, size: 'max' }),
      fc.infiniteStream(fc.boolean()),
      async (events, chance) => {
        const wanted = new Map<string, number>();
        const seen = new Map<string, number>();
        const attempts = new Map<string, number>();
        const working = new Set<string>();
        let healed = false;
        const { clock, controller } = setUp(async (key, signal): Promise<Outcome> => {
          expect(working.has(key)).toBe(false);
          working.add(key);
          attempts.set(key, (attempts.get(key) ?? 0) + 1);
          const state = wanted.get(key) ?? 0;
          try {
            await Promise.resolve();
            const behaviour = healed ? 'works' : behaviourOf(key);
            if (behaviour === 'throws') throw new Error('always');
            if (behaviour === 'throwsSometimes' && chance.next().value === true) throw new Error('sometimes');
            if (behaviour === 'hangs')
              await new Promise((_resolve, reject) =>
                signal.addEventListener('abort', () => reject(signal.reason as Error)),
              );
            if (behaviour === 'requeues' && chance.next().value === true) return { kind: 'requeue', afterMs: 0 };
            seen.set(key, state);
            return { kind: 'done' };
          } finally {
            working.delete(key);
          }
        }, 3);
        controller.start();
        for (const [index, { key, waitMs }] of events.entries()) {
          wanted.set(String(key), index + 1);
          controller.add(String(key));
          await clock.advance(waitMs);
        }
        // A key that always fails is tried once for each change, and some twenty times by itself: 5 ms, doubling.
        for (const [key, count] of attempts) {
          if (behaviourOf(key) === 'throws') expect(count).toBeLessThanOrEqual(events.length * 12);
        }
        healed = true;
        // The longest wait of a key, and the deadline of what hangs.
        await clock.advance(1_000_000 + 130_000);
        expect(seen).toEqual(wanted);
        await controller.stop();
        expect(working.size).toBe(0);
        expect(clock.timers).toBe(0);
      },
    ),
    { numRuns: 30 },
  );
});
