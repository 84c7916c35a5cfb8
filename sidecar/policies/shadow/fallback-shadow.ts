// A fallback in shadow: what a request that failed would have been answered, or that there would have been nothing to give. It failed by what
// really came of it, or by a block in shadow that would have ended it. A failure after which retries in shadow would have gone on is
// none: what that attempt would have met nobody knows; and the answer of another dependency that would have been asked is not known either.
import { isSafe, statusBits } from '../fallback.ts';
import { mayBeGiven } from '../keepable.ts';
import type { LastGood } from '../last-good.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const RESPONSE = shadowSlot('fallback', 'response');
const LAST_GOOD = shadowSlot('fallback', 'last-good');
const DEPENDENCY = shadowSlot('fallback', 'dependency');
const MISSED = shadowSlot('fallback', 'missed');

/** One of `hasResponse`, `lastGood` and `asksAnother` is there. */
export interface ShadowFallback {
  /** Of `FallbackBit`s. */
  readonly mask: number;
  readonly allMethods: boolean;
  readonly hasResponse: boolean;
  /** Which answers would be kept; their bodies are not. */
  readonly lastGood: LastGood | null;
  /** Another entry that could be asked is in the plan; null: none would be. */
  readonly asksAnother: (() => boolean) | null;
  /** With less time than this left none would be asked, milliseconds. */
  readonly floorMs: number;
}

/** What an answer would be kept by: host and target. */
export function keptBy({ host, head }: ShadowCall): string {
  return `${host} ${head.target}`;
}

export class FallbackShadow extends BlockShadow {
  readonly #fallback: ShadowFallback;

  constructor(fallback: ShadowFallback) {
    super();
    this.#fallback = fallback;
  }

  override end(call: ShadowCall, nowMs: number): void {
    const { allMethods, mask } = this.#fallback;
    if ((mask & failedBits(call)) === 0 || !(allMethods || isSafe(call.head.method))) return;
    call.count(this.#decide(call, nowMs));
  }

  #decide(call: ShadowCall, nowMs: number): number {
    const { asksAnother, floorMs, hasResponse, lastGood } = this.#fallback;
    if (hasResponse) return RESPONSE;
    if (lastGood !== null) {
      const { fields, method } = call.head;
      const found = mayBeGiven(method, fields, lastGood.spec) && lastGood.find(keptBy(call), fields, nowMs) !== null;
      return found ? LAST_GOOD : MISSED;
    }
    const inTime = call.deadlineMs - nowMs >= floorMs;
    return asksAnother?.() === true && inTime && call.replayable ? DEPENDENCY : MISSED;
  }
}

function failedBits(call: ShadowCall): number {
  if (call.over) return call.failedBits;
  if (call.left || call.wouldRetry) return 0;
  return call.failedBits === 0 ? statusBits(call.status) : call.failedBits;
}
