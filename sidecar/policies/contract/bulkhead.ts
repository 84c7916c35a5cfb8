// The bulkhead under the contract of every policy.
import { expect } from 'vitest';
import { Admission, Bulkhead, type BulkheadWaiter } from '../bulkhead.ts';
import type { Subject } from './contract.ts';

interface Place extends BulkheadWaiter {
  state: 'Held' | 'Queued' | 'Gone';
}

export function bulkheadSubject(first: number): Subject<Place> {
  const limits = (number: number) => ({ maxConcurrent: 1 + (number % 5), maxQueued: number % 4 });
  let { maxConcurrent } = limits(first);
  const bulkhead = new Bulkhead(limits(first));
  const letIn = (waiter: BulkheadWaiter | null) => {
    if (waiter !== null) (waiter as Place).state = 'Held';
  };
  let calls = 0;
  const begin = () => {
    calls += 1;
    return calls % 4 === 0 ? beginAtOnce() : beginInLine();
  };
  /** As a hedge, which never waits. */
  const beginAtOnce = (): Place | null =>
    bulkhead.tryAcquire() ? { bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false, state: 'Held' } : null;
  const beginInLine = () => {
    const place: Place = { bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false, state: 'Gone' };
    const admission = bulkhead.acquire(place);
    if (admission === Admission.Full) return null;
    place.state = admission === Admission.Granted ? 'Held' : 'Queued';
    return place;
  };
  return {
    begin,
    end(place) {
      if (place.state === 'Held') letIn(bulkhead.release());
      else bulkhead.cancel(place);
      place.state = 'Gone';
    },
    abortedAfter: (place) => bulkhead.cancel(place),
    update(number) {
      ({ maxConcurrent } = limits(number));
      bulkhead.update(limits(number));
      for (let waiter = bulkhead.takeGrantable(); waiter !== null; waiter = bulkhead.takeGrantable()) letIn(waiter);
    },
    held: () => bulkhead.inFlight + bulkhead.queued,
    situation: () => (bulkhead.queued > 0 ? 'queueing' : bulkhead.inFlight < maxConcurrent ? 'free' : 'full'),
    idle() {
      expect(bulkhead.takeGrantable()).toBeNull();
      const places = Array.from({ length: maxConcurrent }, begin);
      expect(places.map((place) => place?.state)).toEqual(places.map(() => 'Held'));
      expect(begin()?.state).not.toBe('Held');
    },
  };
}
