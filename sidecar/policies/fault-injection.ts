// Faults on purpose, for game days: a share of the requests is delayed, a share is answered with an error.
//
// Semantics (Envoy's fault filter): each share is drawn on its own, so that a request may be delayed and then aborted. Decided once for a
// request, before any attempt, by the random numbers that come in; a seed repeats a game day.
import type { FaultInjectionPlan } from '../../plan/policies/fault-injection.ts';
import type { Random } from '../../runtime/random.ts';

/** Milliseconds that the next request is to wait; 0: it is let through. */
export function drawDelayMs({ delay }: FaultInjectionPlan, random: Random): number {
  return delay !== null && random() * 100 < delay.percent ? delay.fixedMs : 0;
}

/** Status that the next request is to be answered with; 0: it is let through. */
export function drawAbort({ abort }: FaultInjectionPlan, random: Random): number {
  return abort !== null && random() * 100 < abort.percent ? abort.statusCode : 0;
}
