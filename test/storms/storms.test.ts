// What docs/storms.md says, on the shortest run that shows it.
import { describe, expect, it } from 'vitest';
import { measure, type Second } from './measure.ts';
import { OUTAGES, type Outage } from './outages.ts';

function outage(name: string, durationMs: number): Outage {
  const found = OUTAGES.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no outage ${name}`);
  return { ...found, durationMs };
}

const sum = (seconds: readonly Second[], of: (second: Second) => number) =>
  seconds.reduce((total, second) => total + of(second), 0);

describe('a retry storm', () => {
  const storm = outage('retry-storm', 34_000);

  it('never ends for applications that try three times', async () => {
    const seconds = await measure(storm, 'library');
    const before = sum(seconds.slice(2, 8), ({ answered }) => answered);
    const after = seconds.slice(28, 34);
    expect(sum(after, ({ answered }) => answered)).toBeLessThan(before / 20);
    expect(sum(after, ({ reached }) => reached)).toBeGreaterThan(before * 2);
  }, 120_000);

  it('does not begin behind our sidecars: what is too much is refused, and all else is answered', async () => {
    const seconds = await measure(storm, 'breakwater');
    const all = sum(seconds, ({ answered, refused, failed }) => answered + refused + failed);
    expect(sum(seconds, ({ failed }) => failed)).toBeLessThan(all / 100);
    expect(sum(seconds, ({ answered }) => answered)).toBeGreaterThan(all * 0.85);
    expect(sum(seconds, ({ reached }) => reached)).toBeLessThanOrEqual(all);
    expect(sum(seconds.slice(28, 34), ({ answered }) => answered)).toBeGreaterThan(6 * 450);
  }, 120_000);
});
