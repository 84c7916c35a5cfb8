// Theil and Sen's slope: the median of the slopes of all pairs of samples, which single outliers do not move, with its interval (Sen 1968,
// by Kendall's variance). What grows is told from what only moves about.

export interface Sample {
  atMs: number;
  value: number;
}

export interface Slope {
  /** Of the value, per hour. */
  perHour: number;
  /** Bounds of the interval, per hour. */
  low: number;
  high: number;
}

/** 99.8 % lie within: a run looks at ten of these, and is not to fail by chance. */
const DEVIATIONS = 3.09;
const HOUR_MS = 3_600_000;

/** Zero where there are fewer than three samples: nothing can be said. */
export function theilSen(samples: readonly Sample[]): Slope {
  const slopes: number[] = [];
  for (const [index, one] of samples.entries()) {
    for (const other of samples.slice(index + 1))
      if (other.atMs > one.atMs) slopes.push(((other.value - one.value) / (other.atMs - one.atMs)) * HOUR_MS);
  }
  if (samples.length < 3) return { perHour: 0, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  slopes.sort((a, b) => a - b);
  const count = samples.length;
  const reach = DEVIATIONS * Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18);
  const at = (position: number) => {
    if (position < 0) return Number.NEGATIVE_INFINITY;
    return slopes[position] ?? Number.POSITIVE_INFINITY;
  };
  const middle = (slopes.length - 1) / 2;
  return {
    perHour: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    low: at(Math.floor((slopes.length - reach) / 2)),
    high: at(Math.ceil((slopes.length + reach) / 2)),
  };
}
