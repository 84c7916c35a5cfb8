// Hedging in shadow: nothing is sent, but it is known when a hedge would have been, and what would have kept it.
//
// A timer of the data path for it would be felt: armed alone it would start the ticking that everybody waits by. So the moments at which hedges
// are due lie in a wheel of the shadow's own, which is turned whenever an attempt begins or ends here, and a few times per second. What is due
// meanwhile is judged at the next turn, by what holds then, and by the time at which it was due where time decides.
//
// What a hedge would have been answered nobody knows. To everything else the attempt goes on as it really does, and a hedge keeps nothing but
// what it takes out of the budget: the place that it would have needed is looked at, and not taken.
import type { HedgingPlan } from '../../../plan/policies/hedging.ts';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { Hedging, mayRunBeside } from '../hedging.ts';
import type { RetryBudget } from '../retry-budget.ts';
import { TimerWheel } from '../timer-wheel.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';
import { isListed } from './retries-shadow.ts';

const HEDGE = shadowSlot('hedging', 'hedge');
const UNSAFE = shadowSlot('hedging', 'suppressed-unsafe');
const BODY = shadowSlot('hedging', 'suppressed-body');
const ENDPOINT = shadowSlot('hedging', 'suppressed-no-other-endpoint');
const CIRCUIT = shadowSlot('hedging', 'suppressed-circuit');
const BULKHEAD = shadowSlot('hedging', 'suppressed-bulkhead');
const BUDGET = shadowSlot('hedging', 'suppressed-budget');

/** As fine as the ticks of the data path. */
const SLOT_MS = 5;
/** One turn is some seconds; what is due later than that costs a look per turn. */
const SLOTS = 512;

/** What all rules with the same key share: the latencies, and when hedges are due. */
export class ShadowHedges {
  readonly hedging: Hedging;
  readonly #due: TimerWheel;

  constructor(plan: HedgingPlan, nowMs: number) {
    this.hedging = new Hedging(plan, nowMs);
    this.#due = new TimerWheel(nowMs, SLOT_MS, SLOTS);
  }

  update(plan: HedgingPlan): void {
    this.hedging.update(plan);
  }

  /** Attempts that are watched. */
  get watched(): number {
    return this.#due.size;
  }

  watch(call: ShadowCall, atMs: number): void {
    this.#due.arm(call, atMs);
  }

  forget(call: ShadowCall): void {
    this.#due.disarm(call);
  }

  /** Judges what is due. */
  sweep(nowMs: number): void {
    this.#due.advance(nowMs);
  }
}

/** What a hedge would have to pass, enforced or in shadow; nothing of it is changed by asking. */
export interface HedgedLayers {
  /** Hedges that one request may have. */
  readonly maxHedges: number;
  /** What they say of methods. */
  readonly retries: RetriesPlan;
  /** Of hedges in shadow, and of the retries in shadow where there are any: never the one that acts. */
  readonly budget: RetryBudget;
  /** Nobody else keeps these books: what is counted of requests, and the retries that are really made, is told from here. */
  readonly keepsBudget: boolean;
  /** Calls are let through, and not as probes. */
  circuitClosed(): boolean;
  /** The bulkhead has a place that nobody waits for. */
  hasPlace(): boolean;
  /** Endpoints beside this one that could be picked now; none where the sidecar does not choose. */
  otherEndpoints(endpoint: BalancedEndpoint): number;
}

export class HedgingShadow extends BlockShadow {
  readonly #hedges: ShadowHedges;
  readonly #layers: HedgedLayers;
  readonly #floorMs: number;

  /** `floorMs`: with less than this left before the deadline nothing is sent. */
  constructor(hedges: ShadowHedges, layers: HedgedLayers, floorMs: number) {
    super();
    this.#hedges = hedges;
    this.#layers = layers;
    this.#floorMs = floorMs;
  }

  override admit(_call: ShadowCall, nowMs: number): boolean {
    if (this.#layers.keepsBudget) this.#layers.budget.recordRequest(nowMs);
    return true;
  }

  override attempt(call: ShadowCall, nowMs: number): boolean {
    this.#hedges.sweep(nowMs);
    const { budget, keepsBudget } = this.#layers;
    if (keepsBudget && call.attempts > 1) budget.tryWithdraw(nowMs);
    const { acceptsEventStream, upgrade } = call.head;
    const { hedging } = this.#hedges;
    call.hedging = null;
    if (upgrade !== '' || acceptsEventStream || !this.#layers.circuitClosed()) return true;
    call.hedging = this;
    call.hedgesOut = 0;
    call.hedgeSentMs = nowMs;
    call.hedgeDelayMs = hedging.delayMs(nowMs);
    if (call.hedgeDelayMs >= 0 && call.hedges < this.#layers.maxHedges)
      this.#hedges.watch(call, nowMs + call.hedgeDelayMs);
    return true;
  }

  /** The delay of a call is over, or was a moment ago: counted from the end of an upload, and from the hedge before. */
  due(call: ShadowCall, nowMs: number): void {
    for (;;) {
      const sentMs = Math.max(call.sentMs, call.hedgeSentMs);
      const dueMs = (call.sending ? nowMs : sentMs) + call.hedgeDelayMs;
      if (dueMs > nowMs) {
        this.#hedges.watch(call, dueMs);
        return;
      }
      if (call.over || this.#isOverAt(call, dueMs)) return;
      const decision = this.#decide(call, nowMs);
      call.count(decision);
      if (decision !== HEDGE) return;
      call.hedges += 1;
      call.hedgesOut += 1;
      call.hedgeSentMs = dueMs;
      if (call.hedges >= this.#layers.maxHedges) return;
    }
  }

  /** The attempt had its answer then, or had been ended, or no time was left. */
  #isOverAt(call: ShadowCall, atMs: number): boolean {
    if (call.headMs > 0 && call.headMs <= atMs) return true;
    return atMs >= call.attemptEndMs || call.deadlineMs - atMs < this.#floorMs;
  }

  /** In the order of what is enforced: the budget is asked last, since asking spends it. */
  #decide(call: ShadowCall, nowMs: number): number {
    const { budget } = this.#layers;
    if (!this.#mayRunBeside(call)) return UNSAFE;
    if (!call.replayable) return BODY;
    if (call.endpoint === null || this.#layers.otherEndpoints(call.endpoint) <= call.hedgesOut) return ENDPOINT;
    if (!this.#layers.circuitClosed()) return CIRCUIT;
    if (!this.#layers.hasPlace()) return BULKHEAD;
    return budget.tryWithdraw(nowMs) ? HEDGE : BUDGET;
  }

  #mayRunBeside({ head }: ShadowCall): boolean {
    return mayRunBeside(head.method, head.hasIdempotencyKey, this.#layers.retries.methods);
  }

  override judge(call: ShadowCall, nowMs: number): void {
    this.#hedges.sweep(nowMs);
    this.#hedges.forget(call);
    if (call.hedging !== this || call.over || call.sending || !this.#mayRunBeside(call)) return;
    const toldMs = this.#toldMs(call, nowMs);
    if (toldMs >= 0) this.#hedges.hedging.record(toldMs, nowMs);
  }

  /** What the attempt says of how long an answer takes, as the enforced block takes it; -1: nothing, as what failed fast. */
  #toldMs(call: ShadowCall, nowMs: number): number {
    const { attemptEndMs, headFailureBits, headMs, hedgeDelayMs, sentMs } = call;
    if (headMs > 0 && headMs <= attemptEndMs) {
      const isGood = headFailureBits === 0 && !isListed(this.#layers.retries, call);
      return isGood ? headMs - sentMs : -1;
    }
    const tookMs = Math.min(nowMs, attemptEndMs) - sentMs;
    if (call.timedOut || (call.failureBits & FailureBit.AttemptTimeout) !== 0) return tookMs;
    // The answer of an attempt that its caller did not wait for would have taken longer still.
    return call.outcome === Outcome.Ignored && hedgeDelayMs >= 0 && tookMs >= hedgeDelayMs ? tookMs : -1;
  }

  override giveBack(call: ShadowCall): void {
    this.#hedges.forget(call);
    call.hedging = null;
  }
}
