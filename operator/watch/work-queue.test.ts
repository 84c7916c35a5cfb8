import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WorkQueue } from './work-queue.ts';

const KEYS = ['a', 'b', 'c'] as const;

describe('work queue', () => {
  test('a key that is added many times is taken once', () => {
    const queue = new WorkQueue();
    expect(queue.add('a', 0)).toBe(true);
    expect(queue.add('a', 5)).toBe(false);
    expect(queue.take(10)).toEqual({ key: 'a', waitedMs: 10 });
    expect(queue.take(10)).toBeUndefined();
  });

  test('a key that is added while it is worked on comes back afterwards, and not before', () => {
    const queue = new WorkQueue();
    queue.add('a', 0);
    queue.take(0);
    queue.add('a', 1);
    expect(queue.take(1)).toBeUndefined();
    queue.finish('a', { kind: 'done' }, 2);
    expect(queue.take(2)?.key).toBe('a');
  });

  test('failures wait 5 ms, doubling to 1000 s, and success forgets them', () => {
    const queue = new WorkQueue();
    const waits: number[] = [];
    let nowMs = 0;
    queue.add('a', nowMs);
    for (let round = 0; round < 25; round += 1) {
      expect(queue.take(nowMs)?.key).toBe('a');
      queue.finish('a', { kind: 'failed' }, nowMs);
      const dueMs = queue.nextDueMs() ?? Number.NaN;
      waits.push(dueMs - nowMs);
      expect(queue.take(dueMs - 1)).toBeUndefined();
      nowMs = dueMs;
    }
    expect(waits.slice(0, 5)).toEqual([5, 10, 20, 40, 80]);
    expect(waits.at(-1)).toBe(1_000_000);
    queue.take(nowMs);
    queue.finish('a', { kind: 'done' }, nowMs);
    expect(queue.failuresOf('a')).toBe(0);
    expect(queue.nextDueMs()).toBeUndefined();
  });

  test('a change ends the wait of a key', () => {
    const queue = new WorkQueue();
    queue.addAt('a', 1_000);
    queue.addAt('a', 2_000);
    expect(queue.nextDueMs()).toBe(1_000);
    queue.add('a', 10);
    expect(queue.nextDueMs()).toBeUndefined();
    expect(queue.take(10)?.key).toBe('a');
  });

  test('finishing what was not taken is refused', () => {
    expect(() => new WorkQueue().finish('a', { kind: 'done' }, 0)).toThrow('"a" was finished');
  });
});

type Step =
  | { kind: 'add' | 'addAt' | 'finish'; key: string; outcome: 'done' | 'requeue' | 'failed'; delayMs: number }
  | { kind: 'take' | 'wait'; delayMs: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('add' as const, 'addAt' as const, 'finish' as const),
    key: fc.constantFrom(...KEYS),
    outcome: fc.constantFrom('done' as const, 'requeue' as const, 'failed' as const),
    delayMs: fc.integer({ min: 0, max: 50 }),
  }),
  fc.record({ kind: fc.constantFrom('take' as const, 'wait' as const), delayMs: fc.integer({ min: 0, max: 50 }) }),
);

/** What the queue must do, said as simply as can be: per key, when it is due at the earliest, and whether it is being worked on. */
class Model {
  readonly dueMs = new Map<string, number>();
  readonly processing = new Set<string>();
  readonly failures = new Map<string, number>();

  due(key: string, atMs: number): void {
    this.dueMs.set(key, Math.min(atMs, this.dueMs.get(key) ?? Number.POSITIVE_INFINITY));
  }

  takeable(nowMs: number): string[] {
    return [...this.dueMs].filter(([key, atMs]) => atMs <= nowMs && !this.processing.has(key)).map(([key]) => key);
  }
}

test('no sequence of events loses a key, works on one twice at a time, or takes one too early', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const queue = new WorkQueue();
      const model = new Model();
      let nowMs = 0;
      for (const one of steps) {
        if (one.kind === 'wait') nowMs += one.delayMs;
        else if (one.kind === 'add') {
          queue.add(one.key, nowMs);
          model.due(one.key, nowMs);
        } else if (one.kind === 'addAt') {
          queue.addAt(one.key, nowMs + one.delayMs);
          model.due(one.key, nowMs + one.delayMs);
        } else if (one.kind === 'take') {
          const taken = queue.take(nowMs);
          const allowed = model.takeable(nowMs);
          if (taken === undefined) expect(allowed).toEqual([]);
          else {
            expect(allowed).toContain(taken.key);
            model.dueMs.delete(taken.key);
            model.processing.add(taken.key);
          }
        } else if (one.kind === 'finish' && model.processing.delete(one.key)) {
          const failures = model.failures.get(one.key) ?? 0;
          if (one.outcome === 'failed') {
            queue.finish(one.key, { kind: 'failed' }, nowMs);
            model.due(one.key, nowMs + 5 * 2 ** failures);
            model.failures.set(one.key, failures + 1);
          } else {
            model.failures.delete(one.key);
            if (one.outcome === 'done') queue.finish(one.key, { kind: 'done' }, nowMs);
            else {
              queue.finish(one.key, { kind: 'requeue', afterMs: one.delayMs }, nowMs);
              model.due(one.key, nowMs + Math.max(1, one.delayMs));
            }
          }
        }
        expect(queue.processing).toBe(model.processing.size);
      }
      // In the end everything that was ever due comes out.
      for (const key of model.processing) queue.finish(key, { kind: 'done' }, nowMs);
      const rest = new Set<string>();
      for (let taken = queue.take(1e12); taken !== undefined; taken = queue.take(1e12)) {
        rest.add(taken.key);
        queue.finish(taken.key, { kind: 'done' }, 1e12);
      }
      expect(rest).toEqual(new Set(model.dueMs.keys()));
    }),
    { numRuns: 500 },
  );
});
