import { describe, expect, it } from 'vitest';
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';
import { Admission, type BulkheadWaiter } from './bulkhead.ts';
import { PlannedBulkhead } from './planned-bulkhead.ts';

const FIXED: BulkheadPlan = {
  stateKey: 'base',
  maxConcurrent: 4,
  maxQueued: 2,
  queueTimeoutMs: 500,
  adaptive: null,
};
const ADAPTIVE: BulkheadPlan = {
  ...FIXED,
  maxConcurrent: 100,
  adaptive: { minConcurrent: 3, latencyTolerancePercent: 25, probeIntervalMs: 60_000 },
};
/** So many answers make a window of the adaptive limit. */
const WINDOW = 50;

const waiter = (): BulkheadWaiter => ({ bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false });
const bulkheadOf = (plan: BulkheadPlan) => new PlannedBulkhead(plan, () => 0, 0);

/** Admitted until the first that is not. */
function fill(bulkhead: PlannedBulkhead): number {
  let granted = 0;
  while (bulkhead.tryAcquire()) granted += 1;
  return granted;
}

function answerWindow(bulkhead: PlannedBulkhead, latencyMs: number, fromMs: number): void {
  for (let call = 0; call < WINDOW; call += 1) bulkhead.record(latencyMs, fromMs + call * 20);
}

/** One that has measured 40 ms without load, and is full. */
function measured(): PlannedBulkhead {
  const bulkhead = bulkheadOf(ADAPTIVE);
  fill(bulkhead);
  answerWindow(bulkhead, 40, 0);
  return bulkhead;
}

describe('a bulkhead of a plan', () => {
  it('has the limit that the plan says', () => {
    const bulkhead = bulkheadOf(FIXED);
    expect([bulkhead.limit, bulkhead.maxConcurrent, bulkhead.adaptive]).toEqual([4, 4, null]);
    expect(fill(bulkhead)).toBe(4);
    expect([1, 2, 3].map(() => bulkhead.acquire(waiter()))).toEqual([
      Admission.Queued,
      Admission.Queued,
      Admission.Full,
    ]);
  });

  it('has the limit that is measured, never above the one that the plan says', () => {
    const bulkhead = bulkheadOf(ADAPTIVE);
    expect([bulkhead.limit, bulkhead.maxConcurrent]).toEqual([20, 100]);
    expect(fill(bulkhead)).toBe(20);
    answerWindow(bulkhead, 40, 0);
    answerWindow(bulkhead, 40, 1_000);
    expect(bulkhead.adaptive?.medianMs).toBe(40);
    expect(bulkhead.limit).toBe(24);
    expect(fill(bulkhead)).toBe(4);
    bulkhead.replan({ ...ADAPTIVE, maxConcurrent: 26 }, 2_000);
    answerWindow(bulkhead, 40, 2_100);
    expect([bulkhead.limit, fill(bulkhead)]).toEqual([26, 2]);
  });

  it('makes room for those who wait when a window raises the limit', () => {
    const bulkhead = measured();
    const waiting = waiter();
    expect(bulkhead.acquire(waiting)).toBe(Admission.Queued);
    answerWindow(bulkhead, 40, 1_000);
    expect(bulkhead.takeGrantable()).toBe(waiting);
  });

  it('counts a call that was given up only where it took as long as most do', () => {
    const quick = measured();
    for (let call = 0; call < WINDOW; call += 1) quick.recordTimeout(39, 1_000 + call * 20);
    expect(quick.limit).toBe(20);
    const slow = measured();
    for (let call = 0; call < WINDOW; call += 1) slow.recordTimeout(40, 1_000 + call * 20);
    expect(slow.limit).toBe(24);
    const slower = measured();
    for (let call = 0; call < WINDOW; call += 1) slower.recordTimeout(4_000, 1_000 + call * 20);
    expect(slower.limit).toBe(14);
  });

  it('counts nothing where the limit is fixed', () => {
    const bulkhead = bulkheadOf(FIXED);
    bulkhead.record(40, 0);
    bulkhead.recordTimeout(40, 0);
    bulkhead.sweep(0);
    expect([bulkhead.limit, bulkhead.adaptive]).toEqual([4, null]);
  });

  it('gives up a probe that nothing comes of, and then admits as before it', () => {
    const bulkhead = measured();
    // Latency that does not fall with the limit brings a probe.
    let atMs = 1_000;
    for (; !bulkhead.adaptive?.probing && atMs < 60_000; atMs += 1_000) answerWindow(bulkhead, 120, atMs);
    expect(bulkhead.adaptive?.probing).toBe(true);
    const probeLimit = bulkhead.limit;
    while (bulkhead.inFlight > 0) bulkhead.release();
    bulkhead.sweep(atMs);
    expect(fill(bulkhead)).toBe(probeLimit);
    bulkhead.sweep(atMs + 3_600_000);
    expect(bulkhead.limit).toBeGreaterThan(probeLimit);
    expect(fill(bulkhead)).toBe(bulkhead.limit - probeLimit);
  });
});

it('calls hardly feel the probes of a limit whose places long streams hold, more of them than a probe leaves', () => {
  const bulkhead = bulkheadOf({ ...ADAPTIVE, maxConcurrent: 200 });
  const [latencyMs, streams] = [50, 60];
  const ends: number[] = [];
  let standing = 0;
  let refused = 0;
  // 300 calls a second for ten minutes, none of which ever waits in the dependency.
  for (let nowMs = 0; nowMs < 600_000; nowMs += 1) {
    for (; (ends[0] ?? nowMs + 1) <= nowMs; ends.shift()) {
      bulkhead.record(latencyMs, nowMs);
      bulkhead.release();
    }
    if (nowMs % 10 < 3) {
      if (bulkhead.tryAcquire()) ends.push(nowMs + latencyMs);
      else if (nowMs > 60_000) refused += 1;
    }
    if (standing < streams && nowMs > 2_000 && bulkhead.tryAcquire()) standing += 1;
    if (nowMs % 1_000 === 999) bulkhead.sweep(nowMs);
  }
  expect(standing).toBe(streams);
  expect(refused).toBeLessThan(0.02 * 300 * 540);
});

describe('a new plan', () => {
  it('raises a fixed limit, and the first who waits can go', () => {
    const bulkhead = bulkheadOf(FIXED);
    fill(bulkhead);
    const waiting = waiter();
    bulkhead.acquire(waiting);
    bulkhead.replan({ ...FIXED, maxConcurrent: 5 }, 0);
    expect([bulkhead.takeGrantable(), bulkhead.inFlight, bulkhead.maxConcurrent]).toEqual([waiting, 5, 5]);
  });

  it('keeps what was measured where the limit stays adaptive, and bounds it at once', () => {
    const bulkhead = measured();
    const { adaptive } = bulkhead;
    bulkhead.replan({ ...ADAPTIVE, maxConcurrent: 10 }, 2_000);
    expect([bulkhead.adaptive, bulkhead.adaptive?.baselineMs, bulkhead.limit]).toEqual([adaptive, 40, 10]);
  });

  it('changes one kind into the other while calls are in flight', () => {
    const bulkhead = measured();
    bulkhead.replan(FIXED, 2_000);
    expect([bulkhead.limit, bulkhead.inFlight, bulkhead.adaptive]).toEqual([4, 20, null]);
    expect(bulkhead.release()).toBeNull();
    bulkhead.replan(ADAPTIVE, 3_000);
    expect([bulkhead.limit, bulkhead.inFlight, bulkhead.adaptive?.baselineMs]).toEqual([20, 19, 0]);
  });
});
