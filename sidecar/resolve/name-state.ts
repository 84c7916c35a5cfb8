// What is known of one name, and when to ask again. PURE: takes answers and the time, returns nothing but its state.
//
//   Addresses  hold until their TTL is over (bounded on both sides), and then until the next answer.
//   Failure    of DNS itself (no answer, SERVFAIL, refused) says nothing about the name: the last addresses hold for as long as it lasts.
//   NoAddress  (the name does not exist, or has no address) is knowledge, but the kind that a mistake in a zone makes in a second and an
//              application with a cached answer would never see: the last addresses hold for NEGATIVE_GRACE_MS, then there are none.
import type { Random } from '../../runtime/random.ts';

export type DnsAnswer =
  | { kind: 'addresses'; addresses: readonly string[]; ttlMs: number }
  | { kind: 'no-address'; detail: string }
  /** `silent`: nobody answered at all, so that there is no use in asking for the next name. */
  | { kind: 'failure'; detail: string; silent?: true };

/** Nobody needs news more often, whatever a TTL of zero says. */
export const TTL_FLOOR_MS = 5_000;
/** A TTL of a day must not keep a pod on addresses of yesterday. */
export const TTL_CEILING_MS = 300_000;
/** So long a name that had addresses keeps them after DNS said that it has none. */
export const NEGATIVE_GRACE_MS = 300_000;
const RETRY_INITIAL_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** Names that were asked for together would be asked for together forever. */
const JITTER = 0.1;
export const MAX_ADDRESSES = 256;

export class NameState {
  /** Null: not known. Empty: known to have none. */
  addresses: readonly string[] | null = null;
  /** When the addresses were last confirmed. */
  confirmedAtMs = Number.NEGATIVE_INFINITY;
  /** What went wrong at the last query; empty where nothing did. */
  problem = '';
  nextAtMs: number;
  #noAddressSinceMs = Number.NaN;
  #retries = 0;
  readonly #random: Random;

  constructor(nowMs: number, random: Random) {
    this.nextAtMs = nowMs;
    this.#random = random;
  }

  /** True: the addresses are others than before. */
  take(answer: DnsAnswer, nowMs: number): boolean {
    if (answer.kind === 'addresses') return this.#takeAddresses(answer.addresses, answer.ttlMs, nowMs);
    this.problem = answer.detail;
    this.nextAtMs = nowMs + this.#retryDelayMs();
    if (answer.kind === 'failure') return false;
    if (Number.isNaN(this.#noAddressSinceMs)) this.#noAddressSinceMs = nowMs;
    const hadAny = this.addresses !== null && this.addresses.length > 0;
    if (hadAny && nowMs - this.#noAddressSinceMs < NEGATIVE_GRACE_MS) return false;
    const changed = this.addresses === null || hadAny;
    this.addresses = [];
    return changed;
  }

  #takeAddresses(addresses: readonly string[], ttlMs: number, nowMs: number): boolean {
    // Sorted, so that the order in which a server lists them, which it turns round at every answer, is no change.
    const next = [...new Set(addresses)].sort().slice(0, MAX_ADDRESSES);
    const before = this.addresses;
    const changed = before === null || before.length !== next.length || next.some((each, at) => before[at] !== each);
    if (changed) this.addresses = next;
    this.confirmedAtMs = nowMs;
    this.problem = '';
    this.#retries = 0;
    this.#noAddressSinceMs = Number.NaN;
    this.nextAtMs = nowMs + this.#lengthened(Math.min(TTL_CEILING_MS, Math.max(TTL_FLOOR_MS, ttlMs)));
    return changed;
  }

  #retryDelayMs(): number {
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** this.#retries);
    if (delayMs < RETRY_MAX_MS) this.#retries++;
    return this.#lengthened(delayMs);
  }

  #lengthened(delayMs: number): number {
    return delayMs * (1 + JITTER * this.#random());
  }
}
