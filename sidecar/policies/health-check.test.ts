import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { type CheckedEndpoint, type HealthCheckNumbers, HealthChecks, isExpectedStatus } from './health-check.ts';

const NUMBERS: HealthCheckNumbers = { intervalMs: 10_000, unhealthyThreshold: 3, healthyThreshold: 2 };

function start(names: string, numbers: Partial<HealthCheckNumbers> = {}, random = () => 0.5) {
  const checks = new HealthChecks({ ...NUMBERS, ...numbers }, random);
  checks.setEndpoints(names, 0);
  const told: string[] = [];
  checks.listener = ({ name, healthy }) => told.push(`${name} ${healthy ? 'healthy' : 'unhealthy'}`);
  const due = (nowMs: number): CheckedEndpoint[] => {
    const queue: CheckedEndpoint[] = [];
    checks.takeDue(nowMs, queue);
    return queue;
  };
  const named = (name: string): CheckedEndpoint => {
    const found = Array.from(checks.endpoints).find((endpoint) => endpoint.name === name);
    if (!found) throw new Error(`no endpoint ${name}`);
    return found;
  };
  return { checks, told, due, named };
}

describe('health checks', () => {
  it('take what is unknown for healthy', () => {
    const { checks } = start('ab');
    expect(checks.unhealthy).toEqual([]);
    expect(Array.from(checks.endpoints, ({ problem }) => problem)).toEqual(['', '']);
    expect(checks.isUnhealthy('nobody')).toBe(false);
  });

  it('turn after so many results in a row, either way, and tell each turn once', () => {
    const { checks, told, named } = start('ab');
    const a = named('a');
    for (const problem of ['refused', 'refused', '', 'refused', 'refused', 'status 503', 'status 503'])
      checks.settle(a, problem, 7_000);
    expect([checks.isUnhealthy('a'), checks.isUnhealthy('b'), a.problem, a.sinceMs]).toEqual([
      true,
      false,
      'status 503',
      7_000,
    ]);
    for (const problem of ['', 'refused', '', '']) checks.settle(a, problem, 8_000);
    expect(a.problem).toBe('refused');
    expect(told).toEqual(['a unhealthy', 'a healthy']);
    expect(a.sinceMs).toBe(8_000);
  });

  it('begin within one interval and follow each other by one, lengthened by a tenth at most', () => {
    const { checks, due, named } = start('abcdefgh', {}, seededRandom(5));
    const firsts = Array.from(checks.endpoints, ({ dueAtMs }) => dueAtMs);
    expect(new Set(firsts).size).toBe(8);
    expect(Math.max(...firsts)).toBeLessThan(10_000);
    expect(due(10_000).map(({ dueAtMs }) => dueAtMs)).toEqual([...firsts].sort((left, right) => left - right));
    checks.begin(named('a'), 10_000);
    expect(named('a').dueAtMs).toBeGreaterThanOrEqual(20_000);
    expect(named('a').dueAtMs).toBeLessThan(21_000);
  });

  it('ask nobody who is still being asked', () => {
    const { checks, due, named } = start('a');
    expect(due(4_999)).toEqual([]);
    expect(due(5_000)).toEqual([named('a')]);
    checks.begin(named('a'), 5_000);
    expect(due(60_000)).toEqual([]);
    checks.settle(named('a'), '', 60_000);
    expect(due(60_000)).toEqual([named('a')]);
    checks.cancel(named('a'));
    expect(due(60_000)).toEqual([named('a')]);
  });

  it('keep what is known of an address that stays, and nothing of one that went away', () => {
    const { checks, named, told } = start('ab', { unhealthyThreshold: 1 });
    const [a, b] = [named('a'), named('b')];
    checks.settle(a, 'refused', 0);
    checks.settle(b, 'refused', 0);
    checks.setEndpoints('ac', 100);
    expect([checks.isUnhealthy('a'), checks.has(a), checks.has(b)]).toEqual([true, true, false]);
    checks.setEndpoints('abc', 200);
    expect(checks.isUnhealthy('b')).toBe(false);
    // The check of the one that went away ends now.
    checks.settle(b, 'refused', 300);
    checks.settle(b, '', 300);
    checks.settle(b, '', 300);
    expect([checks.isUnhealthy('b'), told.length]).toEqual([false, 2]);
  });

  it('take new numbers, a shorter interval also for the next check', () => {
    const { checks, due, named } = start('a');
    due(5_000);
    checks.begin(named('a'), 5_000);
    checks.settle(named('a'), 'refused', 5_000);
    checks.update({ intervalMs: 1_000, unhealthyThreshold: 2, healthyThreshold: 1 }, 5_000);
    expect(due(6_100)).toEqual([named('a')]);
    checks.settle(named('a'), 'refused', 6_100);
    expect(checks.isUnhealthy('a')).toBe(true);
  });

  it('come no later than the interval of a new plan, lengthened by a tenth, and no sooner for a longer one', () => {
    const { checks, named } = start('a', {}, () => 0.9);
    expect(named('a').dueAtMs).toBe(9_000);
    checks.update({ ...NUMBERS, intervalMs: 60_000 }, 2_000);
    expect(named('a').dueAtMs).toBe(9_000);
    checks.update({ ...NUMBERS, intervalMs: 1_000 }, 2_000);
    expect(named('a').dueAtMs).toBeCloseTo(3_100, 6);
  });

  it('name those that are unhealthy', () => {
    const { checks, named } = start('abc', { unhealthyThreshold: 1, healthyThreshold: 1 });
    for (const name of 'ab') checks.settle(named(name), 'refused', 1_000);
    expect(checks.unhealthy).toEqual([named('a'), named('b')]);
    checks.settle(named('a'), '', 2_000);
    expect(checks.unhealthy).toEqual([named('b')]);
  });

  it('need nobody who listens', () => {
    const { checks, named } = start('a', { unhealthyThreshold: 1 });
    checks.listener = null;
    checks.settle(named('a'), 'refused', 1_000);
    expect(checks.isUnhealthy('a')).toBe(true);
  });

  it('say what a reader of all results says', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 60, size: 'max' }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        (results, unhealthyThreshold, healthyThreshold) => {
          const { checks, named } = start('a', { unhealthyThreshold, healthyThreshold });
          const since: boolean[] = [];
          let healthy = true;
          for (const passed of results) {
            checks.settle(named('a'), passed ? '' : 'refused', 0);
            since.push(passed);
            const needed = healthy ? unhealthyThreshold : healthyThreshold;
            const last = since.slice(-needed);
            if (last.length === needed && last.every((each) => each !== healthy)) {
              healthy = !healthy;
              since.length = 0;
            }
            expect(checks.isUnhealthy('a')).toBe(!healthy);
          }
        },
      ),
    );
  });
});

describe('the statuses by which a check passes', () => {
  it.each([
    [
      [200, 204],
      [200, 204],
      [199, 201, 203, 205, 503],
    ],
    [['200-299'], [200, 250, 299], [199, 300]],
    [
      [204, '300-300', '401-403'],
      [204, 300, 401, 402, 403],
      [200, 299, 301, 400, 404],
    ],
  ] as const)('%s', (expected, passing, failing) => {
    expect(passing.filter((status) => isExpectedStatus(expected, status))).toEqual(passing);
    expect(failing.filter((status) => isExpectedStatus(expected, status))).toEqual([]);
  });
});
