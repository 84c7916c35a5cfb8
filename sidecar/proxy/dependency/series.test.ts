// Which series there are over many plans, as rules and dependencies are renamed.
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { MAX_LEFT_OWNERS } from '../../metrics/left-series.ts';
import { type Bench, BREAKER, dependencyPlan, NO_POLICY, workloadPlan } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { POLICIES } from '../testing/wire-contract-rows.ts';

const { bench } = opened();

function policyOf(row: string): PolicyPlan {
  const found = POLICIES.find(({ name }) => name === row);
  if (found === undefined) throw new Error(`there is no row ${row}`);
  return { ...NO_POLICY, ...found.policy };
}

/** With a circuit of its own, as of a rule that sets one. */
const renamed = (n: number): PolicyPlan => ({
  ...NO_POLICY,
  rule: `release-${n}`,
  circuitBreaker: { ...BREAKER, stateKey: `circuitBreaker:release-${n}` },
});

const series = ({ metrics }: Bench): string[] =>
  metrics.registry
    .metrics()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));

describe('over plans that rename a rule', () => {
  it.each(['all of them', 'all of them in shadow'])(
    'series are bounded, and those that stay are whole: %s',
    async (row) => {
      const policy = policyOf(row);
      const plan = (n: number) => dependencyPlan({}, { policies: [policy, renamed(n)] });
      const started = await bench(plan(0));
      const { metrics, plane } = started;
      if (policy.circuitBreaker) metrics.countTransition('payments', 'circuitBreaker:base', 'open');
      if (policy.shadow) metrics.countShadowTransition('payments', 'shadow.circuitBreaker:base', 'open');
      metrics.route('payments', 'base').observe(200, 0, 1);
      metrics.route('payments', 'disabled').observe(200, 0, 1);
      const before = series(started).filter((line) => !line.includes('release-'));
      const counts: number[] = [];
      for (let n = 1; n <= 3 * MAX_LEFT_OWNERS; n++) {
        plane.applyPlan(workloadPlan(plan(n)));
        metrics.countTransition('payments', `circuitBreaker:release-${n}`, 'open');
        if (n >= 2 * MAX_LEFT_OWNERS) counts.push(series(started).length);
      }
      expect(new Set(counts).size).toBe(1);
      expect(series(started).filter((line) => !line.includes('release-'))).toEqual(before);
      const named = (n: number) => series(started).filter((line) => line.includes(`release-${n}"`)).length;
      expect([named(1), named(3 * MAX_LEFT_OWNERS) > 0]).toEqual([0, true]);
    },
  );

  it('what a request under way still counts is shown beside what is named now', async () => {
    const started = await bench(dependencyPlan({}, { policies: [renamed(1)] }));
    const old = started.metrics.route('payments', 'release-1');
    started.plane.applyPlan(workloadPlan(dependencyPlan({}, { policies: [renamed(2)] })));
    old.observe(200, 0, 1);
    expect(await started.metric('breakwater_requests_total', { rule: 'release-1', code: '2xx' })).toBe(1);
    started.plane.applyPlan(workloadPlan(dependencyPlan({}, { policies: [renamed(1)] })));
    expect(await started.metric('breakwater_requests_total', { rule: 'release-1', code: '2xx' })).toBe(1);
  });
});
