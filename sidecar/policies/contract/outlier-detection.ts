// Outlier detection under the contract of every policy.
import { expect } from 'vitest';
import { FailureBit } from '../failures.ts';
import { OutlierDetection, type OutlierMember, type OutlierSpec } from '../outlier-detection.ts';
import type { Ending, Subject } from './contract.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const RESULTS: Partial<Record<Ending, number>> = {
  Answered: 0,
  Failed: FailureBit.ServerError,
  TimedOut: FailureBit.AttemptTimeout,
};

interface Watched {
  member: OutlierMember;
  generation: number;
}

/** Lends nothing but the right to tell how a call ended; what must come back are the endpoints. */
export function outlierSubject(first: number): Subject<Watched> {
  const specOf = (number: number): OutlierSpec => ({
    failureOn: ['ServerError', 'AttemptTimeout'],
    consecutiveFailures: 1 + (number % 3),
    consecutiveLocalOriginFailures: 1 + (number % 2),
    successRate: number % 2 === 0 ? null : { minimumEndpoints: 2, minimumCalls: 2, deviationFactorPercent: 100 },
    intervalMs: 1000 + (number % 500),
    maxEjectionPercent: 20 + (number % 60),
    ejectForMs: 100 + (number % 100),
    maxEjectForMs: 400,
    panicThresholdPercent: 50,
  });
  const detection = new OutlierDetection(specOf(first), () => 0.5, 0);
  detection.setEndpoints(NAMES, 0);
  let chosen = 0;
  let withheld = false;
  detection.listener = {
    ejected: () => {},
    withheld: () => {
      withheld = true;
    },
    returned: () => {},
  };
  const members = () => NAMES.flatMap((name) => detection.member(name) ?? []);
  return {
    begin(nowMs) {
      detection.sweep(nowMs);
      chosen += 1;
      const member = detection.member(NAMES[chosen % NAMES.length] ?? '');
      return member && { member, generation: member.generation };
    },
    end({ member, generation }, ending, nowMs) {
      const bits = RESULTS[ending];
      if (bits !== undefined) detection.record(member, generation, bits, nowMs);
      expect(detection.ejected.size).toBeLessThanOrEqual(detection.limit);
      return Array.from(detection.ejected, ({ name, jitter, timesEjected }) => ({ name, jitter, timesEjected }));
    },
    update(number, nowMs) {
      detection.update(specOf(number), nowMs);
      detection.setEndpoints(NAMES, nowMs);
    },
    held: () => 0,
    counted: () => members().reduce((sum, { calls }) => sum + calls, 0),
    counts({ member, generation }, ending) {
      if (RESULTS[ending] === undefined || member.ejected || member.generation !== generation) return false;
      // A failure may eject it, which then starts with no memory.
      return RESULTS[ending] === 0 ? true : null;
    },
    situation: () => {
      if (detection.ejected.size > 0) return withheld ? 'ejected, another withheld' : 'ejected';
      return 'all in';
    },
    idle(nowMs) {
      // Longer than any ejection.
      detection.sweep(nowMs + 1000);
      expect([...detection.ejected]).toEqual([]);
      expect(members().filter(({ ejected }) => ejected)).toEqual([]);
      expect(members()).toHaveLength(NAMES.length);
    },
  };
}
