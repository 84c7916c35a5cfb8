import { expect, it } from 'vitest';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { type CheckedEndpoint, HealthChecks } from '../health-check.ts';
import { MEAN_CHANCE } from './block-shadow.ts';
import { HealthShadow } from './health-shadow.ts';
import { Route } from './testing.ts';

function checked(name: string) {
  const checks = new HealthChecks({ intervalMs: 1_000, unhealthyThreshold: 1, healthyThreshold: 1 }, MEAN_CHANCE);
  checks.setEndpoints([name, 'other'], 0);
  const endpoint = [...checks.endpoints].find((each) => each.name === name) as CheckedEndpoint;
  return { checks, tell: (problem: string) => checks.settle(endpoint, problem, 10) };
}

it('an unhealthy endpoint is called all the same, and counted while it is unhealthy', () => {
  const { checks, tell } = checked('a');
  const route = new Route(new HealthShadow(checks, () => false));
  const [endpoint, other, stranger] = ['a', 'other', 'stranger'].map((name) => new BalancedEndpoint(name));
  const call = (to: BalancedEndpoint | undefined) => route.request({ endMs: 1, ...(to && { endpoint: to }) });
  expect(call(endpoint).over).toBe(false);
  expect(route.decisions).toEqual({});
  tell('no answer');
  expect(call(endpoint).over).toBe(false);
  call(other);
  call(stranger);
  expect(route.decisions).toEqual({ 'unhealthy-endpoint': 1 });
  tell('');
  call(endpoint);
  expect(route.decisions).toEqual({ 'unhealthy-endpoint': 1 });
});

it('nobody is counted where so many are unhealthy that all would be used', () => {
  const { checks, tell } = checked('a');
  let panics = true;
  const route = new Route(new HealthShadow(checks, () => panics));
  tell('no answer');
  const endpoint = new BalancedEndpoint('a');
  route.request({ endMs: 1, endpoint });
  expect(route.decisions).toEqual({});
  panics = false;
  route.request({ endMs: 1, endpoint });
  expect(route.decisions).toEqual({ 'unhealthy-endpoint': 1 });
});
