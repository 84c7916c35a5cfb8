// The timer wheel under the contract of every policy.
import { expect } from 'vitest';
import { type TimerNode, TimerWheel } from '../timer-wheel.ts';
import type { Subject } from './contract.ts';

interface Timer extends TimerNode {
  expired: number;
}

export function wheelSubject(): Subject<Timer> {
  const wheel = new TimerWheel(0, 10, 8);
  let armed = 0;
  let expirations = 0;
  return {
    begin(nowMs) {
      const timer: Timer = {
        wheelSlot: -1,
        wheelPrevious: null,
        wheelNext: null,
        wheelAtMs: 0,
        expired: 0,
        expire() {
          timer.expired += 1;
          expirations += 1;
        },
      };
      wheel.arm(timer, nowMs + (armed++ % 13) * 17);
      return timer;
    },
    end(timer, ending, nowMs) {
      wheel.advance(nowMs);
      if (ending === 'TimedOut') wheel.arm(timer, nowMs + 500);
      wheel.disarm(timer);
      expect(timer.expired).toBeLessThanOrEqual(1);
    },
    abortedAfter: (timer) => wheel.disarm(timer),
    update() {},
    held: () => wheel.size,
    situation: () => (wheel.size > 0 ? 'armed' : 'empty'),
    idle(nowMs) {
      const before = expirations;
      wheel.advance(nowMs + 10_000);
      expect(expirations).toBe(before);
      const timer = this.begin(nowMs + 10_000);
      wheel.advance(nowMs + 11_000);
      expect([timer?.expired, wheel.size]).toEqual([1, 0]);
    },
  };
}
