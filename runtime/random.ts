/** Uniform in [0, 1). Passed in wherever a decision needs chance; the seeded one makes runs repeatable. */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** xorshift32: small, fast, repeatable; for simulation, tests and what is only counted, never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}
