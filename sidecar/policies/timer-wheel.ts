// One wheel for all timeouts of the data path: arming and disarming cost a few assignments and allocate nothing.
//
// A hashed wheel with one intrusive list per slot (Varghese and Lauck, scheme 6). A node waits in the slot of the first tick at or after
// its time, so it never expires early, and at most one slot late plus whatever the caller's tick is late. A node further away than one
// turn stays in its slot until its turn has come. After a pause every slot is visited once, so that nothing is lost or run twice.
//
// During `advance` anything may be armed and disarmed. The list of a slot is first moved aside; a node armed meanwhile goes to a later
// tick, so an `expire` that arms itself at once runs again in a later `advance`, never for ever in this one.

export interface TimerNode {
  /** -1: not armed. The links and the slot belong to the wheel; start with -1, null, null. */
  wheelSlot: number;
  wheelPrevious: TimerNode | null;
  wheelNext: TimerNode | null;
  wheelAtMs: number;
  /** Called once, not before `wheelAtMs`; the node is no longer armed. Must not throw. */
  expire(nowMs: number): void;
}

export class TimerWheel {
  readonly #slotMs: number;
  readonly #slotCount: number;
  /** First and last node of each slot. The slot after the last is the list moved aside, which nothing is added to: its last is never asked for. */
  readonly #heads: (TimerNode | null)[] = [];
  readonly #tails: (TimerNode | null)[] = [];
  /** The last tick whose slot was visited. */
  #tick: number;
  #size = 0;
  #advancing = false;

  /** `nowMs`: where it starts. One turn is `slotMs · slotCount` milliseconds. */
  constructor(nowMs: number, slotMs: number, slotCount: number) {
    this.#slotMs = slotMs;
    this.#slotCount = slotCount;
    this.#tick = Math.floor(nowMs / slotMs);
    for (let slot = 0; slot <= slotCount; slot += 1) {
      this.#heads.push(null);
      this.#tails.push(null);
    }
  }

  /**
   * When `advance` is to be called next: no node expires before. Infinity while none is armed. Costs up to a look at every slot, so it is for
   * each time that a timer ran, not for each that one is armed.
   */
  nextDueMs(): number {
    if (this.#size === 0) return Number.POSITIVE_INFINITY;
    let tick = this.#tick + 1;
    // What an `expire` that threw left aside is due at once. Without it, some slot has a node.
    if ((this.#heads[this.#slotCount] ?? null) !== null) return tick * this.#slotMs;
    while ((this.#heads[tick % this.#slotCount] ?? null) === null) tick += 1;
    return tick * this.#slotMs;
  }

  /** Nodes armed. The caller needs no tick while it is 0. */
  get size(): number {
    return this.#size;
  }

  /** Arms the node, or moves it if it is armed. A time that has passed expires at the next tick; at Infinity it only disarms. */
  arm(node: TimerNode, atMs: number): void {
    this.disarm(node);
    node.wheelAtMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    this.#place(node);
    this.#size += 1;
  }

  /** Nothing happens where the node is not armed. */
  disarm(node: TimerNode): void {
    if (node.wheelSlot === -1) return;
    this.#unlink(node);
    this.#size -= 1;
  }

  /** Expires every node whose time has come, slot by slot. Time that goes back is ignored; a call from within `expire` does nothing. */
  advance(nowMs: number): void {
    const target = Math.floor(nowMs / this.#slotMs);
    if (target <= this.#tick || this.#advancing) return;
    const first = target - this.#tick > this.#slotCount ? target - this.#slotCount + 1 : this.#tick + 1;
    this.#tick = target;
    this.#advancing = true;
    try {
      // What an `expire` that threw left aside.
      this.#expireAside(nowMs);
      for (let tick = first; tick <= target; tick += 1) {
        this.#moveAside(tick % this.#slotCount);
        this.#expireAside(nowMs);
      }
    } finally {
      this.#advancing = false;
    }
  }

  #moveAside(slot: number): void {
    const aside = this.#slotCount;
    const head = this.#heads[slot] ?? null;
    for (let node = head; node !== null; node = node.wheelNext) node.wheelSlot = aside;
    this.#heads[aside] = head;
    this.#heads[slot] = null;
    this.#tails[slot] = null;
  }

  #expireAside(nowMs: number): void {
    const aside = this.#slotCount;
    for (let node = this.#heads[aside] ?? null; node !== null; node = this.#heads[aside] ?? null) {
      this.#unlink(node);
      if (node.wheelAtMs > nowMs) {
        this.#place(node);
      } else {
        this.#size -= 1;
        node.expire(nowMs);
      }
    }
  }

  /** Links the node into the slot of the first tick, not visited yet, at or after its time. */
  #place(node: TimerNode): void {
    const tick = Math.ceil(node.wheelAtMs / this.#slotMs);
    this.#link(node, (tick > this.#tick ? tick : this.#tick + 1) % this.#slotCount);
  }

  #link(node: TimerNode, slot: number): void {
    const tail = this.#tails[slot] ?? null;
    node.wheelSlot = slot;
    node.wheelPrevious = tail;
    node.wheelNext = null;
    if (tail === null) this.#heads[slot] = node;
    else tail.wheelNext = node;
    this.#tails[slot] = node;
  }

  #unlink(node: TimerNode): void {
    const slot = node.wheelSlot;
    if (node.wheelPrevious === null) this.#heads[slot] = node.wheelNext;
    else node.wheelPrevious.wheelNext = node.wheelNext;
    if (node.wheelNext === null) this.#tails[slot] = node.wheelPrevious;
    else node.wheelNext.wheelPrevious = node.wheelPrevious;
    node.wheelPrevious = null;
    node.wheelNext = null;
    node.wheelSlot = -1;
  }
}
