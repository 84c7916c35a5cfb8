// A circuit breaker in shadow: the same state machine as the enforced one, fed by the calls that are really made. What it refuses is counted
// and made all the same, and its result decides nothing, as that of a call that was never made.
import { type BreakerPlan, type CircuitBreaker, isProbe, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const OPEN = shadowSlot('circuitBreaker', 'circuit-open');

/** The breaker, and the calls that it takes for probes; shared by all rules with the same key. */
export class ShadowCircuit {
  readonly breaker: CircuitBreaker;
  readonly #probes = new Set<ShadowCall>();
  #probeTimeoutMs: number;

  constructor(breaker: CircuitBreaker, plan: BreakerPlan) {
    this.breaker = breaker;
    this.#probeTimeoutMs = plan.halfOpenProbeTimeoutMs;
  }

  update(plan: BreakerPlan, nowMs: number): void {
    this.#probeTimeoutMs = plan.halfOpenProbeTimeoutMs;
    this.breaker.update(plan, nowMs);
  }

  /** False: it would be refused. */
  admit(call: ShadowCall, nowMs: number): boolean {
    this.sweep(nowMs);
    call.permit = this.breaker.admit(nowMs);
    if (isProbe(call.permit)) this.#probes.add(call);
    return call.permit !== 0;
  }

  settle(call: ShadowCall, outcome: number, nowMs: number): void {
    this.sweep(nowMs);
    this.#settle(call, outcome, call.responseMs, nowMs, call.failureBits);
  }

  /** A probe has its own time; nobody ends the call, so it is judged when somebody looks. */
  sweep(nowMs: number): void {
    for (const call of this.#probes) {
      if (nowMs - call.attemptStartMs <= this.#probeTimeoutMs) continue;
      const tookMs = this.#probeTimeoutMs;
      if (call.headMs > 0) this.#settle(call, this.#outcomeOfHead(call), tookMs, nowMs, call.headFailureBits);
      else if (call.sending) this.#settle(call, Outcome.Ignored, tookMs, nowMs, 0);
      else this.#settle(call, Outcome.Failure, tookMs, nowMs, FailureBit.AttemptTimeout);
    }
  }

  #outcomeOfHead({ headFailureBits }: ShadowCall): number {
    return (this.breaker.failureMask & headFailureBits) === 0 ? Outcome.Success : Outcome.Failure;
  }

  #settle(call: ShadowCall, outcome: number, tookMs: number, nowMs: number, failureBits: number): void {
    if (call.permit === 0) return;
    const endpoint = call.endpoint === null ? '' : call.endpoint.name;
    this.breaker.settle(call.permit, outcome, tookMs, nowMs, failureBits, endpoint, call.attemptStartMs);
    call.permit = 0;
    this.#probes.delete(call);
  }
}

export class CircuitShadow extends BlockShadow {
  readonly #circuit: ShadowCircuit;

  constructor(circuit: ShadowCircuit) {
    super();
    this.#circuit = circuit;
  }

  override attempt(call: ShadowCall, nowMs: number): boolean {
    if (this.#circuit.admit(call, nowMs)) return true;
    call.end(OPEN, FallbackBit.CircuitOpen);
    return false;
  }

  override judge(call: ShadowCall, nowMs: number): void {
    this.#circuit.settle(call, call.over ? Outcome.Ignored : this.#outcomeOf(call), nowMs);
  }

  override giveBack(call: ShadowCall, nowMs: number): void {
    this.#circuit.settle(call, Outcome.Ignored, nowMs);
  }

  #outcomeOf(call: ShadowCall): number {
    if (call.outcome !== Outcome.Failure && !call.timedOut) return call.outcome;
    if ((this.#circuit.breaker.failureMask & call.failureBits) !== 0) return Outcome.Failure;
    return call.answered ? Outcome.Success : Outcome.Ignored;
  }
}
