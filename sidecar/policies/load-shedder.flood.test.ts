// A flood in virtual time: an event loop of one thread, and callers that ask again as soon as they are answered, whatever the answer. What is
// served of that what could be, and to whom, does not depend on the machine here.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { LOOP_DELAY_MS, LoadShedder, SHED_RETRY_AFTER_MS, ShedReason } from './load-shedder.ts';

const SAMPLE_MS = 100;
/** What one request costs the event loop. */
const SERVED_MS = 0.5;
/** Of that, what a refusal costs: measured, it is 0.45. */
const REFUSED_SHARE = 0.45;
/** Serving these takes as long as the event loop may be late. */
const FULL = LOOP_DELAY_MS / SERVED_MS;

class Flood {
  readonly shedder = new LoadShedder();
  readonly served: number[];
  refused = 0;
  worstRoundMs = 0;
  nowMs = 0;
  readonly #refusedMs: number;
  readonly #holds: boolean;
  readonly #random = seededRandom(7);
  #ready: number[];
  #heldBack: { caller: number; untilMs: number }[] = [];
  #sampledMs = 0;
  #activeMs = 0;
  #rounds = 0;

  constructor({ callers, refusedShare = REFUSED_SHARE, holds = true }: FloodOptions) {
    this.served = Array.from({ length: callers }, () => 0);
    this.#ready = Array.from({ length: callers }, (_, caller) => caller);
    this.#refusedMs = SERVED_MS * refusedShare;
    this.#holds = holds;
  }

  get heldBack(): number {
    return this.#heldBack.length;
  }

  run(ms: number): this {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) this.#round();
    return this;
  }

  /** From now on only the first of them ask. */
  leave(callers: number): void {
    this.#ready = this.#ready.filter((caller) => caller < callers);
    this.#heldBack = this.#heldBack.filter(({ caller }) => caller < callers);
  }

  forgetUntilNow(): void {
    this.served.fill(0);
    this.refused = 0;
    this.worstRoundMs = 0;
  }

  /** All that was ready at its beginning, as epoll tells it; timers are before it. */
  #round(): void {
    const startMs = this.nowMs;
    const back = this.#heldBack.filter(({ untilMs }) => untilMs <= startMs);
    this.#heldBack = this.#heldBack.filter(({ untilMs }) => untilMs > startMs);
    const round = [...this.#ready, ...back.map(({ caller }) => caller)];
    this.#ready = [];
    for (const caller of round) this.#take(caller);
    // Without any it waits.
    if (round.length === 0) this.nowMs += 1;
    else this.#activeMs += this.nowMs - startMs;
    this.#rounds += 1;
    this.worstRoundMs = Math.max(this.worstRoundMs, this.nowMs - startMs);
    if (this.nowMs - this.#sampledMs >= SAMPLE_MS) this.#sample();
  }

  #take(caller: number): void {
    const reason = this.shedder.judge(1);
    this.nowMs += reason === ShedReason.None ? SERVED_MS : this.#refusedMs;
    if (reason === ShedReason.None) {
      this.served[caller] = (this.served[caller] ?? 0) + 1;
      this.#ready.push(caller);
      return;
    }
    this.refused += 1;
    const ms = this.#holds ? this.shedder.holdBackMs(reason, this.#random()) : 0;
    if (ms === 0) this.#ready.push(caller);
    else this.#heldBack.push({ caller, untilMs: this.nowMs + ms });
  }

  #sample(): void {
    this.shedder.observe({
      memoryShare: 0.3,
      loopDelayMs: this.#activeMs / this.#rounds,
      loopUtilization: this.#activeMs / (this.nowMs - this.#sampledMs),
    });
    this.#sampledMs = this.nowMs;
    this.#activeMs = 0;
    this.#rounds = 0;
  }
}

interface FloodOptions {
  callers: number;
  refusedShare?: number;
  /** False: as it would be without holding anybody back. */
  holds?: boolean;
}

const SECONDS = 60;
const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
/** Share of what could be served in this time. */
const goodput = (flood: Flood, seconds: number) => (sum(flood.served) * SERVED_MS) / (seconds * 1_000);

describe('a flood', () => {
  it('of five times what the loop may be late by leaves four fifths of what can be served, for a minute', () => {
    const flood = new Flood({ callers: 5 * FULL }).run(SECONDS * 1_000);
    expect(goodput(flood, SECONDS)).toBeGreaterThan(0.8);
    // As late as in the beginning it is never again.
    flood.forgetUntilNow();
    flood.run(SECONDS * 1_000);
    expect(flood.worstRoundMs).toBeLessThan(4 * LOOP_DELAY_MS);
  });

  it('would leave less than half of it to callers that are refused and ask again at once', () => {
    const flood = new Flood({ callers: 5 * FULL, holds: false }).run(SECONDS * 1_000);
    expect(goodput(flood, SECONDS)).toBeLessThan(0.5);
  });

  it('is served to all alike', () => {
    const { served } = new Flood({ callers: 5 * FULL }).run(3 * SECONDS * 1_000);
    const mean = sum(served) / served.length;
    expect(Math.min(...served)).toBeGreaterThan(mean * 0.6);
    expect(Math.max(...served)).toBeLessThan(mean * 1.4);
  });

  it('is over within seconds, and holds nobody back afterwards', () => {
    const flood = new Flood({ callers: 5 * FULL }).run(SECONDS * 1_000);
    flood.leave(10);
    flood.run(5_000);
    expect([flood.shedder.share, flood.heldBack]).toEqual([0, 0]);
    flood.forgetUntilNow();
    flood.run(1_000);
    expect([flood.refused, flood.heldBack]).toEqual([0, 0]);
  });

  it('of fifteen times leaves it as well, once all were told to stay away for longer', () => {
    const flood = new Flood({ callers: 15 * FULL }).run(20_000);
    flood.forgetUntilNow();
    flood.run(20_000);

    expect(flood.shedder.retryAfterMs).toBeGreaterThan(SHED_RETRY_AFTER_MS);
    expect(goodput(flood, 20)).toBeGreaterThan(0.8);
  });

  it('of any size up to that, and whatever a refusal costs up to half, leaves as much', () => {
    const sizes = new Set<boolean>();
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 5 * FULL }), fc.nat({ max: 50 }), (callers, percent) => {
        const flood = new Flood({ callers, refusedShare: percent / 100 }).run(10_000);
        expect(goodput(flood, 10)).toBeGreaterThan(0.8);
        sizes.add(flood.refused > 0);
      }),
      { numRuns: 30 },
    );
    expect(sizes).toEqual(new Set([true, false]));
  });
});

describe('holding back', () => {
  it('lasts between half of what was told and all of it, and spreads those that were refused together', () => {
    const shedder = new LoadShedder();
    const times = [0, 0.25, 0.999].map((chance) => shedder.holdBackMs(ShedReason.EventLoop, chance));
    expect(times).toEqual([500, 625, 999.5]);
    expect(SHED_RETRY_AFTER_MS).toBe(1_000);
  });

  it('is of no use where memory is short, or nothing was refused', () => {
    const shedder = new LoadShedder();
    expect([ShedReason.Memory, ShedReason.None].map((reason) => shedder.holdBackMs(reason, 0.5))).toEqual([0, 0]);
  });
});
