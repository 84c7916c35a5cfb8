import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PLAN_LIMITS, workloadPlan } from '../../plan/plan.ts';
import { compile } from './compile.ts';
import { applyDefaults } from './defaults.ts';
import { mergePatch } from './merge.ts';
import type { Blocks } from './policies/block.ts';
import { MAX_ROWS, routesOf } from './routes.ts';
import { type Manifest, pod, policy, service, serviceDependency, TARGETS, world } from './testing.ts';

const dependency = (entries = ['payments']) =>
  serviceDependency('checkout', {
    dependsOn: entries.map((name) => ({ name, service: { name, port: 8080 } })),
  });
const rules = (
  count: number,
  set: (position: number) => Manifest = (it) => ({ retries: { maxAttempts: (it % 10) + 1 } }),
) =>
  Array.from({ length: count }, (_, position) => ({
    name: `r${position}`,
    matches: [{ path: { type: 'Exact', value: `/${position}` } }],
    ...set(position),
  }));
const base = [service('payments'), dependency(), pod('checkout-1')];
const owner = (spec: Manifest) => policy('owner', [TARGETS.service('payments')], spec);
const team = (spec: Manifest) => policy('team', [TARGETS.dependency('checkout')], spec);
const reasons = (manifests: readonly Manifest[]) =>
  compile(world(manifests)).problems.map((it) => `${it.object.name} ${it.reason}`);

describe('the table of a dependency', () => {
  it('has the row of each tuple of rules where the plan says it is', () => {
    const set = fc.record(
      {
        timeouts: fc.record(
          { request: fc.constantFrom('1s', '2s'), connect: fc.constantFrom('10ms', '20ms') },
          { requiredKeys: [] },
        ),
        retries: fc.record(
          { mode: fc.constantFrom('Enforce', 'Disabled'), maxAttempts: fc.integer({ min: 1, max: 4 }) },
          { requiredKeys: [] },
        ),
        bulkhead: fc.record({ maxConcurrent: fc.integer({ min: 1, max: 4 }) }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    );
    const level = fc.record({ base: set, rules: fc.array(set, { maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 3 }), (levels) => {
        const { resiliencePolicies } = world(
          levels.map((it, depth) =>
            policy(`p${depth}`, [TARGETS.service('x')], {
              ...it.base,
              rules: rules(it.rules.length, (at) => it.rules[at] ?? {}),
            }),
          ),
        );
        const { table } = routesOf(resiliencePolicies).http;
        const walk = (depth: number, index: number, merged: Blocks, name: string): void => {
          const policyHere = resiliencePolicies[depth];
          if (policyHere === undefined) {
            const row = table.policies[table.combinations[index] ?? -1];
            const wanted = applyDefaults(merged).numbers;
            expect(row?.rule).toBe(name);
            expect(row?.timeouts).toEqual(wanted.timeouts);
            expect(row?.retries ?? null).toEqual(wanted.retries && { stateKey: expect.anything(), ...wanted.retries });
            expect(row?.bulkhead ?? null).toEqual(
              wanted.bulkhead && { stateKey: expect.anything(), ...wanted.bulkhead },
            );
            return;
          }
          const { targetRefs: _targets, rules: own = [], ...beside } = policyHere.spec;
          for (let matched = 0; matched <= own.length; matched++) {
            const { name: ruleName, matches: _matches, ...inRule } = own[matched - 1] ?? { name, matches: [] };
            // As the design says it: the policy first, its rule over its base; then the results, narrow over wide.
            const resolved = mergePatch(beside, inRule);
            const next = mergePatch(merged, resolved) as Blocks;
            walk(depth + 1, index * (own.length + 1) + matched, next, ruleName);
          }
        };
        walk(0, 0, {}, 'base');
      }),
    );
  });

  it('keeps the state of a block while its numbers change', () => {
    const keys = (maxAttempts: number) => {
      const spec = { retries: { maxAttempts }, rules: rules(1, () => ({ retries: { maxAttempts: maxAttempts + 1 } })) };
      const [workload] = compile(world([...base, team(spec)])).workloads;
      return workload?.plan.dependencies[0]?.policies.map((row) => row.retries?.stateKey);
    };
    expect(keys(2)).toEqual(['retries:base', 'retries:shop/team/r0']);
    expect(keys(5)).toEqual(keys(2));
  });

  it('bounds the names of state and sources', () => {
    const long = 'n'.repeat(250);
    const [workload] = compile(
      world([
        service('payments'),
        serviceDependency('checkout'),
        policy(`a${long}`, [TARGETS.service('payments')], {
          rules: rules(1, () => ({ bulkhead: { maxConcurrent: 1 } })),
        }),
        policy(`b${long}`, [TARGETS.dependency('checkout')], {
          rules: rules(1, () => ({ bulkhead: { maxQueued: 1 } })),
        }),
        policy(`c${long}`, [TARGETS.dependency('checkout', 'payments')], {
          rules: rules(1, () => ({ bulkhead: { queueTimeout: '1s' } })).map((rule) => ({
            ...rule,
            name: 'r'.repeat(63),
          })),
        }),
      ]),
    ).workloads;
    expect(workloadPlan.parse(workload?.plan)).toEqual(workload?.plan);
  });
});

describe('a table that would be too large', () => {
  it('leaves out the policy whose rules exceed the combinations, the narrower one', () => {
    const manifests = [...base, owner({ rules: rules(256) }), team({ bulkhead: {}, rules: rules(256) })];
    const [row, ...others] = compile(world(manifests)).workloads[0]?.plan.dependencies[0]?.policies ?? [];
    expect(257 * 257).toBeGreaterThan(PLAN_LIMITS.combinations);
    expect(row?.bulkhead).toBeNull();
    expect(others).toHaveLength(256);
    expect(reasons(manifests)).toContain('team TooManyRules');
    expect(reasons(manifests)).not.toContain('owner TooManyRules');
  });

  it('leaves out the policy whose rules make too many different rows', () => {
    const manifests = [
      ...base,
      owner({ rules: rules(100) }),
      team({ rules: rules(100, (it) => ({ bulkhead: { maxConcurrent: it + 1 } })) }),
    ];
    expect(101 * 101).toBeLessThan(PLAN_LIMITS.combinations);
    expect(101 * 101).toBeGreaterThan(MAX_ROWS);
    expect(reasons(manifests)).toContain('team TooManyRules');
  });

  it('goes without rules in a plan that no frame could hold, the largest first', () => {
    const names = Array.from({ length: 5 }, (_, position) => `s${position}`);
    const manifests = [
      ...names.map((name) => service(name)),
      dependency(names),
      pod('checkout-1'),
      ...names.map((name) =>
        policy(`owner-${name}`, [TARGETS.service(name)], {
          rules: rules(60, () => ({ retries: {}, circuitBreaker: {} })),
        }),
      ),
      team({ rules: rules(60, () => ({ bulkhead: {}, timeouts: {} })) }),
    ];
    const { workloads, problems } = compile(world(manifests));
    const plan = workloads[0]?.plan;
    expect(Buffer.byteLength(JSON.stringify(plan))).toBeLessThan(PLAN_LIMITS.frameBytes);
    const withRules = plan?.dependencies.filter((it) => it.levels.length > 0).length ?? 0;
    expect(withRules).toBeGreaterThan(0);
    const tooLarge = problems.filter((it) => it.reason === 'PlanTooLarge');
    expect(tooLarge).toHaveLength((5 - withRules) * 2);
    expect(workloadPlan.parse(plan)).toEqual(plan);
  });

  it('leaves out dependencies beyond the limit of a plan', () => {
    const entries = (first: number) =>
      Array.from({ length: 64 }, (_, position) => ({
        name: `d${first + position}`,
        service: { name: `s${first + position}`, port: 8080 },
      }));
    const owners = Array.from({ length: 9 }, (_, at) => serviceDependency(`o${at}`, { dependsOn: entries(at * 64) }));
    const services = Array.from({ length: 9 * 64 }, (_, at) => service(`s${at}`));
    const { workloads, problems } = compile(world([...services, ...owners, pod('checkout-1')]));
    expect(workloads.map((workload) => workload.plan.dependencies.length)).toEqual([PLAN_LIMITS.dependencies]);
    expect(problems.filter((it) => it.reason === 'TooManyDependencies').map((it) => it.object.name)).toEqual(
      Array.from({ length: 64 }, () => 'o8'),
    );
  });
});
