// What is explained is what is enforced: for random policies, made of every field that the schema knows.
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { parseResiliencePolicy } from '../../crds/parse.ts';
import { BLOCKS, POLICY_DEFAULTS } from '../../crds/policies/blocks.ts';
import { type ResiliencePolicy, resiliencePolicySpec } from '../../crds/resilience-policy.ts';
import type { PolicyPlan } from '../../plan/plan.ts';
import { enforcingPlaces, mergeEnforced, mergeWithShadow, type Place, writingPlaces } from './layers.ts';
import { type ExplainedField, explainRow, layersOf, type Written, writersOf } from './origins.ts';
import type { FieldName } from './policies/block.ts';
import { routesOf } from './routes.ts';
import { policy, TARGETS } from './testing.ts';
import { compareText } from './world-index.ts';

/** Nine seconds where nothing else runs. */
vi.setConfig({ testTimeout: 90_000 });

// biome-ignore format: a table
const POOL: readonly unknown[] = ['0s', '1ms', '100ms', '200ms', '1s', '2s', '9s', '1m', '5m', 0, 1, 2, 5, 9, 60, 100, 500, 1000, 2048, 'Enforce', 'Shadow', 'Disabled',
  'Idempotent', 'All', 'InCluster', 'Always', 'Never', 'Safe', 'Anonymous', 'Everyone', 'Open', 'Closed', 'PeakEwma', 'RoundRobin', 'Hints', 'Cookie', 'SourceAddress', 'session', 'a/b', 'backup', '/healthz', 'status.example.com:80', ['x-tenant'], [], [204, 200], [409], [503, 409], ['Reset'], ['ServerError', 'ConnectFailure'], ['TooManyRequests', 'GatewayError', 'AttemptTimeout']];

/** Some of the fields of a schema, each with a value of the pool that fits it. */
function arbitraryOf(schema: z.ZodType): fc.Arbitrary<unknown> {
  const inner = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema;
  if (inner instanceof z.ZodObject) {
    const fields = Object.entries<z.ZodType>(inner.shape);
    const required = fields.filter(([, field]) => !(field instanceof z.ZodOptional)).map(([name]) => name);
    return fc.record(Object.fromEntries(fields.map(([name, field]) => [name, arbitraryOf(field)])), {
      requiredKeys: required,
    });
  }
  const fitting = POOL.filter((value) => inner.safeParse(value).success);
  if (fitting.length === 0) throw new Error(`nothing of the pool fits ${inner.meta()?.description}`);
  return fc.constantFrom(...fitting);
}

/** Two fields that contradict each other inside of one block are refused by the API server. */
const blocks = fc.record(
  Object.fromEntries(
    BLOCKS.map((block) => {
      const schema = resiliencePolicySpec.shape[block];
      return [block, arbitraryOf(schema).filter((value) => schema.safeParse(value).success)];
    }),
  ),
  { requiredKeys: [] },
);
const rules = fc.uniqueArray(
  fc
    .tuple(fc.constantFrom('a', 'b', 'c'), blocks)
    .map(([name, set]) => ({ name, matches: [{ method: 'GET' }], ...set })),
  { selector: ({ name }) => name, maxLength: 2 },
);
/** One to three policies, each with a rule that matched or none, widest first. */
const stacks = fc
  .array(fc.tuple(blocks, rules, fc.nat()), { minLength: 1, maxLength: 3 })
  .map((all) =>
    all.flatMap(([set, ruled, choice], level) => {
      const parsed = parseResiliencePolicy(
        policy(`p${level}`, [TARGETS.service('payments')], { ...set, rules: ruled }),
      );
      return parsed.ok ? [{ policy: parsed.model, matched: (choice % (ruled.length + 1)) - 1 }] : [];
    }),
  )
  .filter((all) => all.length > 0);

function rowOf(policies: readonly ResiliencePolicy[], matched: readonly number[]): PolicyPlan {
  const { table } = routesOf(policies).http;
  let index = 0;
  policies.forEach((one, level) => {
    index = index * ((one.spec.rules?.length ?? 0) + 1) + (matched[level] ?? -1) + 1;
  });
  const row = table.policies[table.combinations[index] ?? -1];
  if (row === undefined) throw new Error('no row');
  return row;
}

const seen = { defaults: 0, written: 0, follows: 0, replaced: 0, overruled: 0, disabled: 0, shadowed: 0 };

describe('for every stack of policies', () => {
  it('the explained value is that of the plan, and its origin the narrowest place that writes it', () => {
    fc.assert(
      fc.property(stacks, (stack) => {
        const policies = stack.map((one) => one.policy);
        const matched = stack.map((one) => one.matched);
        const layers = layersOf(policies, matched);
        const row = rowOf(policies, matched);
        const explained = explainRow(row, layers);
        const all = byName(explained.map(({ block, fields }) => [block, fields]));
        // What is shadowed follows what is shadowed beside it, else what is enforced.
        const shadowed = byName(explained.map(({ block, fields, shadow }) => [block, shadow?.fields ?? fields]));
        const merged = mergeEnforced(layers);
        const mergedWithShadow = mergeWithShadow(layers);
        for (const { block, state, disabledBy, fields, shadow } of explained) {
          if (state === 'Disabled') {
            seen.disabled += 1;
            expect(disabledBy?.value).toBe('Disabled');
          }
          // Every value of the plan is explained, and nothing else is.
          expect(fields.map(({ value }) => value)).toEqual(leavesOf(row[block]));
          const places = state === 'Enforced' ? enforcingPlaces(layers, block) : [];
          for (const field of fields)
            checkField(`${block}.${field.field}`, field, places, all, state === 'Enforced', merged);
          const shadowPlan = (row.shadow as Record<string, unknown> | undefined)?.[block] ?? null;
          expect(shadow === undefined).toBe(shadowPlan === null);
          if (shadow === undefined) continue;
          seen.shadowed += 1;
          expect(shadow.by.map(({ value }) => value)).toContain('Shadow');
          expect(shadow.fields.map(({ value }) => value)).toEqual(leavesOf(shadowPlan));
          const writing = writingPlaces(layers, block);
          for (const field of shadow.fields)
            checkField(`${block}.${field.field}`, field, writing, shadowed, true, mergedWithShadow);
        }
      }),
      { numRuns: 300 },
    );
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(50);
  });

  it('the writers of a field are those that the merge lets win, first the winner', () => {
    fc.assert(
      fc.property(stacks, (stack) => {
        const layers = layersOf(
          stack.map((one) => one.policy),
          stack.map((one) => one.matched),
        );
        for (const block of BLOCKS) {
          for (const [merged, places] of [
            [mergeEnforced(layers), enforcingPlaces(layers, block)],
            [mergeWithShadow(layers), writingPlaces(layers, block)],
          ] as const) {
            for (const field of namesOf(merged[block] ?? {}, block)) {
              const writing = places.filter(({ blocks }) => valueAt(blocks, field) !== undefined);
              const writers = writersOf(places, field as FieldName);
              expect(writers.map(({ path }) => path)).toEqual(
                writing.toReversed().map(({ path }) => `${path}.${field}`),
              );
              const value = valueAt(merged, field);
              if (!field.endsWith('.mode') || writers[0]?.value !== 'Shadow') expect(writers[0]?.value).toEqual(value);
              else expect(value, 'what is shadowed is judged as if it were enforced').toBe('Enforce');
            }
          }
        }
      }),
    );
  });
});

function byName(blocks: readonly (readonly [string, readonly ExplainedField[]])[]): Map<string, ExplainedField> {
  return new Map(
    blocks.flatMap(([block, fields]) => fields.map((field) => [`${block}.${field.field}`, field] as const)),
  );
}

function checkField(
  name: string,
  field: ExplainedField,
  places: readonly Place[],
  all: ReadonlyMap<string, ExplainedField>,
  acts: boolean,
  merged: unknown,
): void {
  const writers = writersOf(places, name as FieldName);
  if (field.follows !== undefined) {
    seen.follows += 1;
    expect(field.value, name).toEqual(all.get(field.follows)?.value);
    expect(field.from).toBeUndefined();
    expect(field.overruled).toEqual(writers);
  } else if (writers.length > 0 && valueAt(merged, name) === undefined) {
    // Another of the alternatives is written in a narrower place.
    seen.replaced += 1;
    expect(name).toMatch(/^(fallback[.](response|lastGood|dependency)|healthCheck[.](path|expectedStatuses|grpc))/);
  } else if (field.value === null) {
    expect(field.from).toBeUndefined();
    expect(field.overruled).toEqual(writers);
  } else if (writers.length > 0) {
    seen.written += 1;
    expect(field.from).toEqual(writers[0]);
    expect(field.value, name).toEqual(comparable(name, writers[0]));
    expect(field.overruled).toEqual(writers.slice(1));
    if (writers.length > 1) seen.overruled += 1;
  } else {
    seen.defaults += 1;
    expect(field.from).toBeUndefined();
    if (!acts || field.value === null) return;
    // What acts only where it is written was written by somebody.
    const isPart =
      /\.(failureRate|slowCalls|successRate|adaptive|perHeader|response|lastGood|delay|abort|consistentHash|slowStart|grpc)\./.test(
        name,
      );
    expect(field.partOf === undefined).toBe(!isPart);
    const [block = '', ...path] = name.split('.');
    let key = field.aspect === 'opaque TCP' ? ['opaqueIdle'] : path;
    if (name === 'bulkhead.maxConcurrent' && all.get('bulkhead.adaptive.minConcurrent')) key = ['adaptive', ...path];
    const value = valueAt((POLICY_DEFAULTS as Record<string, unknown>)[block], key.join('.'));
    expect(field.value, name).toEqual(sorted(value));
  }
}

/** Lists that are sets are sorted in the plan, and names of headers are in lower case there. */
function comparable(name: string, written: Written | undefined): unknown {
  const value = written?.value;
  if (!name.endsWith('.keyHeaders')) return sorted(value);
  return sorted((value as readonly string[]).map((header) => header.toLowerCase()));
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? (value as unknown[]).toSorted((left, right) => compareText(String(left), String(right)))
    : value;

function leavesOf(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return value === null ? [] : [value];
  return Object.entries(value)
    .filter(([key]) => key !== 'stateKey')
    .flatMap(([, inner]) => (inner === null || Array.isArray(inner) ? [inner as unknown] : leavesOf(inner)));
}

function namesOf(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, inner]) => namesOf(inner, path === '' ? name : `${path}.${name}`));
}

function valueAt(root: unknown, path: string): unknown {
  return path.split('.').reduce((value, name) => (value as Record<string, unknown> | undefined)?.[name], root);
}
