// Which endpoints are chosen is shown case by case in testdata/endpoints; here is what a case file would be too long for.
import { describe, expect, it } from 'vitest';
import { endpointSet } from '../../plan/endpoints.ts';
import { PLAN_LIMITS } from '../../plan/plan.ts';
import { compile } from './compile.ts';
import { endpointSlice, pod, service, serviceDependency, world } from './testing.ts';

describe('a Service with more endpoints than a set can hold', () => {
  it('gets as many as fit, and says how many were left out', () => {
    const address = (number: number) => `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
    const slices = Array.from({ length: 11 }, (_, at) =>
      endpointSlice(
        `s${at}`,
        'payments',
        Array.from({ length: 1000 }, (_, number) => address(at * 1000 + number)),
      ),
    );
    const result = compile(world([service('payments'), serviceDependency('checkout'), pod('p'), ...slices]));
    const set = result.endpointSets.get('shop/payments:8080');
    expect(set?.endpoints).toHaveLength(PLAN_LIMITS.endpointsPerSet);
    expect(endpointSet.parse(set)).toEqual(set);
    expect(result.problems).toMatchObject([
      { reason: 'TooManyEndpoints', severity: 'Warning', message: expect.stringContaining('1000 of them') },
    ]);
  });
});
