import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { LeftSeries, MAX_LEFT_OWNERS } from './left-series.ts';
import { SidecarMetrics } from './sidecar-metrics.ts';

const LIMIT = 3;

/** The plans of a life: what each names, and what counts once more before the next, though it may be long gone. */
const plans = fc.array(
  fc.record({
    named: fc.uniqueArray(fc.nat(11).map(String), { maxLength: 6 }),
    late: fc.uniqueArray(fc.nat(11).map(String), { maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 60, size: 'max' },
);

it('keeps the series of what is named, of what was named last, and of few beyond, those that were left last', () => {
  let goings = 0;
  fc.assert(
    fc.property(plans, (life) => {
      const left = new LeftSeries(LIMIT);
      const shown = new Set<string>();
      /** When each was last named or had its first series, as the number of a plan. */
      const leftAt = new Map<string, number>();
      life.forEach(({ named, late }, index) => {
        const before = new Set(shown);
        for (const owner of named) shown.add(owner);
        const gone = left.follow(shown, new Set(named));
        for (const owner of gone) shown.delete(owner);
        goings += gone.size;
        for (const owner of shown) {
          if (named.includes(owner)) leftAt.delete(owner);
          else if (!leftAt.has(owner)) leftAt.set(owner, index);
        }
        const stale = Array.from(leftAt).filter(([owner, at]) => at < index && !gone.has(owner));
        expect(stale.length).toBeLessThanOrEqual(LIMIT);
        for (const owner of gone) {
          expect(named).not.toContain(owner);
          expect(before).toContain(owner);
          const wentAt = leftAt.get(owner) ?? Number.NaN;
          expect(wentAt).toBeLessThan(index);
          for (const [, at] of stale) expect(at).toBeGreaterThanOrEqual(wentAt);
          // It goes only for as many that were left before this plan.
          expect(stale.length).toBe(LIMIT);
          leftAt.delete(owner);
        }
        for (const owner of late) shown.add(owner);
      });
    }),
    { numRuns: 300 },
  );
  expect(goings).toBeGreaterThan(100);
});

const seriesOf = (metrics: SidecarMetrics): string[] =>
  metrics.registry
    .metrics()
    .split('\n')
    .filter((line) => line.includes('dependency="'));

it('takes every kind of series of a dependency that went, and none of another', () => {
  const metrics = new SidecarMetrics();
  const use = (label: string) => {
    metrics.route(label, 'base').observe(200, 0, 1);
    metrics.tcp(label).open();
    metrics.countTransition(label, 'circuitBreaker:base', 'open');
    metrics.countShadowTransition(label, 'shadow.circuitBreaker:base', 'open');
    metrics.countCircuitReset(label, 1);
    metrics.addDetection(label, 'outlierDetection:base');
    metrics.addShadowDetection(label, 'shadow.outlierDetection:base');
    metrics.addHealthCheck(label, 'healthCheck:base');
    metrics.addHealthCheck(label, 'shadow.healthCheck:base');
    metrics.addChoice(label, 'loadBalancing:base');
    metrics.countConnect(label, 'success');
    metrics.countTlsHandshake(label, 'full');
    metrics.countBypassed(label, 1);
    metrics.countSelfReference(label);
  };
  const names = [
    'base',
    ...['circuitBreaker', 'shadow.circuitBreaker', 'outlierDetection', 'shadow.outlierDetection', 'healthCheck'].map(
      (block) => `${block}:base`,
    ),
    'shadow.healthCheck:base',
    'loadBalancing:base',
  ];
  const namedSeries = (label: string) => ({ label, plan: { name: label }, seriesNames: () => names });
  const stays = namedSeries('stays');
  use('stays');
  metrics.follow([stays]);
  const before = seriesOf(metrics);
  for (let n = 0; n < MAX_LEFT_OWNERS; n++) {
    use(`went-${n}`);
    metrics.follow([stays, namedSeries(`went-${n}`)]);
    metrics.follow([stays]);
  }
  metrics.follow([stays]);
  const owners = new Set(seriesOf(metrics).map((line) => /dependency="([^"]+)"/.exec(line)?.[1]));
  expect(owners.size).toBeLessThanOrEqual(1 + Math.ceil(MAX_LEFT_OWNERS / names.length) + 1);
  expect(seriesOf(metrics).filter((line) => line.includes('dependency="stays"'))).toEqual(before);
  // What comes back begins again, as a counter does after a restart.
  use('went-0');
  expect(seriesOf(metrics)).toContain('breakwater_bypassed_connections_total{dependency="went-0"} 1');
  metrics.countConnect('went-0', 'success');
  expect(seriesOf(metrics)).toContain('breakwater_upstream_connects_total{dependency="went-0",result="success"} 2');
});
