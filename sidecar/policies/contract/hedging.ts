// Hedging under the contract of every policy.
import { expect } from 'vitest';
import { Hedging, type HedgingNumbers } from '../hedging.ts';
import type { Subject } from './contract.ts';

const MANY = 1_000;
/** One less than are needed to say anything. */
const KNOWN = 19;

/** Lends nothing; what it must not lose, or count twice, are the latencies of calls that say how long an answer takes. */
export function hedgingSubject(first: number): Subject<{ beganMs: number }> {
  const planOf = (number: number): HedgingNumbers => ({
    afterPercentile: 50 + (number % 50),
    minDelayMs: 1 + (number % 3) * 40,
    maxDelayMs: number % 4 === 0 ? 200 : null,
  });
  let plan = planOf(first);
  const hedging = new Hedging(plan, 0);
  for (let call = 0; call < KNOWN; call += 1) hedging.record(20, 0);
  const says = (ending: string) => ending === 'Answered' || ending === 'TimedOut';
  return {
    begin: (nowMs) => ({ beganMs: nowMs }),
    end(call, ending, nowMs) {
      if (says(ending)) hedging.record(nowMs - call.beganMs, nowMs);
      return hedging.delayMs(nowMs);
    },
    update(number) {
      plan = planOf(number);
      hedging.update(plan);
    },
    held: () => 0,
    counted: (nowMs) => hedging.calls(nowMs),
    counts: (_call, ending) => says(ending),
    situation(nowMs) {
      const delayMs = hedging.delayMs(nowMs);
      if (delayMs < 0) return 'unknown';
      if (delayMs === plan.maxDelayMs) return 'longest';
      return delayMs === plan.minDelayMs ? 'shortest' : 'by latency';
    },
    idle(nowMs) {
      for (let call = 0; call < MANY; call += 1) hedging.record(150, nowMs + 1_000_000);
      expect(hedging.delayMs(nowMs + 1_000_000)).toBeGreaterThanOrEqual(150);
    },
  };
}
