// A fuzzer of HTTP/2 on both legs, for some seconds: what it found before, and some seeds. `SEED=7 RUNS=10000 npm test -- http2-fuzz` looks further;
// http2-fuzz.conformance.test.ts has a whole sidecar, and more seeds. A failure says its seed, and the script made short.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Arena, LANES, openArena } from './arena.ts';
import { CORPUS } from './corpus.ts';
import { hunt, report } from './hunt.ts';
import { readScript, writeScript } from './script.ts';
import { scriptOf } from './sides.ts';
import { startDataPath } from './target.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 6 * LANES);
const seeds = Array.from({ length: RUNS }, (_, nth) => SEED + nth);

describe('hostile frames, from an application, a dependency or both', () => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await openArena(startDataPath);
  }, 120_000);
  afterAll(() => arena.close());

  it('break no promise that they have broken before', async () => {
    expect(CORPUS.length).toBeGreaterThan(5);
    for (let at = 0; at < CORPUS.length; at += LANES) {
      const batch = CORPUS.slice(at, at + LANES);
      expect(await arena.round(batch.map(({ script }) => script)), batch.map(({ name }) => name).join(', ')).toEqual(
        [],
      );
    }
  }, 120_000);

  it(`break no promise, by ${RUNS} seeds`, async () => {
    const found = await hunt(arena, seeds);
    if (found !== null) expect.fail(await report(found));
  }, 3_600_000);
});

describe('a script', () => {
  it('is the same for a seed, and is read as it was written', () => {
    const kinds = new Set<string>();
    for (const seed of seeds) {
      const script = scriptOf(seed);
      kinds.add(`${script.application === null} ${script.dependency === null}`);
      expect(writeScript(scriptOf(seed))).toBe(writeScript(script));
      expect(writeScript(readScript(writeScript(script)))).toBe(writeScript(script));
    }
    expect(kinds).toEqual(new Set(['false true', 'true false', 'false false']));
  });
});
