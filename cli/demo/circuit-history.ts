// When a circuit was open, as far as looking at it now and then can prove it: pure.
import type { ShownCircuit } from './sidecar-metrics.ts';

export interface Look {
  /** Unix milliseconds: when the look was begun and when its answer was there; what it saw was true somewhere between. */
  begunMs: number;
  endedMs: number;
  circuit: ShownCircuit;
  transitions: number;
}

export interface Change {
  atMs: number;
  to: ShownCircuit;
}

export class CircuitHistory {
  readonly #open: { from: number; to: number }[] = [];
  readonly #changes: Change[] = [];
  #last: Look | undefined;

  /** Returns the change of state that this look found, if any. */
  add(look: Look): Change | undefined {
    const last = this.#last;
    this.#last = look;
    // Between two looks that find it open after the same number of changes, it was open all the time.
    if (last?.circuit === 'open' && look.circuit === 'open' && last.transitions === look.transitions) {
      const interval = this.#open.at(-1);
      if (interval?.to === last.begunMs) interval.to = look.begunMs;
      else this.#open.push({ from: last.endedMs, to: look.begunMs });
    }
    if ((last?.circuit ?? 'closed') === look.circuit) return undefined;
    const change = { atMs: look.endedMs, to: look.circuit };
    this.#changes.push(change);
    return change;
  }

  /** Times at which it was open for certain, and had been for `sinceMs` at least. */
  openIntervals(sinceMs = 0): readonly { from: number; to: number }[] {
    return this.#open.map(({ from, to }) => ({ from: from + sinceMs, to })).filter(({ from, to }) => from <= to);
  }

  /** Whether it was ever seen open. */
  get opened(): boolean {
    return this.#changes.some(({ to }) => to === 'open');
  }

  /** Whether it was open once and is closed now. */
  get closed(): boolean {
    return this.opened && this.#last?.circuit === 'closed';
  }
}
