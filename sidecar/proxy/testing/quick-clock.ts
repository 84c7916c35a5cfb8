// Time that runs faster than the system's, for tests on real sockets in which it only has to pass.
import { type Clock, systemClock } from '../../../runtime/clock.ts';

/** `times` as fast as the system's clock; the wall clock is the system's. A timeout that must not end anything has to be so much longer. */
export function quickClock(times: number): Clock {
  const shorter = (delayMs: number) => Math.ceil(delayMs / times);
  return {
    monotonicMs: () => systemClock.monotonicMs() * times,
    unixMs: () => systemClock.unixMs(),
    after: (delayMs, callback) => systemClock.after(shorter(delayMs), callback),
    sleep: (delayMs, signal) => systemClock.sleep(shorter(delayMs), signal),
  };
}
