// The adaptive limit beside a model that keeps whole windows and works everything out of them, by the formulas at the head of its file.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { AdaptiveLimit, type AdaptiveLimitNumbers } from './adaptive-limit.ts';

interface Answer {
  latencyMs: number;
  inFlight: number;
}

class Model {
  spec: AdaptiveLimitNumbers;
  baselineMs = 0;
  medianMs = 0;
  probe: number | null;
  #estimate: number;
  #highest = 0;
  #gapMs = 5_000;
  #probeAtMs = Number.POSITIVE_INFINITY;
  #settledMs: number;
  #startMs = 0;
  #window: Answer[] = [];
  readonly #random: () => number;

  constructor(spec: AdaptiveLimitNumbers, random: () => number, nowMs: number) {
    this.spec = spec;
    this.#random = random;
    this.#estimate = this.#bounded(20);
    this.probe = this.#estimate;
    this.#settledMs = nowMs;
  }

  get limit(): number {
    return this.probe ?? Math.floor(this.#estimate);
  }

  update(spec: AdaptiveLimitNumbers): void {
    this.spec = spec;
    this.#estimate = this.#bounded(this.#estimate);
    if (this.probe !== null) this.probe = this.#bounded(this.probe);
  }

  record(answer: Answer, nowMs: number): boolean {
    // What had waited for the probe to begin is still coming through.
    if (this.probe !== null && answer.inFlight > this.probe) this.#leaveOut(2 * this.medianMs, nowMs);
    if (nowMs < this.#settledMs) return false;
    if (this.#window.length === 0) this.#startMs = nowMs;
    this.#window.push(answer);
    const isLongEnough = this.probe !== null || nowMs - this.#startMs >= 500;
    if (this.#window.length < 50 || !isLongEnough) return false;
    const before = this.limit;
    this.#close(nowMs);
    if (this.limit !== before) this.#leaveOut(this.medianMs, nowMs);
    return true;
  }

  giveUpProbe(inFlight: number, nowMs: number): boolean {
    if (this.probe === null || this.baselineMs === 0) return false;
    const isHeld = inFlight >= this.probe;
    const idleMs = nowMs - Math.max(this.#settledMs, this.#startMs);
    const longestMs = isHeld && 20 * this.medianMs < 5_000 ? 20 * this.medianMs : 5_000;
    if (idleMs < longestMs * (1 + this.#window.length)) return false;
    this.probe = null;
    this.#window = [];
    this.#planProbe(nowMs, isHeld);
    return true;
  }

  get #tolerance(): number {
    return 1 + this.spec.latencyTolerancePercent / 100;
  }

  get #capacity(): number {
    return (this.#estimate - Math.sqrt(this.#estimate)) / this.#tolerance;
  }

  #close(nowMs: number): void {
    const latencies = this.#window.slice(-256).map(({ latencyMs }) => latencyMs);
    const peak = Math.max(...this.#window.map(({ inFlight }) => inFlight));
    this.#window = [];
    latencies.sort((left, right) => left - right);
    this.medianMs = Math.max(latencies[Math.floor(latencies.length / 2)] ?? 0, 0.001);
    const wasProbe = this.probe !== null;
    const isCalm = wasProbe || peak <= this.#capacity / 2;
    this.baselineMs = this.#newBaseline(wasProbe, isCalm);
    if (isCalm) this.#planProbe(nowMs);
    this.probe = null;
    if (!wasProbe && peak >= this.#estimate / 2) {
      const gradient = Math.max(0.5, Math.min(1, (this.baselineMs * this.#tolerance) / this.medianMs));
      this.#estimate = this.#bounded(this.#estimate * gradient + Math.sqrt(this.#estimate));
      this.#highest = Math.max(this.#highest, this.#estimate);
    }
    if (nowMs >= this.#probeAtMs || this.#estimate <= this.#highest / 2)
      this.probe = Math.floor(this.#bounded(this.#capacity / 2));
  }

  #newBaseline(isProbe: boolean, isCalm: boolean): number {
    const [before, now] = [this.baselineMs, this.medianMs];
    const isUnlike = Math.max(before, now) > 1.5 * Math.min(before, now);
    if (isProbe) return isUnlike ? now : (before + now) / 2;
    return isCalm || now < 0.8 * before ? before + (now - before) * 0.2 : before;
  }

  #planProbe(nowMs: number, wasHeld = false): void {
    this.#highest = this.#estimate;
    this.#probeAtMs = nowMs + this.#gapMs * (1 + 0.15 * this.#random());
    this.#gapMs = Math.min(2 * this.#gapMs, (wasHeld ? 8 : 1) * this.spec.probeIntervalMs);
  }

  #leaveOut(forMs: number, nowMs: number): void {
    this.#settledMs = nowMs + Math.min(forMs, 5_000);
  }

  #bounded(limit: number): number {
    return Math.max(this.spec.minConcurrent, Math.min(limit, this.spec.maxConcurrent));
  }
}

const numbers = fc.record({
  minConcurrent: fc.integer({ min: 1, max: 10 }),
  maxConcurrent: fc.integer({ min: 10, max: 200 }),
  latencyTolerancePercent: fc.constantFrom(10, 50, 100, 200),
  probeIntervalMs: fc.constantFrom(10_000, 20_000, 60_000),
});
/** `load`: in flight at most, of what the limit lets in. */
const answers = fc.record({
  kind: fc.constant('answers' as const),
  latencyMs: fc.constantFrom(0, 1, 10, 12, 15, 16, 20, 100, 8_000),
  load: fc.constantFrom(0.2, 0.4, 0.5, 0.6, 1, 1, 1.2),
  count: fc.constantFrom(1, 20, 50, 51, 100, 300),
  everyMs: fc.constantFrom(0, 1, 10, 10, 20, 100),
});
const step = fc.oneof(
  { weight: 12, arbitrary: answers },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(100, 5_000, 30_000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('giveUp' as const), isHeld: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('update' as const), numbers }) },
);

/** A probe that nobody comes for. Too seldom by chance alone: it has to be due, begun, and left alone, one after the other. */
const GIVEN_UP: [AdaptiveLimitNumbers, (typeof step extends fc.Arbitrary<infer S> ? S : never)[], number] = [
  { minConcurrent: 1, maxConcurrent: 100, latencyTolerancePercent: 50, probeIntervalMs: 10_000 },
  [
    { kind: 'answers', latencyMs: 10, load: 1, count: 51, everyMs: 10 },
    { kind: 'pass', ms: 30_000 },
    { kind: 'answers', latencyMs: 10, load: 1, count: 51, everyMs: 20 },
    { kind: 'pass', ms: 30_000 },
    { kind: 'giveUp', isHeld: false },
  ],
  0,
];
/** The same where its places are held: some hundred milliseconds are enough. */
const HELD: typeof GIVEN_UP = [
  GIVEN_UP[0],
  [
    ...GIVEN_UP[1].slice(0, 3),
    { kind: 'pass', ms: 100 },
    { kind: 'giveUp', isHeld: true },
    { kind: 'pass', ms: 100 },
    { kind: 'pass', ms: 100 },
    { kind: 'giveUp', isHeld: true },
  ],
  0,
];

describe('the adaptive limit', () => {
  it('is what a model says that works it out of whole windows', () => {
    const happened = new Set<string>();
    fc.assert(
      fc.property(numbers, fc.array(step, { maxLength: 40, size: 'max' }), fc.nat(), (first, steps, seed) => {
        let nowMs = 1_000;
        const limit = new AdaptiveLimit(first, seededRandom(seed), nowMs);
        const model = new Model(first, seededRandom(seed), nowMs);
        const agree = (): void => {
          expect([limit.limit, limit.probing, limit.baselineMs, limit.medianMs]).toEqual([
            model.limit,
            model.probe !== null,
            model.baselineMs,
            model.medianMs,
          ]);
        };
        for (const each of steps) {
          if (each.kind === 'pass') nowMs += each.ms;
          else if (each.kind === 'update') {
            limit.update(each.numbers);
            model.update(each.numbers);
          } else if (each.kind === 'giveUp') {
            const inFlight = limit.limit - (each.isHeld ? 0 : 1);
            const hasGivenUp = limit.giveUpProbe(inFlight, nowMs);
            expect(hasGivenUp).toBe(model.giveUpProbe(inFlight, nowMs));
            if (hasGivenUp) happened.add(each.isHeld ? 'held' : 'given up');
          } else {
            for (let count = 0; count < each.count; count += 1) {
              nowMs += each.everyMs;
              const inFlight = Math.max(1, Math.round(limit.limit * each.load));
              const wasProbing = limit.probing;
              const mayHaveChanged = limit.record(each.latencyMs, inFlight, nowMs);
              const modelMay = model.record({ latencyMs: each.latencyMs, inFlight }, nowMs);
              // Half a million times: `expect` itself would be most of the test.
              if (mayHaveChanged !== modelMay) expect([mayHaveChanged, nowMs]).toEqual([modelMay, nowMs]);
              if (mayHaveChanged) agree();
              if (!wasProbing && limit.probing) happened.add('probed');
            }
          }
          agree();
        }
      }),
      { numRuns: 200, examples: [GIVEN_UP, HELD] },
    );
    expect([...happened].sort()).toEqual(['given up', 'held', 'probed']);
  });
});
