// What was measured, as numbers: pure.

export interface Measurement {
  /** When it began, in milliseconds since the first customer. */
  atMs: number;
  ok: boolean;
  durationMs: number;
}

export interface Summary {
  requests: number;
  failed: number;
  /** Milliseconds; 0 where there was no request. */
  p50Ms: number;
  p99Ms: number;
}

/** Smallest value that at least `fraction` of the values do not exceed; 0 for none. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)] ?? 0;
}

/** Of those that began in [fromMs, toMs). */
export function summarise(measurements: readonly Measurement[], fromMs = 0, toMs = Number.POSITIVE_INFINITY): Summary {
  const inside = measurements.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const durations = inside.map(({ durationMs }) => durationMs);
  return {
    requests: inside.length,
    failed: inside.filter(({ ok }) => !ok).length,
    p50Ms: quantile(durations, 0.5),
    p99Ms: quantile(durations, 0.99),
  };
}

export interface Recent {
  ratePerSecond: number;
  /** 0 where nothing ended. */
  errorPercent: number;
  p99Ms: number;
}

/** Of what ended in the `windowMs` before `nowMs`. */
export function recent(measurements: readonly Measurement[], nowMs: number, windowMs: number): Recent {
  const ended = (one: Measurement) => one.atMs + one.durationMs;
  const inside = measurements.filter((one) => ended(one) > nowMs - windowMs && ended(one) <= nowMs);
  const span = Math.max(1, Math.min(windowMs, nowMs));
  return {
    ratePerSecond: (inside.length * 1000) / span,
    errorPercent: inside.length === 0 ? 0 : (inside.filter(({ ok }) => !ok).length * 100) / inside.length,
    p99Ms: quantile(
      inside.map(({ durationMs }) => durationMs),
      0.99,
    ),
  };
}

/** How many of `times` lie in one of the intervals, ends included. */
export function countInside(times: readonly number[], intervals: readonly { from: number; to: number }[]): number {
  return times.filter((time) => intervals.some(({ from, to }) => time >= from && time <= to)).length;
}
