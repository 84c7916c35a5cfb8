// A policy in shadow takes no part in what is enforced: for random policies, with and without what they shadow.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseResiliencePolicy } from '../../crds/parse.ts';
import { BLOCKS, blocks as blockSchemas } from '../../crds/policies/blocks.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { PolicyPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS } from '../../plan/policies/blocks.ts';
import { routesOf } from './routes.ts';
import { type Manifest, policy, TARGETS } from './testing.ts';

const mode = fc.constantFrom('Enforce', 'Shadow', 'Shadow', 'Disabled', undefined);
const optional = (model: Record<string, fc.Arbitrary<unknown>>) => fc.record(model, { requiredKeys: [] });
const blocks = optional({
  timeouts: optional({ mode, request: fc.constantFrom('1s', '2s'), attempt: fc.constantFrom('1s', '5s') }),
  retries: optional({ mode, maxAttempts: fc.integer({ min: 1, max: 4 }) }),
  circuitBreaker: optional({ mode, openFor: fc.constantFrom('1s', '9m'), failureRate: fc.constant({}) }),
  bulkhead: optional({ mode, maxConcurrent: fc.integer({ min: 1, max: 4 }) }),
});
const stacks = fc.array(fc.tuple(blocks, fc.array(blocks, { maxLength: 2 })), { minLength: 1, maxLength: 3 });

type Written = Record<string, { mode?: string }>;

/** Without the blocks that a policy only shadows, as a reader of that policy alone would take them out. */
function withoutShadow(base: Written, rules: readonly Written[]): { base: Written; rules: Written[] } | undefined {
  const left: Written = { ...base };
  const leftRules = rules.map((rule) => ({ ...rule }));
  for (const block of BLOCKS) {
    const isShadow = base[block]?.mode === 'Shadow';
    // A rule that brings a shadowed base with it, or switches it off, cannot be said without it.
    const brings = rules.some((rule) => rule[block]?.mode === 'Enforce' || rule[block]?.mode === 'Disabled');
    if (isShadow && brings) return undefined;
    if (isShadow) delete left[block];
    for (const rule of leftRules) if (isShadow || rule[block]?.mode === 'Shadow') delete rule[block];
  }
  return { base: left, rules: leftRules };
}

function parsed(level: number, base: Written, rules: readonly Written[]): ResiliencePolicy {
  const named = rules.map((rule, at) => ({ name: `r${at}`, matches: [{ method: 'GET' }], ...rule }));
  const manifest: Manifest = policy(`p${level}`, [TARGETS.service('payments')], { ...base, rules: named });
  const result = parseResiliencePolicy(manifest);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.model;
}

const rowsOf = (policies: readonly ResiliencePolicy[]): PolicyPlan[] => {
  const { combinations, policies: rows } = routesOf(policies).http.table;
  return combinations.flatMap((index) => rows[index] ?? []);
};

const enforcedOf = (row: PolicyPlan): PolicyPlan => ({ ...row, shadow: undefined });

describe('a block in shadow', () => {
  it.each(BLOCKS)('%s may be written where it can be judged, and only there', (block) => {
    const { mode: written } = blockSchemas[block].unwrap().shape;
    expect(written.safeParse('Shadow').success).toBe((SHADOW_BLOCKS as readonly string[]).includes(block));
  });

  it('leaves every row as if it were not written, also the keys of state and who is named as the source', () => {
    let shadowed = 0;
    fc.assert(
      fc.property(stacks, (stack) => {
        const written = stack.map(([base, rules]) => ({ base: base as Written, rules: rules as Written[] }));
        const without = written.map(({ base, rules }) => withoutShadow(base, rules));
        fc.pre(without.every((one) => one !== undefined) && written.every(isConsistent));
        const rows = rowsOf(written.map(({ base, rules }, level) => parsed(level, base, rules)));
        const left = without.flatMap((one, level) => (one === undefined ? [] : [parsed(level, one.base, one.rules)]));
        expect(rows.map(enforcedOf)).toEqual(rowsOf(left).map(enforcedOf));
        shadowed += rows.filter(({ shadow }) => shadow !== undefined).length;
      }),
      { numRuns: 500 },
    );
    expect(shadowed).toBeGreaterThan(100);
  });
});

/** What the schema of one object refuses never comes here. */
function isConsistent({ base, rules }: { base: Written; rules: readonly Written[] }): boolean {
  return [base, ...rules].every(({ timeouts }) => {
    const { request, attempt } = (timeouts ?? {}) as { request?: string; attempt?: string };
    return request === undefined || attempt === undefined || attempt <= request;
  });
}
