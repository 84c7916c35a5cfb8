// Timeouts in shadow. An attempt or a request that took longer than the shadowed time would have been ended by it; that is known at its real
// end, so what never ends is counted when its application gives up.
import type { TimeoutsPlan } from '../../../plan/policies/timeouts.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit, statusBits } from '../fallback.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const DEADLINE = shadowSlot('timeouts', 'deadline');
const ATTEMPT = shadowSlot('timeouts', 'attempt-timeout');
const CONNECT = shadowSlot('timeouts', 'connect-timeout');
const IDLE = shadowSlot('timeouts', 'idle-timeout');

export class TimeoutsShadow extends BlockShadow {
  readonly #plan: TimeoutsPlan;

  constructor(plan: TimeoutsPlan) {
    super();
    this.#plan = plan;
  }

  override begin(call: ShadowCall): void {
    const { requestMs } = this.#plan;
    if (requestMs > 0) call.deadlineMs = Math.min(call.deadlineMs, call.startMs + requestMs);
  }

  override attempt(call: ShadowCall, nowMs: number): boolean {
    const { attemptMs } = this.#plan;
    if (attemptMs > 0) call.attemptEndMs = nowMs + attemptMs;
    if (!this.#isPastDeadline(call, nowMs)) return true;
    call.end(DEADLINE, FallbackBit.Deadline);
    return false;
  }

  /** Changes what the attempt is for the other shadows: one that the timeout would have ended failed of it. */
  override judge(call: ShadowCall, nowMs: number): void {
    if (call.over) return;
    const { connectMs, attemptMs } = this.#plan;
    const dialled = call.connectedMs > 0 || (call.unsent && !call.answered);
    const connectTookMs = dialled ? (call.connectedMs || nowMs) - call.attemptStartMs : 0;
    if (connectMs > 0 && connectTookMs > connectMs) {
      call.count(CONNECT);
      call.failureBits = FailureBit.ConnectFailure;
      call.failedBits = FallbackBit.ConnectFailure;
      call.unsent = true;
    } else if (attemptMs > 0 && nowMs - call.attemptStartMs > attemptMs) {
      call.count(ATTEMPT);
      call.failureBits = FailureBit.AttemptTimeout;
      // The time of a slow reader or writer is not the dependency's.
      if (call.responseMs <= attemptMs) call.failureBits = 0;
      else call.responseMs = attemptMs;
      // An answer that began in time would have been cut, and nothing takes its place.
      const begun = call.headMs > 0 && call.headMs - call.attemptStartMs <= attemptMs;
      call.failedBits = begun ? 0 : FallbackBit.AttemptTimeout;
    } else {
      return;
    }
    call.timedOut = true;
    call.answered = false;
  }

  override active(call: ShadowCall, nowMs: number): void {
    const { idleMs } = this.#plan;
    if (call.over || idleMs === 0 || nowMs - call.lastActivityMs <= idleMs) return;
    call.end(IDLE, 0);
  }

  override end(call: ShadowCall, nowMs: number): void {
    if (call.over || call.stream || call.timedOut || !this.#isPastDeadline(call, nowMs)) return;
    const begun = call.headMs > 0 && !this.#isPastDeadline(call, call.headMs);
    call.end(DEADLINE, begun ? statusBits(call.status) : FallbackBit.Deadline);
  }

  #isPastDeadline(call: ShadowCall, nowMs: number): boolean {
    const { requestMs } = this.#plan;
    return requestMs > 0 && nowMs - call.startMs > requestMs;
  }
}
