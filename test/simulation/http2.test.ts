// Worlds in which some Services and applications speak HTTP/2; `npm run sim -- --http2 --seeds 1000` runs more of them.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { HTTP2_BREAKAGES } from './http2-breakages.ts';
import { addSeed, emptySummary } from './seeds.ts';
import { simulate } from './simulate.ts';
import { Violation } from './violation.ts';

/** Always run: small worlds, each of which shows something else. */
const SEEDS = [2, 6, 12, 24];
/** Where promises are seen to be broken, in the least time. */
const BREAKING_SEED = 6;
const FIRST_SEED: Readonly<Record<string, number>> = { 'what was refused that is sent again for ever': 14 };
const TRIES = 15;
const TURNS_BETWEEN = 3;

/** Everything that happened, in one word. */
async function fingerprint(seed: number): Promise<string> {
  const hash = createHash('sha256');
  await simulate(seed, { http2: true, trace: (nowMs, text) => void hash.update(`${nowMs} ${text}\n`) });
  return hash.digest('hex');
}

/** Node has other things to run as well, all the time; the returned function ends that. */
function busyNode(): () => void {
  let isBusy = true;
  const again = () => {
    if (!isBusy) return;
    for (let more = 0; more < TURNS_BETWEEN; more += 1) process.nextTick(() => void Promise.resolve());
    setImmediate(again);
  };
  again();
  return () => {
    isBusy = false;
  };
}

describe('the simulation of HTTP/2', () => {
  it('finds every promise kept', async () => {
    const summary = emptySummary();
    for (const seed of SEEDS) await addSeed(summary, seed, 'http2');
    expect(summary.failures).toEqual([]);
    const { outcomes, counts } = summary;
    const { answered, local, cut, cancelled } = outcomes;
    const { streams = 0, refusals = 0, goaways = 0, resets = 0 } = counts;
    expect(Math.min(answered, local, cut, cancelled, streams, refusals, goaways, resets)).toBeGreaterThan(0);
  }, 120_000);

  it('runs a seed twice in the same way, whatever else Node has to run', async () => {
    const once = await fingerprint(BREAKING_SEED);
    expect(await fingerprint(BREAKING_SEED)).toBe(once);
    const end = busyNode();
    try {
      expect(await fingerprint(BREAKING_SEED)).toBe(once);
    } finally {
      end();
    }
  }, 60_000);

  it.each(Object.keys(HTTP2_BREAKAGES))(
    'notices %s',
    async (name) => {
      const mend = HTTP2_BREAKAGES[name]?.();
      const first = FIRST_SEED[name] ?? BREAKING_SEED;
      let noticed: unknown;
      try {
        for (let seed = first; seed < first + TRIES && noticed === undefined; seed += 1)
          noticed = await simulate(seed, { http2: true }).then(
            () => undefined,
            (error: unknown) => error,
          );
      } finally {
        mend?.();
      }
      expect(noticed).toBeInstanceOf(Violation);
    },
    120_000,
  );
});
