// What happens when: the story that both shops live through at the same time.
import type { Behaviour } from './shop/messages.ts';

export interface Stage {
  /** Milliseconds since the first customer. */
  fromMs: number;
  behaviour: Behaviour;
  /** For the screen: what payments does in it. */
  title: string;
}

export const STAGES: readonly Stage[] = [
  { fromMs: 0, behaviour: 'Healthy', title: 'payments is well' },
  { fromMs: 4_000, behaviour: 'Flaky', title: 'payments answers every fourth charge with 503' },
  { fromMs: 8_000, behaviour: 'Slow', title: 'payments takes 3 seconds for every charge' },
  { fromMs: 17_000, behaviour: 'Down', title: 'payments closes every connection' },
  { fromMs: 20_000, behaviour: 'Healthy', title: 'payments is well again' },
];
export const DURATION_MS = 28_000;

/** The failure proper: from the moment payments becomes slow until it is well again. Both shops are measured over it. */
export const FAILURE = { fromMs: 8_000, toMs: 20_000 } as const;

export const CUSTOMERS_PER_SECOND = 40;
/** Every so manieth request is an order; the others look at the basket, which needs no payment. */
export const ORDER_EVERY = 2;
/** A customer who waits longer goes away, and that is a failed request. */
export const PATIENCE_MS = 2_000;

export function stageAt(elapsedMs: number): Stage {
  const stage = STAGES.findLast((one) => one.fromMs <= elapsedMs) ?? STAGES[0];
  if (stage === undefined) throw new Error('the schedule is empty');
  return stage;
}
