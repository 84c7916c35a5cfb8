// A world without time of its own: events run in the order of their times, and of their scheduling where times are equal. `settleUntil`
// lets promises settle between events, so that code which waits for them runs as it does elsewhere, and in the same order each time.

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | null;
}

const before = (one: Event, other: Event) =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

export class VirtualTime {
  #nowMs: number;
  #scheduled = 0;
  /** A binary heap, the next event first. */
  readonly #heap: Event[] = [];

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  /** Never goes back. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs after everything that was scheduled for the same time before; a delay below zero is zero. The returned function cancels. */
  after(delayMs: number, run: () => void): () => void {
    this.#scheduled += 1;
    const event: Event = { atMs: this.#nowMs + Math.max(delayMs, 0), order: this.#scheduled, run };
    this.#heap.push(event);
    this.#rise(this.#heap.length - 1);
    return () => {
      event.run = null;
    };
  }

  /** Runs events until none is left before `untilMs`, which is then now. */
  runUntil(untilMs: number): void {
    while (this.#runNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** As `runUntil`; between events, what waits for promises goes on. */
  async settleUntil(untilMs: number): Promise<void> {
    while (this.#runNext(untilMs)) await Promise.resolve();
    this.#nowMs = untilMs;
  }

  #runNext(untilMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > untilMs) return false;
    this.#removeFirst();
    if (next.run === null) return true;
    this.#nowMs = next.atMs;
    next.run();
    return true;
  }

  #rise(start: number): void {
    for (let index = start; index > 0; ) {
      const parent = (index - 1) >> 1;
      if (!this.#swapIfBefore(index, parent)) return;
      index = parent;
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let index = 0; ; ) {
      const left = index * 2 + 1;
      const [one, other] = [this.#heap[left], this.#heap[left + 1]];
      if (one === undefined) return;
      const child = other !== undefined && before(other, one) ? left + 1 : left;
      if (!this.#swapIfBefore(child, index)) return;
      index = child;
    }
  }

  #swapIfBefore(child: number, parent: number): boolean {
    const [one, other] = [this.#heap[child], this.#heap[parent]];
    if (one === undefined || other === undefined || !before(one, other)) return false;
    this.#heap[child] = other;
    this.#heap[parent] = one;
    return true;
  }
}
