// The last good answers under the contract of every policy: what a recording takes of the memory that all share, it gives back.
import { expect } from 'vitest';
import type { LastGoodPlan } from '../../../plan/policies/fallback.ts';
import { ANSWER_OVERHEAD_BYTES, LastGood, Recording } from '../last-good.ts';
import type { Subject } from './contract.ts';

const BODY_BYTES = 1_000;
const ANSWER_BYTES = ANSWER_OVERHEAD_BYTES + BODY_BYTES + '/0'.length;
const LIMIT_BYTES = 10 * BODY_BYTES;

export function lastGoodSubject(first: number): Subject<Recording> {
  const planOf = (number: number): LastGoodPlan => ({
    maxAgeMs: 50 + (number % 7) * 100,
    maxBytes: ANSWER_BYTES * (1 + (number % 5)),
    maxAnswerBytes: number % 4 === 0 ? BODY_BYTES - 1 : BODY_BYTES,
    audience: 'Anonymous',
    keyHeaders: [],
  });
  let plan = planOf(first);
  let usedBytes = 0;
  let calls = 0;
  let last = '';
  const pool = {
    take(bytes: number): boolean {
      if (usedBytes + bytes > LIMIT_BYTES) return false;
      usedBytes += bytes;
      return true;
    },
    give(bytes: number): void {
      usedBytes -= bytes;
    },
  };
  const store = new LastGood(plan, pool);
  const body = Buffer.alloc(BODY_BYTES);
  return {
    begin(nowMs) {
      calls += 1;
      const recording = new Recording(store, pool, `/${calls % 8}`, '', '', nowMs);
      if (recording.add(body, 0, BODY_BYTES)) return recording;
      last = BODY_BYTES > plan.maxAnswerBytes ? 'too large' : 'full';
      return null;
    },
    end(recording, ending) {
      if (ending === 'Answered') recording.commit();
      else recording.discard();
      last = ending === 'Answered' ? 'kept' : 'given up';
      return store.answers;
    },
    abortedAfter: (recording) => recording.discard(),
    update(number) {
      plan = planOf(number);
      store.update(plan);
    },
    held: () => usedBytes - store.bytes,
    situation: () => last,
    idle(nowMs) {
      store.sweep(nowMs + plan.maxAgeMs + 1);
      expect([store.answers, store.bytes, usedBytes]).toEqual([0, 0, 0]);
    },
  };
}
