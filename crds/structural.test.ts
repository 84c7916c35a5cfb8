import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { DOC_DEFAULT, integer, listMeta, text } from './fields.ts';
import { UNSEEN_STATUS } from './kubernetes.ts';
import { kinds } from './registry.ts';
import { withRules } from './rules.ts';
import { customResourceDefinition, isYamlBoolean, rawSchema, type SchemaNode, structuralSchema } from './structural.ts';

interface Definition {
  spec: { versions: [{ schema: { openAPIV3Schema: { properties: { status: { default: unknown } } } } }] };
}

const field = (schema: z.ZodType) => z.object({ field: schema }).meta({ description: 'An object.' });
const short = z.string().max(8).meta({ description: 'A text.' });

function nodes(node: SchemaNode, path: string): [string, SchemaNode][] {
  const below: [string, SchemaNode][] = Object.entries(node.properties ?? {}).map(([name, child]) => [
    `${path}.${name}`,
    child,
  ]);
  if (node.items) below.push([`${path}[]`, node.items]);
  if (typeof node.additionalProperties === 'object') below.push([`${path}.*`, node.additionalProperties]);
  return [[path, node], ...below.flatMap(([childPath, child]) => nodes(child, childPath))];
}

describe('what must not be committed ends the generation', () => {
  test.each<[string, z.ZodType, string]>([
    ['a field without a description', z.string().max(8), 'spec.field: needs a description'],
    [
      'a text without a bound',
      z.string().meta({ description: 'x' }),
      'spec.field: needs maxLength|spec.field: a text needs maxLength',
    ],
    ['a number without bounds', z.int().meta({ description: 'x' }), 'spec.field: a number needs minimum and maximum'],
    ['a fraction', z.number().min(0).max(1).meta({ description: 'x' }), 'spec.field: type number is not allowed'],
    [
      'a list without a bound',
      z.array(short).meta(listMeta('x', { type: 'atomic' })),
      'spec.field: a list needs maxItems',
    ],
    [
      'a list that does not say how it merges',
      z.array(short).max(3).meta({ description: 'x' }),
      'spec.field: a list needs x-kubernetes-list-type',
    ],
    [
      'a list map whose key is optional',
      z
        .array(z.object({ name: short.optional() }).meta({ description: 'x' }))
        .max(3)
        .meta(listMeta('x', { type: 'map', keys: ['name'] })),
      'spec.field: key name is not required',
    ],
    [
      'a list map whose key is not there',
      z
        .array(z.object({ id: short }).meta({ description: 'x' }))
        .max(3)
        .meta(listMeta('x', { type: 'map', keys: ['name'] })),
      'spec.field: key name is no plain field',
    ],
    [
      'a set of objects',
      z
        .array(z.object({ id: short }).meta({ description: 'x' }))
        .max(3)
        .meta(listMeta('x', { type: 'set' })),
      'spec.field: a set holds plain values',
    ],
    [
      'a map without a bound',
      z.record(z.string(), short).meta({ description: 'x' }),
      'spec.field: a map needs maxProperties',
    ],
    ['a default', short.default('x').meta({ description: 'x' }), '"default" is not allowed'],
    [
      'a union',
      z.union([short, z.int().min(0).max(1)]).meta({ description: 'x' }),
      'spec.field: a union is not structural',
    ],
    [
      'a discriminated union',
      z
        .discriminatedUnion('type', [z.object({ type: z.literal('A') }), z.object({ type: z.literal('B') })])
        .meta({ description: 'x' }),
      'spec.field: "oneOf" is not allowed|spec.field: a union is not structural',
    ],
    [
      'an object that forbids other fields',
      z.strictObject({ a: short }).meta({ description: 'x' }),
      'additionalProperties beside properties is not structural',
    ],
    [
      'an enum value that YAML reads as a boolean',
      z.enum(['Off', 'Enforce']).meta({ description: 'x' }),
      'spec.field: YAML 1.1 reads Off as a boolean',
    ],
    [
      'a field name that YAML reads as a boolean',
      z.object({ on: short }).meta({ description: 'x' }),
      'spec.field.on: not a name for a field',
    ],
    [
      'a field name in another case',
      z.object({ Name: short }).meta({ description: 'x' }),
      'spec.field.Name: not a name for a field',
    ],
    [
      'a rule about a field that is not there',
      withRules(z.object({ a: short }).meta({ description: 'x' }), [
        { cel: 'true', message: 'x', fieldPath: '.b', holds: () => true },
      ]),
      'spec.field: a rule speaks of .b',
    ],
  ])('%s', (_name, schema, message) => {
    expect(() => structuralSchema(field(schema), 'spec')).toThrow(
      new RegExp(
        message
          .split('|')
          .map((part) => part.replaceAll('[', '\\['))
          .join('|'),
      ),
    );
  });
});

test('defaults and ranges are told in the description', () => {
  const schema = structuralSchema(
    field(integer({ description: 'How many.', min: 0, max: 9, zero: 'off', default: 3 })),
    'spec',
  );
  expect(schema.properties?.['field']).toEqual({
    type: 'integer',
    format: 'int32',
    minimum: 0,
    maximum: 9,
    description: 'How many. Range: 0 (off) to 9. Default: 3.',
  });
});

describe.each(kinds)('$kind', (kind) => {
  const all = [
    ...nodes(structuralSchema(kind.spec, 'spec'), 'spec'),
    ...nodes(structuralSchema(kind.status, 'status'), 'status'),
  ];

  test('has no word that YAML 1.1 reads as a boolean, but for the status of a condition', () => {
    const words = all.flatMap(([path, node]) =>
      [...Object.keys(node.properties ?? {}), ...(node.enum ?? [])].map((word) => [path, String(word)] as const),
    );
    expect(words.length).toBeGreaterThan(20);
    expect(words.filter(([, word]) => isYamlBoolean(word)).map(([path]) => path)).toEqual([
      'status.conditions[].status',
      'status.conditions[].status',
    ]);
  });

  test('has no default in the schema', () => {
    expect(all.filter(([, node]) => 'default' in node)).toEqual([]);
  });

  test('says of an object that the operator has not seen what its status may hold', () => {
    const { schema } = (customResourceDefinition(kind) as unknown as Definition).spec.versions[0];
    expect(schema.openAPIV3Schema.properties.status.default).toEqual(UNSEEN_STATUS);
    expect(kind.status.strict().parse(UNSEEN_STATUS)).toEqual(UNSEEN_STATUS);
  });

  test('has no rule without a message', () => {
    const rules = all.flatMap(([, node]) => (node['x-kubernetes-validations'] ?? []) as { message: string }[]);
    expect(rules.length).toBeGreaterThan(0);
    expect(rules.filter(({ message }) => message.length < 20)).toEqual([]);
  });

  test('shows columns that its status has', () => {
    const status = rawSchema(kind.status).properties ?? {};
    const names = kind.columns
      .map(({ jsonPath }) => /^\.status\.([A-Za-z]+)/.exec(jsonPath)?.[1])
      .filter((name) => name !== undefined);
    expect(names).toEqual(['conditions', 'summary', 'resolved', 'programmed', 'openCircuits']);
    for (const name of names) expect(status).toHaveProperty(name);
  });

  test('is a definition with a status of its own', () => {
    expect(customResourceDefinition(kind)).toMatchObject({
      metadata: { name: `${kind.plural}.breakwater.dev` },
      spec: {
        scope: 'Namespaced',
        versions: [{ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } }],
      },
    });
  });
});

test('the rules of a policy are the same on the base and inside a rule', () => {
  const policy = kinds.find(({ kind }) => kind === 'ResiliencePolicy');
  const spec = policy ? structuralSchema(policy.spec, 'spec').properties : undefined;
  for (const block of ['timeouts', 'retries', 'circuitBreaker', 'bulkhead', 'loadBalancing']) {
    expect(spec?.[block]).toBeDefined();
    expect(spec?.['rules']?.items?.properties?.[block]).toEqual(spec?.[block]);
  }
});

test('documentation keys stay out of the schema', () => {
  const documented = text('A text.', 9).meta({ description: 'A text.', [DOC_DEFAULT]: 'none' });
  expect(structuralSchema(field(documented), 'spec').properties?.['field']).not.toHaveProperty(DOC_DEFAULT);
});
