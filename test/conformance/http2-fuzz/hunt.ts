// Looks for a script that breaks a promise, by seeds; finds out which of those that ran together it was, and makes it short.
import { framesOf } from '../../../sidecar/proxy/testing/http2-frames.ts';
import { Arena, LANES } from './arena.ts';
import { describeFrame, type Script, type Step, writeScript } from './script.ts';
import { scriptOf } from './sides.ts';
import { startDataPath } from './target.ts';

/** Chance has a hand in what happens when; what shows once in so many times is found again. */
const TRIES = 3;
const MAX_TRIALS = 120;

export interface Found {
  seeds: readonly number[];
  broken: readonly string[];
}

/** Runs the scripts of the seeds until one breaks a promise, or all have run (null). */
export async function hunt(arena: Arena, seeds: readonly number[]): Promise<Found | null> {
  for (let at = 0; at < seeds.length; at += LANES) {
    const together = seeds.slice(at, at + LANES);
    const broken = await arena.round(together.map(scriptOf));
    if (broken.length > 0) return { seeds: together, broken };
  }
  return null;
}

/** What a script alone breaks of a fresh data path, in some tries. */
export async function brokenBy(script: Script, tries = 1): Promise<readonly string[]> {
  const arena = await Arena.open(startDataPath, 1);
  try {
    for (let left = tries; left > 0; left--) {
      const broken = await arena.round([script]);
      if (broken.length > 0) return broken;
    }
    return [];
  } finally {
    await arena.close();
  }
}

/** What a failure says: the seed, and the script made short where it shows alone. */
export async function report({ seeds, broken }: Found): Promise<string> {
  for (const seed of seeds) {
    const script = scriptOf(seed);
    if ((await brokenBy(script, TRIES)).length === 0) continue;
    const short = await shortest(script, async (shorter) => (await brokenBy(shorter, TRIES)).length > 0);
    return [`SEED=${seed} RUNS=1:`, ...(await brokenBy(short, TRIES)), annotated(short)].join('\n');
  }
  return [`seeds ${seeds.join(' ')}, together and not alone:`, ...broken].join('\n');
}

/** Takes away steps, and calls, as long as it `breaks`. */
async function shortest(script: Script, breaks: (script: Script) => Promise<boolean>): Promise<Script> {
  let short = script;
  let trials = 0;
  for (const part of ['application', 'dependency', 'calls'] as const) {
    for (let size = short[part]?.length ?? 0; size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < (short[part]?.length ?? 0); ) {
        if (++trials > MAX_TRIALS) return short;
        const shorter = { ...short, [part]: short[part]?.toSpliced(at, size) };
        if (await breaks(shorter)) short = shorter;
        else at += size;
      }
    }
  }
  return short;
}

/** As for the corpus, with what a reader sees in the bytes. */
function annotated(script: Script): string {
  const about = (steps: readonly Step[] | null) =>
    (steps ?? []).flatMap((step) =>
      typeof step === 'string' ? [] : framesOf(step).map((each) => `# ${describeFrame(each)}`),
    );
  return [...about(script.application), ...about(script.dependency), writeScript(script)].join('\n');
}
