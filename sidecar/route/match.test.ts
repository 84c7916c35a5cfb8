import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan, RulePlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import { RouteTable } from './match.ts';

type Match = RulePlan['matches'][number];
const prefix = (value: string, method: string | null = null): Match => ({
  method,
  path: { type: 'PathPrefix', value },
});
const exact = (value: string, method: string | null = null): Match => ({ method, path: { type: 'Exact', value } });
const rule = (...matches: Match[]): RulePlan => ({ name: 'rule', matches });

const policies = (count: number) =>
  Array.from(
    { length: count },
    (): PolicyPlan => ({
      rule: 'base',
      timeouts: { requestMs: 0, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 },
      ...NO_BLOCKS,
      sources: {},
    }),
  );

/** A table in which every tuple of rules has a row of its own, so that the row is the tuple. */
function table(...levels: RulePlan[][]): RouteTable {
  const size = levels.reduce((product, rules) => product * (rules.length + 1), 1);
  return new RouteTable({
    id: 'shop/checkout/payments',
    levels,
    combinations: Array.from({ length: size }, (_, index) => index),
    policies: policies(size),
  });
}

const matches = (match: Match, method: string, path: string) => table([rule(match)]).match(method, path, '') === 1;

describe('PathPrefix', () => {
  it.each([
    ['/', '/', true],
    ['/', '/a/b', true],
    ['/', '*', false],
    ['/charges', '/charges', true],
    ['/charges', '/charges/', true],
    ['/charges', '/charges/7', true],
    ['/charges', '/charges//7', true],
    ['/charges', '/chargesheet', false],
    ['/charges', '/charge', false],
    ['/charges', '/Charges', false],
    ['/charges', '/v1/charges', false],
    ['/charges', '/', false],
    ['/charges/', '/charges', true],
    ['/charges/', '/charges/7', true],
    ['/charges/', '/chargesheet', false],
    ['/a/b', '/a/b/c', true],
    ['/a/b', '/a/bc', false],
    ['/a/b', '/a', false],
    ['/a/b', '/x/b/c', false],
    ['/a%2fb', '/a/b', false],
    ['/a', '/a;v=1', false],
  ])('%s for %s: %s', (value, path, expected) => expect(matches(prefix(value), 'GET', path)).toBe(expected));
});

describe('Exact', () => {
  it.each([
    ['/charges', '/charges', true],
    ['/charges', '/charges/', false],
    ['/charges/', '/charges', false],
    ['/charges', '/charges/7', false],
    ['/', '/', true],
    ['*', '*', true],
  ])('%s for %s: %s', (value, path, expected) => expect(matches(exact(value), 'GET', path)).toBe(expected));
});

describe('method', () => {
  it('is compared by case', () => {
    expect(matches(prefix('/', 'POST'), 'POST', '/')).toBe(true);
    expect(matches(prefix('/', 'POST'), 'post', '/')).toBe(false);
    expect(matches(prefix('/', 'POST'), 'GET', '/')).toBe(false);
    expect(matches({ method: 'POST', path: null }, 'POST', '*')).toBe(true);
    expect(matches({ method: null, path: null }, 'ANY', '*')).toBe(true);
  });
});

describe('headers', () => {
  const asks = (...headers: NonNullable<Match['headers']>) => table([rule({ method: null, path: null, headers })]);
  it.each([
    ['Exact', 'yes', '\r\nX-Canary: yes', true],
    ['Exact', 'yes', '\r\nX-Canary: Yes', false],
    ['Exact', 'yes', '\r\nX-Canary: yes, no', false],
    ['Exact', 'yes, no', '\r\nX-Canary: yes\r\nx-canary: no', true],
    ['Exact', '', '\r\nX-Canary: ', true],
    ['Prefix', 'ye', '\r\nx-canary: yes', true],
    ['Prefix', 'ye', '\r\nx-canary: no', false],
    ['Present', '', '\r\nx-canary: no', true],
    ['Present', '', '\r\nx-canaries: no', false],
    ['Present', '', '', false],
  ] as const)('%s %j of %j: %s', (type, value, fields, expected) => {
    expect(asks({ name: 'x-canary', type, value }).match('GET', '/', fields) === 1).toBe(expected);
  });

  it('have to match all of them', () => {
    const both = asks({ name: 'a', type: 'Present', value: '' }, { name: 'b', type: 'Exact', value: '1' });
    expect(['\r\na: x\r\nb: 1', '\r\na: x', '\r\nb: 1'].map((fields) => both.match('GET', '/', fields))).toEqual([
      1, 0, 0,
    ]);
  });
});

describe('rules', () => {
  it('match when any of their matches does, and always when they have none', () => {
    const either = rule(exact('/a', 'GET'), exact('/b', 'POST'));
    expect([
      table([either]).match('GET', '/a', ''),
      table([either]).match('POST', '/b', ''),
      table([either]).match('POST', '/a', ''),
    ]).toEqual([1, 1, 0]);
    expect(table([rule()]).match('GET', '*', '')).toBe(1);
  });

  it('count by their order: the first one wins, though a later one is more precise', () => {
    const first = table([rule(prefix('/a')), rule(exact('/a/b')), rule()]);
    expect([first.match('GET', '/a/b', ''), first.match('GET', '/b', '')]).toEqual([1, 3]);
  });

  it('join over levels, the first level being the most significant digit', () => {
    const joined = table(
      [rule(prefix('/a')), rule(prefix('/b'))],
      [],
      [rule(exact('/a')), rule({ method: 'POST', path: null }), rule(prefix('/b'))],
    );
    expect(joined.match('GET', '/a', '')).toBe((1 * 1 + 0) * 4 + 1);
    expect(joined.match('POST', '/b', '')).toBe((2 * 1 + 0) * 4 + 2);
    expect(joined.match('GET', '/b/c', '')).toBe((2 * 1 + 0) * 4 + 3);
    expect(joined.match('GET', '/c', '')).toBe(0);
  });

  it('are not needed: without levels there is one row', () => {
    const one = new RouteTable({ id: 'a', levels: [], combinations: [2], policies: policies(3) });
    expect(one.match('GET', '/', '')).toBe(2);
  });
});

describe('a plan that does not fit', () => {
  it('is refused whole', () => {
    const levels = [[rule(prefix('/a'))]];
    expect(() => new RouteTable({ id: 'x', levels, combinations: [0], policies: policies(1) })).toThrow(
      'x: 1 combinations for rules that make 2',
    );
    expect(() => new RouteTable({ id: 'x', levels, combinations: [0, 1], policies: policies(1) })).toThrow(
      'x: combination points at policy 1 of 1',
    );
  });
});

it('does as the plain reading of the rules does', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b', 'ab', ''), { maxLength: 4 })
    .map((segments) => `/${segments.join('/')}`);
  const method = fc.constantFrom('GET', 'POST');
  const value = fc.constantFrom('', 'a', 'ab', 'a, b', 'b');
  const header = fc.record({
    name: fc.constantFrom('x', 'y'),
    type: fc.constantFrom('Exact' as const, 'Prefix' as const, 'Present' as const),
    value,
  });
  const sent = fc.array(fc.tuple(fc.constantFrom('x', 'X', 'y', 'xy'), value), { maxLength: 3 });
  const match = fc.record({
    method: fc.option(method),
    path: fc.option(fc.record({ type: fc.constantFrom('Exact' as const, 'PathPrefix' as const), value: path })),
    headers: fc.option(fc.array(header, { minLength: 1, maxLength: 2 }), { nil: undefined }),
  });
  const levels = fc.array(
    fc.array(
      fc.array(match, { maxLength: 3 }).map((list) => rule(...list)),
      { maxLength: 4 },
    ),
    { maxLength: 3 },
  );
  const plainly = (one: Match, wanted: string, target: string, headers: [string, string][]) => {
    if (one.method !== null && one.method !== wanted) return false;
    for (const { name, type, value: asked } of one.headers ?? []) {
      const values = headers.filter(([each]) => each.toLowerCase() === name).map(([, each]) => each);
      const all = values.join(', ');
      if (values.length === 0 || (type === 'Exact' && all !== asked)) return false;
      if (type === 'Prefix' && !all.startsWith(asked)) return false;
    }
    if (one.path === null) return true;
    if (one.path.type === 'Exact') return one.path.value === target;
    const base = one.path.value.replace(/\/$/, '');
    return target === base || target.startsWith(`${base}/`);
  };
  fc.assert(
    fc.property(levels, method, path, sent, (rules, wanted, target, headers) => {
      let expected = 0;
      for (const level of rules) {
        const found = level.findIndex(
          ({ matches: list }) => list.length === 0 || list.some((one) => plainly(one, wanted, target, headers)),
        );
        expected = expected * (level.length + 1) + found + 1;
      }
      const fields = headers.map(([name, each]) => `\r\n${name}: ${each}`).join('');
      expect(table(...rules).match(wanted, target, fields)).toBe(expected);
    }),
    { numRuns: 2000 },
  );
});
