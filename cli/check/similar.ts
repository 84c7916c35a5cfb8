// "Did you mean": which of the known words somebody wrote nearly right. Pure.

/** The nearest of the known words, where it is near enough to be meant. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  // A third of a word may be wrong, and never all of a short one.
  let limit = Math.min(4, Math.floor(word.length / 3) + 1);
  for (const candidate of known) {
    if (candidate === word) continue;
    const isOtherCase = candidate.toLowerCase() === word.toLowerCase();
    const steps = isOtherCase ? 0 : distance(word.toLowerCase(), candidate.toLowerCase(), limit);
    if (steps < limit && steps < candidate.length) {
      best = candidate;
      limit = steps;
    }
  }
  return best;
}

/** As words at the end of a message; empty where nothing is near. */
export function suggestion(word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

/** Letters put in, left out, replaced or swapped with their neighbour; `limit` where it is as many or more. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1];
      let steps = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwapped) steps = Math.min(steps, (beforeLast[j - 2] ?? 0) + 1);
      row.push(steps);
    }
    beforeLast = last;
    last = row;
  }
  return Math.min(limit, last[b.length] ?? limit);
}
