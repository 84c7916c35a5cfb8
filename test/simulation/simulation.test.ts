// The whole of it over some seeds of HTTP/1.1 (of HTTP/2: http2.test.ts); `npm run sim -- --seeds 10000` runs more of them, `npm run sim -- --seed N --trace` one of them by itself.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SHADOW_BLOCKS } from '../../plan/policies/blocks.ts';
import { BlockShadow, type ShadowCall } from '../../sidecar/policies/shadow/block-shadow.ts';
import { BREAKAGES } from './breakages.ts';
import { add } from './counts.ts';
import { ASKING_SHADOWS } from './data-plane.ts';
import { addSeed, emptySummary } from './seeds.ts';
import { compareShadows } from './shadows.ts';
import { simulate } from './simulate.ts';
import { Violation } from './violation.ts';
import { wrap } from './wrap.ts';

/** Always run. */
const SEEDS = 15;
/** As many more as fit into this time, and as it takes until everything has happened that has to. */
const TIME_MS = 6_000;
const LAST_SEED = 100;
/** Where hedges are looked for first. */
const HEDGING_SEED = 35;

/** Where it is looked for first, so that it takes no longer than it must: what few seeds bring out, and what a small world shows as well. */
const FIRST_SEED: Readonly<Record<string, number>> = {
  'a conductor that sends again whatever failed': 24,
  'a deadline twice as long': 25,
  'a budget that always has some left': 57,
  'a half-open circuit without a limit': 57,
  'a circuit that keeps the permits of cancelled calls': 53,
  'a request that goes elsewhere for ever': 6,
  'a balancer that sends a retry to where it failed': 6,
  'keys that wander': 6,
  'an answer that is not taken back': 8,
  'timers that come late': 55,
  'an ejection that never ends': 55,
  'an ejection of which nobody is told': 14,
  'a late result that ejects who has come back': 230,
  'turns that are not kept': 63,
  'an ejection of one too many': 49,
  'a conductor that does not ask the budget': 118,
  'a conductor that does not count attempts': 29,
  'an attempt that keeps its place': 29,
  'checks that always pass': 125,
  'a balancer that knows no price': 118,
  'a balancer that keeps endpoints which are gone': 122,
  'a limit that knows nobody again': 160,
  'a limit that forgets who used it up': 160,
  'a sidecar that misses changes of endpoints': 42,
  'hedges that nobody pays for': HEDGING_SEED,
  'a copy that goes on when another one was answered': HEDGING_SEED,
};

/** Where most shadows have something to do. */
const FIRST_SHADOW_SEED = 5;
/** Hardly ever in a world of seconds: see sidecar/proxy/exchange/shadow-choice.test.ts. */
const RARE_SHADOWS: ReadonlySet<string> = new Set(['outlierDetection']);

/** Everything that happened, in one word. */
async function fingerprint(seed: number, wallClockSteps: boolean): Promise<string> {
  const hash = createHash('sha256');
  await simulate(seed, { wallClockSteps, trace: (nowMs, text) => void hash.update(`${nowMs} ${text}\n`) });
  return hash.digest('hex');
}

/** A promise is worth something only where it was put to the test. */
const MUST_HAPPEN = [
  'answered local cut cancelled upgraded retries',
  'circuit-open bulkhead-full queue-timeout deadline attempt-timeout rate-limited',
  'connect-failed reset invalid-response no-endpoints',
  'withdrawals queued full opened halfOpened passed limited passedByHeader limitedByHeader sharedByHeader',
  'ejected returned checksPassed checksFailed chosenByKey chosenAgain chosenInPanic',
].flatMap((line) => line.split(' '));

describe('the simulation', () => {
  it('finds every promise kept', async () => {
    const startMs = performance.now();
    const summary = emptySummary();
    const missing = () => {
      const happened = { ...summary.outcomes, ...summary.reasons, ...summary.counts, retries: summary.retries };
      return MUST_HAPPEN.filter((what) => (happened[what as keyof typeof happened] ?? 0) === 0);
    };
    for (let seed = 1; seed <= LAST_SEED; seed += 1) {
      if (seed > SEEDS && performance.now() - startMs > TIME_MS && missing().length === 0) break;
      await addSeed(summary, seed);
    }
    expect(summary.failures).toEqual([]);
    expect(missing()).toEqual([]);
  }, 120_000);

  it('hedges too, where there are endpoints and calls enough for it', async () => {
    const summary = emptySummary();
    const count = (what: string) => summary.counts[what] ?? 0;
    for (let seed = HEDGING_SEED; seed < HEDGING_SEED + LAST_SEED && count('overtaken') === 0; seed += 1)
      await addSeed(summary, seed);
    expect(summary.failures).toEqual([]);
    expect(Math.min(count('hedged'), count('overtaken'))).toBeGreaterThan(0);
  }, 120_000);

  it('runs a seed twice in the same way, whatever wall clocks say', async () => {
    for (const seed of [3, 4711]) {
      const once = await fingerprint(seed, true);
      expect(await fingerprint(seed, true)).toBe(once);
      expect(await fingerprint(seed, false)).toBe(once);
    }
  }, 60_000);

  it('feels nothing of shadows, and notices where one acts', async () => {
    const decisions: Record<string, number> = {};
    const missing = () =>
      SHADOW_BLOCKS.filter(
        (block) => !RARE_SHADOWS.has(block) && !ASKING_SHADOWS.has(block) && (decisions[block] ?? 0) === 0,
      );
    for (let seed = FIRST_SHADOW_SEED; seed <= LAST_SEED && (seed < 7 || missing().length > 0); seed += 1)
      add(decisions, (await compareShadows(seed)).shadowDecisions);
    expect(missing()).toEqual([]);
    // It tells the balancing what it thinks of an endpoint.
    const mend = wrap(BlockShadow.prototype, 'attempt', () => {
      return function (this: BlockShadow, { endpoint }: ShadowCall) {
        if (endpoint !== null) endpoint.failureMs += 1_000;
        return true;
      };
    });
    try {
      await expect(compareShadows(FIRST_SHADOW_SEED)).rejects.toBeInstanceOf(Violation);
    } finally {
      mend();
    }
  }, 120_000);

  it.each(Object.keys(BREAKAGES))(
    'notices %s',
    async (name) => {
      const mend = BREAKAGES[name]?.();
      const first = FIRST_SEED[name] ?? 1;
      let noticed: unknown;
      try {
        for (let seed = first; seed < first + 40 && noticed === undefined; seed += 1)
          noticed = await simulate(seed).then(
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
