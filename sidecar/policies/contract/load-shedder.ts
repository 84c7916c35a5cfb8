// Load shedding under the contract of every policy: it holds the requests that it let through, by the number that it is told, and no plan has a
// word in it. What is to be had again is that everything passes once the sidecar has had a rest.
import { expect } from 'vitest';
import { LOOP_DELAY_MS, LoadShedder, ShedLevel, ShedReason } from '../load-shedder.ts';
import type { Subject } from './contract.ts';

/** More than samples in a row are needed, and more than a share takes to be gone. */
const LONG = 100;
const AT_REST = { memoryShare: 0.1, loopDelayMs: 0, loopUtilization: 0.1 };

export function shedderSubject(first: number): Subject<true> {
  const shedder = new LoadShedder();
  let active = 0;
  let samples = first;
  let observedMs = 0;
  /** As the sidecar does, every 100 ms; what is measured rises and falls over the run. */
  const observeUntil = (nowMs: number) => {
    for (; observedMs + 100 <= nowMs; observedMs += 100) {
      samples += 1;
      const isHigh = samples % 16 < 8;
      const memory = samples % 32 < 16;
      shedder.observe({
        memoryShare: memory && isHigh ? 0.97 : 0.5,
        loopDelayMs: isHigh ? LOOP_DELAY_MS * 2 : 0,
        loopUtilization: memory ? 0.2 : 1,
      });
    }
  };
  return {
    begin(nowMs) {
      observeUntil(nowMs);
      if (shedder.judge(active) !== ShedReason.None) return null;
      active += 1;
      return true;
    },
    end(_call, _ending, nowMs) {
      active -= 1;
      observeUntil(nowMs);
    },
    update() {},
    held: () => active,
    situation() {
      if (shedder.level >= ShedLevel.Requests) return 'no memory';
      return shedder.share > 0 ? 'late' : 'at rest';
    },
    idle() {
      for (let sample = 0; sample < LONG; sample += 1) shedder.observe(AT_REST);
      const answers = Array.from({ length: LONG }, (_, nth) => shedder.judge(nth));
      expect(new Set(answers)).toEqual(new Set([ShedReason.None]));
    },
  };
}
