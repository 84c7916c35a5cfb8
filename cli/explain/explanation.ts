// What `breakwater explain` says: one value, which every form of output renders. The schema is the contract of `--output json`.
import { z } from 'zod';
import { BLOCKS } from '../../crds/policies/blocks.ts';

const source = z.strictObject({
  kind: z.literal('ResiliencePolicy'),
  namespace: z.string(),
  name: z.string(),
  generation: z.int(),
});

const place = z.strictObject({
  ...source.shape,
  field: z.string().meta({ description: 'Path in that resource: "spec.rules[0].timeouts.request".' }),
  rule: z.string().nullable().meta({ description: 'The rule that it stands in; null beside rules.' }),
});
export type Place = z.output<typeof place>;

const written = z.strictObject({
  ...place.shape,
  value: z.json().meta({ description: 'As it is written there.' }),
});
export type WrittenValue = z.output<typeof written>;

const value = z.union([z.number(), z.string(), z.array(z.union([z.number(), z.string()])), z.null()]);

const field = z.strictObject({
  field: z.string().meta({ description: 'Path in its block: "backoff.initial".' }),
  aspect: z.string().nullable().meta({ description: 'What this value is for, where one field is for several.' }),
  value: value.meta({ description: 'In force, as one would write it; null: it does not act.' }),
  origin: z
    .union([written, z.literal('default')])
    .meta({ description: 'The resource that it comes from, or "default".' }),
  partOf: place
    .nullable()
    .meta({ description: 'Where the part that it belongs to is written, of those that act only where they are.' }),
  follows: z
    .string()
    .nullable()
    .meta({ description: 'The field whose value it has; origin is then that of the followed field.' }),
  overruled: z.array(written).meta({ description: 'Written too, and without effect; narrowest first.' }),
});
export type FieldExplanation = z.output<typeof field>;

const block = z.strictObject({
  block: z.enum(BLOCKS),
  state: z.enum(['Enforced', 'Disabled', 'NotSet', 'NotEnforceable', 'SwitchedOff']).meta({
    description:
      'Disabled: by mode. NotSet: no policy names it. NotEnforceable: the connection is opaque. SwitchedOff: by the kill switch.',
  }),
  disabledBy: written.nullable(),
  fields: z.array(field),
  shadow: z
    .strictObject({
      by: z.array(place).meta({ description: 'Who writes mode: Shadow, narrowest first.' }),
      fields: z.array(field).meta({ description: 'What it is judged by; as fields.' }),
    })
    .nullable()
    .meta({ description: 'What is only judged and counted, beside what is enforced.' }),
});
export type BlockExplanation = z.output<typeof block>;

const rule = z.strictObject({
  policy: source,
  name: z.string(),
  matches: z.array(z.string()).meta({ description: 'Such as "POST /charges and below"; any of them matches.' }),
  changes: z
    .array(z.strictObject({ field: z.string(), value }))
    .meta({ description: 'What is different for a request that matches it, and no rule of another policy.' }),
});

export const problemExplanation = z.strictObject({
  severity: z.enum(['Error', 'Warning']),
  reason: z.string().meta({ description: 'A reason of docs/errors.md.' }),
  message: z.string(),
  object: z.strictObject({ kind: z.string(), namespace: z.string(), name: z.string() }),
  field: z.string(),
});
export type ProblemExplanation = z.output<typeof problemExplanation>;

const dependency = z.strictObject({
  id: z.string().meta({ description: '"<namespace>/<ServiceDependency>/<entry>"' }),
  name: z.string(),
  serviceDependency: z.string(),
  calls: z.string().meta({ description: '"Service billing/payments:8080", or a host.' }),
  isDeclared: z.boolean().meta({ description: 'False: the entry leads nowhere, so its calls pass without policies.' }),
  protocol: z.enum(['Http', 'Opaque', 'Detect']).nullable(),
  switchedOffBy: z.array(z.string()).meta({ description: 'Where the kill switch is: "Namespace shop".' }),
  policies: z
    .array(
      z.strictObject({
        ...source.shape,
        target: z.string().meta({ description: 'By which it acts here.' }),
        rule: z.string().nullable().meta({ description: 'Its rule that the request matches; null where none does.' }),
      }),
    )
    .meta({ description: 'In force, widest target first: a later one overrides an earlier one field by field.' }),
  rule: z
    .string()
    .nullable()
    .meta({ description: 'The name in metrics and answers: of the narrowest rule, or "base".' }),
  blocks: z.array(block).meta({ description: 'What holds for the request, or for all that match no rule.' }),
  onOpaque: z
    .strictObject({
      acting: z
        .array(z.enum(BLOCKS))
        .meta({ description: 'Enforced blocks that act there, by the policy of no rule.' }),
      idle: z.array(z.enum(BLOCKS)).meta({ description: 'Enforced blocks that do nothing there.' }),
    })
    .nullable()
    .meta({ description: 'Of connections that turn out not to be HTTP; null where the port says what they are.' }),
  rules: z
    .array(rule)
    .meta({ description: 'All rules of all policies; the first of each policy that matches counts.' }),
  problems: z.array(problemExplanation).meta({ description: 'What has no effect, and why.' }),
});
export type DependencyExplanation = z.output<typeof dependency>;

export const explanation = z.strictObject({
  workload: z.strictObject({
    kind: z.string(),
    namespace: z.string(),
    name: z.string(),
    serviceDependencies: z.array(z.string()).meta({ description: 'Those that select its pods.' }),
  }),
  request: z
    .strictObject({
      method: z.string(),
      path: z.string(),
      headers: z.array(z.strictObject({ name: z.string(), value: z.string() })),
    })
    .nullable(),
  dependencies: z.array(dependency),
  problems: z.array(problemExplanation).meta({ description: 'Of the workload as a whole.' }),
  assumptions: z.array(z.string()).meta({ description: 'What could not be seen, and what was taken for it.' }),
});
export type Explanation = z.output<typeof explanation>;
