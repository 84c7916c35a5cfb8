// A bulkhead whose limit is found by measuring, under the contract of every policy.
import { expect } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { AdaptiveLimit, type AdaptiveLimitNumbers } from '../adaptive-limit.ts';
import { Admission, Bulkhead, type BulkheadWaiter } from '../bulkhead.ts';
import type { Subject } from './contract.ts';

interface Place extends BulkheadWaiter {
  state: 'Held' | 'Queued' | 'Gone';
  startMs: number;
}

export function adaptiveSubject(first: number): Subject<Place> {
  const specOf = (number: number): AdaptiveLimitNumbers => ({
    minConcurrent: 1 + (number % 3),
    maxConcurrent: 3 + (number % 5),
    latencyTolerancePercent: 25,
    probeIntervalMs: 1000,
  });
  let now = 0;
  const adaptive = new AdaptiveLimit(specOf(first), seededRandom(3), 0);
  const limits = () => ({ maxConcurrent: adaptive.limit, maxQueued: 4 });
  const bulkhead = new Bulkhead(limits());
  const letIn = (waiter: BulkheadWaiter | null) => {
    for (let next = waiter; next !== null; next = bulkhead.takeGrantable()) {
      (next as Place).state = 'Held';
      (next as Place).startMs = now;
    }
  };
  const begin = () => {
    const place: Place = {
      bulkheadPrevious: null,
      bulkheadNext: null,
      bulkheadQueued: false,
      state: 'Gone',
      startMs: now,
    };
    const admission = bulkhead.acquire(place);
    if (admission === Admission.Full) return null;
    place.state = admission === Admission.Granted ? 'Held' : 'Queued';
    return place;
  };
  return {
    begin(nowMs) {
      now = nowMs;
      if (adaptive.giveUpProbe(bulkhead.inFlight, nowMs)) bulkhead.update(limits());
      letIn(bulkhead.takeGrantable());
      return begin();
    },
    end(place, ending, nowMs) {
      now = nowMs;
      if (place.state !== 'Held') {
        bulkhead.cancel(place);
      } else {
        // A window of answers at once, or the runs would be too short for one to close.
        const answers = ending === 'Answered' || ending === 'TimedOut' ? 50 : 0;
        for (let count = 0; count < answers; count += 1)
          if (adaptive.record(nowMs - place.startMs, bulkhead.inFlight, nowMs)) bulkhead.update(limits());
        letIn(bulkhead.release());
      }
      place.state = 'Gone';
    },
    abortedAfter: (place) => bulkhead.cancel(place),
    update(number, nowMs) {
      now = nowMs;
      adaptive.update(specOf(number));
      bulkhead.update(limits());
      letIn(bulkhead.takeGrantable());
    },
    held: () => bulkhead.inFlight + bulkhead.queued,
    situation: () => (adaptive.baselineMs === 0 ? 'unknown' : adaptive.probing ? 'probing' : 'following'),
    idle() {
      const places = Array.from({ length: adaptive.limit }, begin);
      expect(places.map((place) => place?.state)).toEqual(places.map(() => 'Held'));
      expect(begin()?.state).not.toBe('Held');
    },
  };
}
