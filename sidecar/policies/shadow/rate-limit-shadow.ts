// A rate limit in shadow: buckets of its own, out of which the requests take that come to the limit, also those that an enforced one refuses.
import { fieldValue } from '../../http1/field-value.ts';
import { FallbackBit } from '../fallback.ts';
import type { RateLimit } from '../rate-limit.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const LIMITED = shadowSlot('rateLimit', 'rate-limited');

export class RateLimitShadow extends BlockShadow {
  readonly #limit: RateLimit;

  constructor(limit: RateLimit) {
    super();
    this.#limit = limit;
  }

  override admit(call: ShadowCall, nowMs: number): boolean {
    const { headerName } = this.#limit;
    const value = (headerName === null ? null : fieldValue(call.head.fields, headerName)) ?? '';
    if (this.#limit.take(value, nowMs)) return true;
    call.end(LIMITED, FallbackBit.RateLimited);
    return false;
  }
}
