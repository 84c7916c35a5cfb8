// A deadline that came with a request: when its caller stops waiting, as absolute time of the caller's clock. It only ever shortens.
//
// Two things stand between that time and ours. Clocks differ: a received deadline ends a call only once it has passed by more than two
// synchronised clocks may differ, so that a caller whose clock is a little behind is not refused what it still waits for. The time that is
// told on is the received one, unchanged, so that the allowance does not add up from hop to hop. And context is copied: work that goes on
// in the background, or a message in a queue, carries the deadline of a call that was answered long ago. What passed by more than
// STALE_AFTER_MS is such a copy, or a clock that is far off: it is ignored, for to refuse all calls of a worker would be worse than a call
// that nobody waits for.

/** So much later than it says does a received deadline end a call. */
export const CLOCK_SKEW_MS = 250;
/** A deadline that passed longer ago than this says nothing about the request that it came with. */
export const STALE_AFTER_MS = 1_000;

/** What a received deadline does; the numbers are slots of the metric. */
export const DeadlineEffect = { shortened: 0, later: 1, stale: 2, invalid: 3 } as const;
export const DEADLINE_EFFECTS = ['shortened', 'later', 'stale', 'invalid'] as const;

/** The deadline in Unix milliseconds that a header says; NaN: it says none. */
export function parseDeadline(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

/** The earlier of two that may be absent (below zero) or unreadable (NaN). */
export function earlierDeadline(one: number, other: number): number {
  if (!(one >= 0)) return other >= 0 || Number.isNaN(other) ? other : one;
  return other >= 0 ? Math.min(one, other) : one;
}

/**
 * What the deadline `receivedUnixMs` (NaN: unreadable) does to a request whose own is `ownMs` on the monotonic clock, infinity where it has
 * none. `unixMs` and `nowMs` are the same moment.
 */
export function deadlineEffect(receivedUnixMs: number, ownMs: number, unixMs: number, nowMs: number): number {
  if (Number.isNaN(receivedUnixMs)) return DeadlineEffect.invalid;
  if (unixMs - receivedUnixMs > STALE_AFTER_MS) return DeadlineEffect.stale;
  return effectiveDeadlineMs(receivedUnixMs, unixMs, nowMs) < ownMs ? DeadlineEffect.shortened : DeadlineEffect.later;
}

/** When a received deadline ends the call, on the monotonic clock. */
export function effectiveDeadlineMs(receivedUnixMs: number, unixMs: number, nowMs: number): number {
  return nowMs + (receivedUnixMs - unixMs) + CLOCK_SKEW_MS;
}

/**
 * What an attempt tells its dependency, whole Unix milliseconds: the end of its own time (`endMs`, monotonic; infinity: none), and no later
 * than what was received (below zero: nothing was). -1: there is nothing to tell.
 */
export function toldDeadlineUnixMs(endMs: number, receivedUnixMs: number, unixMs: number, nowMs: number): number {
  const ownUnixMs = unixMs + (endMs - nowMs);
  const toldMs = receivedUnixMs >= 0 ? Math.min(receivedUnixMs, ownUnixMs) : ownUnixMs;
  return toldMs === Number.POSITIVE_INFINITY ? -1 : Math.max(0, Math.floor(toldMs));
}

/** The second whose digits `secondText` has; 0: none, for those of the first second are written anew each time. */
let second = 0;
let secondText = '';
const MILLISECONDS = Array.from({ length: 1000 }, (_, ms) => String(ms).padStart(3, '0'));

/** Decimal digits of Unix milliseconds. Requests of the same second share most of them, and writing the rest costs next to nothing. */
export function deadlineText(unixMs: number): string {
  if (unixMs < 1000) return String(unixMs);
  const wanted = Math.floor(unixMs / 1000);
  if (wanted !== second) {
    second = wanted;
    secondText = String(wanted);
  }
  return secondText + MILLISECONDS[unixMs - wanted * 1000];
}
