// The rate limit of a rule: one bucket for all its requests, or one for each value of a header. It counts requests and not attempts:
// retries and hedges have the retry budget, and a request that was let in once is not refused halfway.
import type { RateLimitPlan } from '../../plan/policies/rate-limit.ts';
import { BucketTable } from './bucket-table.ts';
import { TokenBucket, toMicroseconds } from './token-bucket.ts';

/** What the buckets need of the plan; the key of the state is the caller's. */
export type RateLimitNumbers = Omit<RateLimitPlan, 'stateKey'>;

export class RateLimit {
  #headerName: string | null;
  #buckets: TokenBucket | BucketTable;

  constructor(spec: RateLimitNumbers, nowMs: number) {
    this.#headerName = nameOf(spec);
    this.#buckets = bucketsOf(spec, nowMs);
  }

  /** Name in lower case of the header whose values have buckets of their own; null: all requests share one. */
  get headerName(): string | null {
    return this.#headerName;
  }

  /** Values that have a bucket of their own. */
  get values(): number {
    return this.#buckets instanceof BucketTable ? this.#buckets.size : 0;
  }

  /** Requests that met the bucket which all values share that have no room in the table. */
  get sharedUses(): number {
    return this.#buckets instanceof BucketTable ? this.#buckets.sharedUses : 0;
  }

  /** Whether the request may pass. `value`: what the header says; empty where there is none. */
  take(value: string, nowMs: number): boolean {
    const nowUs = toMicroseconds(nowMs);
    return this.#buckets instanceof BucketTable ? this.#buckets.take(value, nowUs) : this.#buckets.take(nowUs);
  }

  /** Milliseconds until a request like the one that was refused could pass. */
  retryAfterMs(value: string, nowMs: number): number {
    const nowUs = toMicroseconds(nowMs);
    const buckets = this.#buckets;
    const waitUs = buckets instanceof BucketTable ? buckets.untilNextUs(value, nowUs) : buckets.untilNextUs(nowUs);
    return waitUs / 1000;
  }

  /** Changed numbers keep what was taken; the buckets of another header know nothing of this one, so they begin anew. */
  update(spec: RateLimitNumbers, nowMs: number): void {
    const headerName = nameOf(spec);
    if (headerName !== this.#headerName) this.#buckets = bucketsOf(spec, nowMs);
    else if (this.#buckets instanceof TokenBucket) this.#buckets.update(spec, toMicroseconds(nowMs));
    else this.#buckets.update(spec, spec.perHeader?.maxValues ?? 0, toMicroseconds(nowMs));
    this.#headerName = headerName;
  }
}

function nameOf({ perHeader }: RateLimitNumbers): string | null {
  return perHeader ? perHeader.name.toLowerCase() : null;
}

function bucketsOf(spec: RateLimitNumbers, nowMs: number): TokenBucket | BucketTable {
  const nowUs = toMicroseconds(nowMs);
  return spec.perHeader ? new BucketTable(spec, spec.perHeader.maxValues, nowUs) : new TokenBucket(spec, nowUs);
}

/**
 * The fields that tell the application its limit, in the form of draft-ietf-httpapi-ratelimit-headers-11 (23 May 2026): the quota `q` of
 * requests in the window of `w` seconds and, as a parameter of our own, how many may come at once; then the quota left `r` within the
 * next `t` seconds, which is the time of Retry-After (section 6). The partition key `pk` is left out: it would repeat the value of a
 * header that may be a secret (section 6.1).
 */
export function rateLimitFields(plan: RateLimitPlan, retryAfterSeconds: number): string {
  const { stateKey, requestsPerSecond, burst } = plan;
  const name = `"${stateKey.slice(stateKey.indexOf(':') + 1).replaceAll(/[\\"]/g, '\\$&')}"`;
  const policy = `RateLimit-Policy: ${name};q=${requestsPerSecond};w=1;breakwater-burst=${burst}\r\n`;
  return `${policy}RateLimit: ${name};r=0;t=${retryAfterSeconds}\r\n`;
}
