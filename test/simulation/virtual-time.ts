// A world without time of its own: events run in the order of their times, and of their scheduling where times are equal. `settleUntil`
// lets promises settle between events, so that code which waits for them runs as it does elsewhere, and in the same order each time.
//
// node:http2 goes on by itself, in ticks and immediates of Node's own event loop, where the simulation does not see it. In a world that speaks
// HTTP/2 (`waitsForNode`) time stands still until all of that has run.

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | null;
}

/**
 * So many turns without anything new, and nothing more will come of node:http2 by itself (a stream is closed, then destroyed, then its session
 * is). Measured: of six worlds each was another one with two turns, and event by event the same one with three and with six.
 */
const QUIET_TURNS = 3;

/** Between two events of one time: as Node, which runs its ticks behind each of what has come, and its immediates behind all of it. */
const ticks = () => new Promise<void>((resolve) => process.nextTick(resolve));

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));

const before = (one: Event, other: Event) =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

export class VirtualTime {
  #nowMs: number;
  #scheduled = 0;
  /** A binary heap, the next event first. */
  readonly #heap: Event[] = [];
  readonly waitsForNode: boolean;
  /** Called behind each turn of Node's own event loop. */
  onTurn: () => void = () => {};

  constructor(startMs = 0, waitsForNode = false) {
    this.#nowMs = startMs;
    this.waitsForNode = waitsForNode;
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
    do {
      if (this.waitsForNode) await this.#quiet();
      while (this.#runNext(untilMs)) {
        await (this.waitsForNode ? ticks() : Promise.resolve());
        if (this.waitsForNode && this.#nextMs > this.#nowMs) await this.#quiet();
      }
    } while (this.#nextMs <= untilMs);
    this.#nowMs = untilMs;
  }

  get #nextMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** What Node still had to run has run: some turns of its event loop brought nothing new. */
  async #quiet(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS && this.#nextMs > this.#nowMs; quiet += 1) {
      const before = this.#scheduled;
      await turn();
      this.onTurn();
      if (this.#scheduled !== before) quiet = -1;
    }
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
