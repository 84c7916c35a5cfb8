// The promise of `mode: Shadow`, on whole worlds: one seed with the shadows of its policies and without them is the same world, event by event
// and to the microsecond.
import { simulate } from './simulate.ts';
import { demand } from './violation.ts';

export interface ShadowComparison {
  requests: number;
  /** How often the shadows would have done something, by block. */
  shadowDecisions: Record<string, number>;
}

/** Rejects with a Violation that names the first event in which the two differ. */
export async function compareShadows(seed: number): Promise<ShadowComparison> {
  const without: string[] = [];
  await simulate(seed, { shadows: 'Removed', trace: (nowMs, text) => void without.push(`${nowMs} ms: ${text}`) });
  let nth = 0;
  const result = await simulate(seed, {
    shadows: 'Everywhere',
    trace: (nowMs, text) => {
      const event = `${nowMs} ms: ${text}`;
      const expected = without[nth];
      demand(
        event === expected,
        () => `a shadow was felt: "${event}", without shadows "${expected ?? 'nothing more'}"`,
      );
      nth += 1;
    },
  });
  demand(nth === without.length, () => `a shadow was felt: without shadows "${without[nth]}" follows`);
  return { requests: result.requests, shadowDecisions: result.shadowDecisions };
}
