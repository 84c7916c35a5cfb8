// Opaque connections in whole simulated worlds: what is to hold whatever happens, and that it happens at all.
import { describe, expect, it } from 'vitest';
import { type OpaqueOutcome, simulateOpaque } from './opaque-world.ts';

const SEEDS = Number(process.env['SEEDS'] ?? 40);
const FIRST_SEED = Number(process.env['SEED'] ?? 1);

describe('opaque connections', () => {
  const outcomes = new Map<number, OpaqueOutcome>();

  it(`keep their promises in ${SEEDS} worlds`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) outcomes.set(seed, await simulateOpaque(seed));
    const broken = [...outcomes].filter(([, outcome]) => outcome.broken.length > 0);
    expect(broken.map(([seed, outcome]) => `seed ${seed}: ${outcome.broken.join('; ')}`)).toEqual([]);
  }, 300_000);

  it('come to every end, and see circuits open and half-open, or the worlds would show nothing', () => {
    const all = [...outcomes.values()];
    const ends = new Set(all.flatMap(({ results }) => Object.keys(results).filter((name) => (results[name] ?? 0) > 0)));
    expect([...ends].sort()).toEqual([
      'abandoned',
      'bulkhead-full',
      'circuit-open',
      'connect-failed',
      'ended',
      'idle-timeout',
      'queue-timeout',
      'reset',
      'reset-by-application',
      'reset-by-dependency',
    ]);
    expect(all.some(({ states }) => states.has('HalfOpen'))).toBe(true);
    expect(all.reduce((sum, { opened }) => sum + opened, 0)).toBeGreaterThan(SEEDS * 50);
  });

  it('are the same world from the same seed', async () => {
    const [one, other] = [await simulateOpaque(FIRST_SEED), await simulateOpaque(FIRST_SEED)];
    expect(one).toEqual(other);
    expect(one.dials.length).toBeGreaterThan(100);
  }, 60_000);
});
