// The fuzzer of HTTP/2 against a whole sidecar, as it is delivered: an assertion of Node ends its process. `SEED=7 RUNS=100000 npm run
// test:conformance -- http2-fuzz` looks further.
import { expect, it } from 'vitest';
import { LANES, openArena } from './arena.ts';
import { CORPUS } from './corpus.ts';
import { hunt, report } from './hunt.ts';
import { startSidecar } from './target.ts';

const SEED = Number(process.env['SEED'] ?? 1_000_000);
const RUNS = Number(process.env['RUNS'] ?? 2_000);
const WARM_UP = 10 * LANES;
/** Sockets to dependencies that mean well, timers and tables, and objects that V8 makes as functions become hot. */
const MAX_MORE: Readonly<Record<string, number>> = { objects: 4_000, files: 20, timers: 4, handles: 20 };

it(`hostile frames of ${RUNS} seeds leave a whole sidecar alive, others served, and nothing taken`, {
  timeout: 3_600_000,
}, async () => {
  const arena = await openArena(startSidecar);
  try {
    for (let at = 0; at < CORPUS.length; at += LANES)
      expect(await arena.round(CORPUS.slice(at, at + LANES).map(({ script }) => script))).toEqual([]);
    const run = async (first: number, count: number): Promise<void> => {
      const found = await hunt(
        arena,
        Array.from({ length: count }, (_, nth) => first + nth),
      );
      if (found !== null) expect.fail(await report(found));
    };
    await run(SEED + RUNS, WARM_UP);
    const before = await arena.target.size();
    await run(SEED, RUNS);
    const after = await arena.target.size();
    console.info(JSON.stringify({ before, after }));
    const more = Object.entries(after).filter(
      ([name, size]) => size - (before[name] ?? 0) > (MAX_MORE[name] ?? Number.POSITIVE_INFINITY),
    );
    expect(more, JSON.stringify({ before, after })).toEqual([]);
  } finally {
    await arena.close();
  }
});
