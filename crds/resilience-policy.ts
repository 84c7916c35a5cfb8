// ResiliencePolicy: how failure of the targets is handled. Blocks merge over policies from wide to narrow targets, so no field of a block
// has a default in its schema; POLICY_DEFAULTS says what compile fills in after the merge.
import { z } from 'zod';
import { objectSet, text } from './fields.ts';
import { commonStatus, type ObjectMeta, targetReference } from './kubernetes.ts';
import { blocks } from './policies/blocks.ts';
import { rules } from './policies/rules.ts';

export const resiliencePolicySpec = z.object({
  targetRefs: objectSet(targetReference.meta({ ...targetReference.meta(), description: 'One target.' }), {
    description:
      'What the policy acts on, in its own namespace. A narrower target overrides a wider one field by field; from wide to narrow: Platform, Namespace, Service, ServiceDependency, one entry of it.',
    min: 1,
    max: 16,
  }),
  ...blocks,
  rules: rules.optional(),
});

export const resiliencePolicyStatus = z.object({
  ...commonStatus,
  resolved: text('How many of targetRefs exist, such as "1/1".', 32).optional(),
});

/** Field names are the user's; durations are milliseconds. Absent fields stay absent: compile merges, then applies POLICY_DEFAULTS. */
export type ResiliencePolicySpec = z.output<typeof resiliencePolicySpec>;
export type PolicyRule = NonNullable<ResiliencePolicySpec['rules']>[number];
export type ResiliencePolicyStatus = z.output<typeof resiliencePolicyStatus>;

export interface ResiliencePolicy {
  kind: 'ResiliencePolicy';
  metadata: ObjectMeta;
  spec: ResiliencePolicySpec;
  /** Absent where none was written yet, or where it does not fit the schema (an older or newer operator wrote it). */
  status?: ResiliencePolicyStatus | undefined;
}
