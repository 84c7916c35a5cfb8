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
