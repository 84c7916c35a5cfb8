// How many calls at a time a dependency takes before they queue up in it, found by measuring.
//
// A dependency that works on as many calls as it can keeps further ones waiting, so its latency rises with what is in flight (Little's
// law). The limit therefore follows the gradient of latency: what it is without load, over what it is now.
//
//   gradient = clamp(baseline · (1 + tolerance) / median of the window, ½ … 1)
//   limit    = limit · gradient + √limit           the root is the headroom in which a queue may show that there is more capacity
//
// The formula is that of Envoy's adaptive_concurrency (gradient_controller.cc) and of Netflix's concurrency-limits. They differ in the
// baseline, and neither is right for a sidecar. Netflix's Gradient2 has an average over a long window: under an overload that lasts, it
// rises to the latency of the overload, and the limit with it. Envoy measures every minute with the limit at 3, which refuses most of
// what comes. Here:
//   - a window in which at most half of the capacity was in use shows the latency without load, and moves the baseline; congested
//     windows never do;
//   - where no such window came for `probeInterval`, one is made, with the limit at half of the capacity: enough, for the capacity is
//     known from the limit (it settles where (limit − √limit) / (1 + tolerance) calls fit), and gentle;
//   - where the limit fell to half, one is made at once: if latency did not fall with it, it was not our calls that it came from, and the
//     dependency has become slower for everybody. Envoy waits for that until the limit has lain at its minimum for five windows.
// From Netflix: the limit does not grow while less than half of it is used (nothing is learnt about the rest), and the gradient is never
// above 1, so that a few fast answers do not double it.
//
//   - in the beginning nothing is known: the first window, at a limit of 20, is taken for the baseline, and probes come quickly.
// The median, as in Envoy, since a mean would follow a few slow calls. After each change the answers of one latency are left out, for
// they belong to the limit before; those of a probe count when no more is in flight than it allows, and what had waited is through.
import type { Random } from '../../runtime/random.ts';

export interface AdaptiveLimitNumbers {
  minConcurrent: number;
  maxConcurrent: number;
  /** How far latency may rise above the baseline before the limit falls. */
  latencyTolerancePercent: number;
  /** After so long without a window that shows the latency without load, one is made. */
  probeIntervalMs: number;
}

const INITIAL_LIMIT = 20;
const WINDOW_MS = 500;
const WINDOW_SAMPLES = 50;
/** The last so many samples of a window are kept; a faster one is decided by its latest. */
const KEPT_SAMPLES = 256;
const MIN_GRADIENT = 0.5;
/** Weight of a window in the baseline. */
const BASELINE_WEIGHT = 0.2;
/** A probe that differs by so much is no noise: it replaces the baseline; any other is averaged with it. */
const UNLIKE = 1.5;
/** A median so far below the baseline says, under any load, that the baseline is too high. */
const FASTER = 0.8;
/** The answers of so long are left out at most after a change. */
const MAX_SETTLING_MS = 5_000;
/** Until the second probe; doubled for each one until it is the interval of the policy. */
const FIRST_PROBE_MS = 5_000;
/** Where so long no answer came that tells anything, the probe is given up. */
const PROBE_PATIENCE_MS = 5_000;
/**
 * Where all places are taken as well, long streams hold them, and nobody else gets one until then: so many medians say it. The next probe would
 * meet the same streams: the pause before it may grow to so many intervals of the policy.
 */
const HELD_PATIENCE_MEDIANS = 20;
const HELD_PROBE_INTERVALS = 8;
/** A probe comes up to this share later, so that the sidecars of a dependency do not probe it together. */
const PROBE_JITTER = 0.15;

export class AdaptiveLimit {
  #spec: AdaptiveLimitNumbers;
  readonly #random: Random;
  /** The limit that holds between probes; not whole. */
  #estimate: number;
  /** The limit of the probe; 0: none is under way. */
  #probeLimit: number;
  #probeGapMs = FIRST_PROBE_MS;
  #baselineMs = 0;
  #medianMs = 0;
  #probeAtMs = Number.POSITIVE_INFINITY;
  /** The largest estimate since the baseline was last measured. */
  #highest = 0;
  /** Answers before it are left out. */
  #settledMs = 0;
  readonly #samples = new Float64Array(KEPT_SAMPLES);
  #count = 0;
  #peak = 0;
  #windowStartMs = 0;

  constructor(spec: AdaptiveLimitNumbers, random: Random, nowMs: number) {
    this.#spec = spec;
    this.#random = random;
    this.#estimate = this.#bounded(INITIAL_LIMIT);
    this.#probeLimit = this.#estimate;
    this.#settledMs = nowMs;
  }

  /** What may be in flight now. */
  get limit(): number {
    return this.probing ? this.#probeLimit : Math.floor(this.#estimate);
  }

  /** The latency without load is being measured, and the limit may be lower for it. */
  get probing(): boolean {
    return this.#probeLimit > 0;
  }

  /** Latency without load as far as it is known, milliseconds; 0: not yet. */
  get baselineMs(): number {
    return this.#baselineMs;
  }

  /** Median latency of the last window, milliseconds; 0: there was none. */
  get medianMs(): number {
    return this.#medianMs;
  }

  /** Changed numbers hold at once; what was measured stays. */
  update(spec: AdaptiveLimitNumbers): void {
    this.#spec = spec;
    this.#estimate = this.#bounded(this.#estimate);
    if (this.probing) this.#probeLimit = this.#bounded(this.#probeLimit);
  }

  /**
   * An answer came after `latencyMs`, while `inFlight` calls (this one included) were in flight. True: the limit may have changed. Only
   * what tells how busy the dependency is belongs here: answers that are no failures, and attempts that it let time out.
   */
  record(latencyMs: number, inFlight: number, nowMs: number): boolean {
    if (this.probing && inFlight > this.#probeLimit) this.#settle(2 * this.#medianMs, nowMs);
    if (nowMs < this.#settledMs) return false;
    if (this.#count === 0) this.#windowStartMs = nowMs;
    this.#samples[this.#count % KEPT_SAMPLES] = latencyMs;
    this.#count += 1;
    this.#peak = Math.max(this.#peak, inFlight);
    if (this.#count < WINDOW_SAMPLES) return false;
    if (!this.probing && nowMs - this.#windowStartMs < WINDOW_MS) return false;
    this.#close(nowMs);
    return true;
  }

  /** Gives up a probe that nothing can be learnt from. To be called about every second; true: the limit may have changed. */
  giveUpProbe(inFlight: number, nowMs: number): boolean {
    if (!this.probing || this.#baselineMs === 0) return false;
    const isHeld = inFlight >= this.#probeLimit;
    const patienceMs = isHeld ? Math.min(HELD_PATIENCE_MEDIANS * this.#medianMs, PROBE_PATIENCE_MS) : PROBE_PATIENCE_MS;
    if (nowMs - Math.max(this.#settledMs, this.#windowStartMs) < patienceMs * (1 + this.#count)) return false;
    this.#probeLimit = 0;
    this.#count = 0;
    this.#peak = 0;
    this.#planProbe(nowMs, isHeld ? HELD_PROBE_INTERVALS : 1);
    return true;
  }

  /** Calls that fit into the dependency if the estimate has settled: the limit's fixed point, solved for it. */
  get #capacity(): number {
    return (this.#estimate - Math.sqrt(this.#estimate)) / this.#tolerance;
  }

  get #tolerance(): number {
    return 1 + this.#spec.latencyTolerancePercent / 100;
  }

  #bounded(limit: number): number {
    return Math.max(this.#spec.minConcurrent, Math.min(limit, this.#spec.maxConcurrent));
  }

  #close(nowMs: number): void {
    const before = this.limit;
    const peak = this.#peak;
    this.#medianMs = this.#takeMedian();
    const calm = this.probing || peak * 2 <= this.#capacity;
    this.#learn(calm);
    if (calm) this.#planProbe(nowMs);
    if (this.probing) this.#probeLimit = 0;
    else if (peak * 2 >= this.#estimate) this.#follow();
    if (nowMs >= this.#probeAtMs || this.#fallen) this.#beginProbe();
    if (this.limit !== before) this.#settle(this.#medianMs, nowMs);
  }

  #learn(calm: boolean): void {
    const median = this.#medianMs;
    const unlike = Math.max(median, this.#baselineMs) > UNLIKE * Math.min(median, this.#baselineMs);
    if (this.probing) this.#baselineMs = unlike ? median : (this.#baselineMs + median) / 2;
    else if (calm || median < this.#baselineMs * FASTER)
      this.#baselineMs += (median - this.#baselineMs) * BASELINE_WEIGHT;
  }

  /** `intervals`: of the policy, that the pause before the probe after the next one may have. */
  #planProbe(nowMs: number, intervals = 1): void {
    this.#highest = this.#estimate;
    this.#probeAtMs = nowMs + this.#probeGapMs * (1 + PROBE_JITTER * this.#random());
    this.#probeGapMs = Math.min(this.#probeGapMs * 2, this.#spec.probeIntervalMs * intervals);
  }

  #beginProbe(): void {
    this.#probeLimit = Math.floor(this.#bounded(this.#capacity / 2));
  }

  #settle(forMs: number, nowMs: number): void {
    this.#settledMs = nowMs + Math.min(forMs, MAX_SETTLING_MS);
  }

  #follow(): void {
    const gradient = Math.max(MIN_GRADIENT, Math.min(1, (this.#baselineMs * this.#tolerance) / this.#medianMs));
    this.#estimate = this.#bounded(this.#estimate * gradient + Math.sqrt(this.#estimate));
    this.#highest = Math.max(this.#highest, this.#estimate);
  }

  get #fallen(): boolean {
    return this.#estimate <= this.#highest / 2;
  }

  /** Of the samples of the window, which is over with it. */
  #takeMedian(): number {
    const kept = this.#samples.subarray(0, Math.min(this.#count, KEPT_SAMPLES)).sort();
    this.#count = 0;
    this.#peak = 0;
    // A latency of nothing would make the gradient no number.
    return Math.max(kept[kept.length >> 1] ?? 0, 0.001);
  }
}
