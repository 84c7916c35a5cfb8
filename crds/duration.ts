// Durations as Gateway API writes them (GEP-2257): one to four pairs of a whole number and a unit, such as "250ms", "5s" or "1h30m".
// A subset of what Go's time.ParseDuration reads: no sign, no fraction, no unit below the millisecond; so CEL's duration() reads all of it.

/** Whole milliseconds. The model of every kind keeps the user's field names; their durations have become this number. */
export type Milliseconds = number;

export const SECOND: Milliseconds = 1_000;
export const MINUTE: Milliseconds = 60 * SECOND;
export const HOUR: Milliseconds = 60 * MINUTE;

/** As a regular expression for OpenAPI (RE2 and ECMAScript read it alike). */
export const DURATION_PATTERN = '^([0-9]{1,5}(h|m|s|ms)){1,4}$';

/** Characters of the longest duration: four pairs of five digits and two letters. */
export const DURATION_MAX_LENGTH = 28;

const wholeDuration = new RegExp(DURATION_PATTERN);
const pairs = /(\d+)(ms|[hms])/g;
const millisecondsOf = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
type Unit = keyof typeof millisecondsOf;

/** Milliseconds of a duration such as "1m30s"; undefined where the text is none. "0s", "0ms", … are zero. */
export function parseDuration(text: string): Milliseconds | undefined {
  if (text.length > DURATION_MAX_LENGTH || !wholeDuration.test(text)) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(pairs)) total += Number(count) * millisecondsOf[unit as Unit];
  return total;
}

/** The largest duration that formatDuration can write: 99999h59m59s999ms. */
export const LONGEST_DURATION_MS: Milliseconds = 99_999 * 3_600_000 + 59 * 60_000 + 59_999;

/**
 * The shortest canonical form: 90000 is "1m30s", 0 is "0s". Throws RangeError for what is no whole number of milliseconds between 0 and
 * LONGEST_DURATION_MS.
 */
export function formatDuration(duration: Milliseconds): string {
  if (!Number.isInteger(duration) || duration < 0 || duration > LONGEST_DURATION_MS) {
    throw new RangeError(`no duration: ${duration} ms`);
  }
  if (duration === 0) return '0s';
  let rest = duration;
  let text = '';
  for (const [unit, size] of Object.entries(millisecondsOf)) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}
