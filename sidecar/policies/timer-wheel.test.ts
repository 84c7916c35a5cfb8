import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type TimerNode, TimerWheel } from './timer-wheel.ts';

class Timer implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly expiredAtMs: number[] = [];
  readonly onExpire: ((nowMs: number) => void) | undefined;

  constructor(onExpire?: (nowMs: number) => void) {
    this.onExpire = onExpire;
  }

  expire(nowMs: number): void {
    this.expiredAtMs.push(nowMs);
    this.onExpire?.(nowMs);
  }
}

const SLOT_MS = 10;
const SLOTS = 8;
const wheelAt = (nowMs: number) => new TimerWheel(nowMs, SLOT_MS, SLOTS);

/** Advances in steps of 1 ms. */
function run(wheel: TimerWheel, fromMs: number, toMs: number): void {
  for (let nowMs = fromMs + 1; nowMs <= toMs; nowMs += 1) wheel.advance(nowMs);
}

describe('TimerWheel', () => {
  it('expires a node once, never early, at most one slot late', () => {
    for (let delay = 0; delay < 200; delay += 3) {
      const wheel = wheelAt(1003);
      const timer = new Timer();
      wheel.arm(timer, 1003 + delay);
      run(wheel, 1003, 1300);
      expect(timer.expiredAtMs).toHaveLength(1);
      const [at = 0] = timer.expiredAtMs;
      expect(at - (1003 + delay)).toBeGreaterThanOrEqual(0);
      expect(at - (1003 + delay)).toBeLessThanOrEqual(SLOT_MS);
      expect(wheel.size).toBe(0);
    }
  });

  it('says when to advance it: then each node expires when it would at steps of a millisecond', () => {
    const command = fc.record({
      node: fc.nat(4),
      inMs: fc.option(fc.integer({ min: 1, max: 300 }), { nil: undefined }),
    });
    const property = fc.property(fc.array(command, { maxLength: 30, size: 'max' }), (commands) => {
      const byStep = wheelAt(0);
      const bySleep = wheelAt(0);
      const stepped = Array.from({ length: 5 }, () => new Timer());
      const slept = Array.from({ length: 5 }, () => new Timer());
      let nowMs = 0;
      for (const { node, inMs } of commands) {
        const [a, b] = [stepped[node], slept[node]];
        if (!a || !b) continue;
        byStep.arm(a, inMs === undefined ? Number.POSITIVE_INFINITY : nowMs + inMs);
        bySleep.arm(b, inMs === undefined ? Number.POSITIVE_INFINITY : nowMs + inMs);
        const untilMs = nowMs + 17;
        run(byStep, nowMs, untilMs);
        for (let dueMs = bySleep.nextDueMs(); dueMs <= untilMs; dueMs = bySleep.nextDueMs()) bySleep.advance(dueMs);
        nowMs = untilMs;
        expect(slept.map(({ expiredAtMs }) => expiredAtMs)).toEqual(stepped.map(({ expiredAtMs }) => expiredAtMs));
      }
    });
    fc.assert(property);
    expect(wheelAt(0).nextDueMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('says no moment before the first node can be due, within a turn', () => {
    for (let atMs = 1; atMs <= 70; atMs += 1) {
      const wheel = wheelAt(0);
      wheel.arm(new Timer(), 79);
      wheel.arm(new Timer(), atMs);
      const dueMs = wheel.nextDueMs();
      expect(dueMs).toBeGreaterThanOrEqual(atMs);
      expect(dueMs - atMs).toBeLessThanOrEqual(SLOT_MS);
    }
  });

  it('counts the nodes that are armed', () => {
    const wheel = wheelAt(0);
    const [a, b] = [new Timer(), new Timer()];
    wheel.arm(a, 50);
    wheel.arm(b, 50);
    wheel.arm(a, 60);
    expect(wheel.size).toBe(2);
    wheel.disarm(b);
    wheel.disarm(b);
    expect([wheel.size, b.wheelSlot]).toEqual([1, -1]);
    run(wheel, 0, 100);
    expect([wheel.size, a.expiredAtMs, b.expiredAtMs]).toEqual([0, [60], []]);
  });

  it('moves a node that is armed again', () => {
    const wheel = wheelAt(0);
    const timer = new Timer();
    wheel.arm(timer, 20);
    run(wheel, 0, 15);
    wheel.arm(timer, 500);
    run(wheel, 15, 499);
    expect(timer.expiredAtMs).toEqual([]);
    run(wheel, 499, 520);
    expect(timer.expiredAtMs).toEqual([500]);
  });

  it('disarms a node that is armed for never', () => {
    const wheel = wheelAt(0);
    const timer = new Timer();
    wheel.arm(timer, Number.POSITIVE_INFINITY);
    expect(wheel.size).toBe(0);
    wheel.arm(timer, 20);
    wheel.arm(timer, Number.POSITIVE_INFINITY);
    wheel.advance(100_000);
    expect([wheel.size, timer.wheelSlot, timer.expiredAtMs]).toEqual([0, -1, []]);
  });

  it('keeps nodes further away than one turn', () => {
    const wheel = wheelAt(0);
    const timers = [1, 2, 3, 10].map((turns) => {
      const timer = new Timer();
      wheel.arm(timer, turns * SLOT_MS * SLOTS);
      return timer;
    });
    run(wheel, 0, 1000);
    expect(timers.map(({ expiredAtMs }) => expiredAtMs)).toEqual([[80], [160], [240], [800]]);
  });

  it('loses nothing in a pause and runs nothing twice', () => {
    const wheel = wheelAt(0);
    const timers = Array.from({ length: 50 }, (_, index) => {
      const timer = new Timer();
      wheel.arm(timer, index * 7);
      return timer;
    });
    const later = new Timer();
    wheel.arm(later, 30_005);
    wheel.advance(30_000);
    for (const { expiredAtMs } of timers) expect(expiredAtMs).toEqual([30_000]);
    expect(later.expiredAtMs).toEqual([]);
    wheel.advance(30_010);
    expect(later.expiredAtMs).toEqual([30_010]);
    expect(wheel.size).toBe(0);
  });

  it('lets a node arm itself again, and runs it in a later advance', () => {
    const wheel = wheelAt(0);
    const timer: Timer = new Timer((nowMs) => wheel.arm(timer, nowMs));
    wheel.arm(timer, 5);
    wheel.advance(1000);
    expect(timer.expiredAtMs).toEqual([1000]);
    wheel.advance(1010);
    expect(timer.expiredAtMs).toEqual([1000, 1010]);
    wheel.disarm(timer);
    expect(wheel.size).toBe(0);
  });

  it('lets a node disarm and arm others, those of its own slot too', () => {
    const wheel = wheelAt(0);
    const victims = [new Timer(), new Timer(), new Timer()];
    const moved = new Timer();
    const killer = new Timer((nowMs) => {
      for (const victim of victims) wheel.disarm(victim);
      wheel.arm(moved, nowMs + 40);
    });
    const [before, next, far] = victims;
    if (before === undefined || next === undefined || far === undefined) throw new Error('three victims');
    wheel.arm(killer, 20);
    wheel.arm(next, 20);
    wheel.arm(moved, 20);
    wheel.arm(far, 20 + SLOT_MS * SLOTS);
    wheel.arm(before, 30);
    run(wheel, 0, 300);
    expect(victims.map(({ expiredAtMs }) => expiredAtMs)).toEqual([[], [], []]);
    expect(moved.expiredAtMs).toEqual([60]);
    expect(wheel.size).toBe(0);
  });

  it('ignores time that goes back, and an advance from within', () => {
    const wheel = wheelAt(1000);
    const inner = new Timer();
    const outer = new Timer((nowMs) => wheel.advance(nowMs + 500));
    wheel.arm(outer, 1010);
    wheel.arm(inner, 1100);
    wheel.advance(500);
    wheel.advance(1020);
    expect([outer.expiredAtMs, inner.expiredAtMs]).toEqual([[1020], []]);
    wheel.advance(1100);
    expect(inner.expiredAtMs).toEqual([1100]);
  });

  it('goes on after an expire that threw', () => {
    const wheel = wheelAt(0);
    const bad = new Timer(() => {
      throw new Error('broken');
    });
    const good = new Timer();
    const far = new Timer();
    wheel.arm(bad, 10);
    wheel.arm(good, 10);
    wheel.arm(far, 10 + SLOT_MS * SLOTS);
    const other = new Timer();
    wheel.arm(other, 70);
    expect(() => wheel.advance(10)).toThrow('broken');
    expect(wheel.nextDueMs()).toBe(20);
    run(wheel, 10, 100);
    expect([good, far, other].map(({ expiredAtMs }) => expiredAtMs)).toEqual([[20], [90], [70]]);
    expect(wheel.size).toBe(0);
  });
});

interface Model {
  nowMs: number;
  /** The last tick that was visited. */
  tick: number;
  /** Armed timers by number: the time of each, and the tick that it waits for, the first one, not visited yet, at or after its time. */
  armed: Map<number, { atMs: number; tick: number }>;
  timers: Timer[];
  /** What has expired since it was last looked at, by number. */
  expired: number[];
}

const tenths = (number: number) => number / 10;
const ascending = (one: number, other: number) => one - other;

/** The next tick whose slot has a timer in it, be it one of a later turn. */
function nextVisit({ tick, armed }: Model): number {
  const ticks = [...armed.values()].map((node) => tick + 1 + ((node.tick - tick - 1) % SLOTS));
  return Math.min(...ticks);
}

class Arm implements fc.Command<Model, TimerWheel> {
  readonly index: number;
  readonly delayMs: number;
  constructor(index: number, delayMs: number) {
    this.index = index;
    this.delayMs = delayMs;
  }
  check = () => true;
  run(model: Model, wheel: TimerWheel): void {
    const timer = model.timers[this.index];
    if (timer === undefined) throw new Error(`timer ${this.index}`);
    const atMs = model.nowMs + this.delayMs;
    model.armed.set(this.index, { atMs, tick: Math.max(Math.ceil(atMs / SLOT_MS), model.tick + 1) });
    wheel.arm(timer, atMs);
    expect(wheel.size).toBe(model.armed.size);
  }
  toString = () => `arm ${this.index} +${this.delayMs}`;
}

class Disarm implements fc.Command<Model, TimerWheel> {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
  check = () => true;
  run(model: Model, wheel: TimerWheel): void {
    const timer = model.timers[this.index];
    if (timer === undefined) throw new Error(`timer ${this.index}`);
    model.armed.delete(this.index);
    wheel.disarm(timer);
    expect(wheel.size).toBe(model.armed.size);
  }
  toString = () => `disarm ${this.index}`;
}

class Advance implements fc.Command<Model, TimerWheel> {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
  check = () => true;
  run(model: Model, wheel: TimerWheel): void {
    model.nowMs += this.ms;
    model.expired = [];
    const target = Math.floor(model.nowMs / SLOT_MS);
    const first = Math.max(model.tick, target - SLOTS) + 1;
    // In a whole turn every slot is visited, and so is that of the tick that comes next.
    const isTurn = target - model.tick >= SLOTS;
    model.tick = target;
    const due: number[] = [];
    const visits: number[] = [];
    for (const [index, { atMs, tick }] of model.armed) {
      if (tick > target && !(isTurn && atMs <= model.nowMs)) continue;
      due.push(index);
      visits[index] = (tick - first + SLOTS * 100) % SLOTS;
    }
    wheel.advance(model.nowMs);
    expect(model.expired.toSorted(ascending)).toEqual(due.toSorted(ascending));
    const visited = model.expired.map((index) => visits[index] ?? -1);
    expect(visited).toEqual(visited.toSorted(ascending));
    for (const index of due) model.armed.delete(index);
    expect(wheel.size).toBe(model.armed.size);
    expect(wheel.nextDueMs()).toBe(nextVisit(model) * SLOT_MS);
  }
  toString = () => `advance ${this.ms}`;
}

it('does as its model does', () => {
  const commands = [
    fc.tuple(fc.nat({ max: 9 }), fc.integer({ min: -50, max: 300 })).map(([index, delayMs]) => new Arm(index, delayMs)),
    fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 400 }).map(tenths)).map(([index, delayMs]) => new Arm(index, delayMs)),
    fc.nat({ max: 9 }).map((index) => new Disarm(index)),
    fc.integer({ min: 0, max: 30 }).map((ms) => new Advance(ms)),
    fc.nat({ max: 1_300 }).map((number) => new Advance(tenths(number))),
  ];
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 100, size: 'max' }), (commandsRun) => {
      const model: Model = { nowMs: 1000, tick: 1000 / SLOT_MS, armed: new Map(), timers: [], expired: [] };
      for (let index = 0; index < 10; index += 1) model.timers.push(new Timer(() => model.expired.push(index)));
      fc.modelRun(() => ({ model, real: wheelAt(1000) }), commandsRun);
    }),
    { numRuns: 100 },
  );
});
