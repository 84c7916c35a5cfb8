// Outlier detection in shadow: the same state machine as the enforced one, fed by the attempts that are really made. What it ejects is called
// all the same; such an attempt is counted, and tells it nothing, as one that was never made.
import { Outcome } from '../circuit-breaker.ts';
import type { OutlierDetection } from '../outlier-detection.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const EJECTED = shadowSlot('outlierDetection', 'ejected-endpoint');

export class OutlierShadow extends BlockShadow {
  readonly #detection: OutlierDetection;
  readonly #isPanicking: () => boolean;

  /** `isPanicking`: too few endpoints would be left, so that all would be used. */
  constructor(detection: OutlierDetection, isPanicking: () => boolean) {
    super();
    this.#detection = detection;
    this.#isPanicking = isPanicking;
  }

  override attempt(call: ShadowCall): boolean {
    const member = call.endpoint && this.#detection.member(call.endpoint.name);
    call.member = member;
    if (member === null) return true;
    call.memberGeneration = member.generation;
    if (member.ejected && !this.#isPanicking()) call.count(EJECTED);
    return true;
  }

  override judge(call: ShadowCall, nowMs: number): void {
    const { failureBits, member, memberGeneration, outcome, timedOut } = call;
    // What a shadowed timeout would have ended by its application's fault says nothing of the endpoint.
    const decides = timedOut ? failureBits !== 0 : outcome !== Outcome.Ignored;
    if (member !== null && decides && !call.over)
      this.#detection.record(
        member,
        memberGeneration,
        outcome === Outcome.Success && !timedOut ? 0 : failureBits,
        nowMs,
      );
    call.member = null;
  }

  override giveBack(call: ShadowCall): void {
    call.member = null;
  }
}
