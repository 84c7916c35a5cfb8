// Which resource each value of a plan came from: beside the merge, the same walk over the same layers, for whoever asks why. Values are
// those of the plan and never computed anew, so that what is explained is what is enforced.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { PolicyPlan } from '../../plan/plan.ts';
import { applyDefaults } from './defaults.ts';
import { enforcingPlaces, type Layer, mergeEnforced, mergeWithShadow, type Place, writingPlaces } from './layers.ts';
import type { Blocks, FieldName } from './policies/block.ts';
import { active, COMPILERS } from './policies/blocks.ts';

/** One place where a policy writes a field. */
export interface Written {
  policy: ResiliencePolicy;
  /** "spec.rules[0].timeouts.request" */
  path: string;
  /** Name of the rule that it stands in; undefined beside rules. */
  rule: string | undefined;
  /** As in the model: durations are milliseconds. */
  value: unknown;
}

export interface ExplainedField {
  /** "backoff.initial": as users write it, in its block. */
  field: string;
  /** Where one field means different things: which one this is. */
  aspect: string | undefined;
  /** Of the plan; null where it does not act. */
  value: number | string | readonly (number | string)[] | null;
  isDuration: boolean;
  /** Whose value it is; undefined: nobody wrote it, it is the default. */
  from: Written | undefined;
  /** Who wrote the part that it belongs to, where that acts only where it is written. */
  partOf: Written | undefined;
  /** The field whose value it has, as its default or because the two would contradict each other. */
  follows: FieldName | undefined;
  /** Written too, and without effect; narrowest first. */
  overruled: readonly Written[];
}

export interface ExplainedBlock {
  block: BlockName;
  /** NotSet: no policy names it. NotEnforceable: the connection is opaque, and only some timeouts can act on it. */
  state: 'Enforced' | 'Disabled' | 'NotSet' | 'NotEnforceable';
  /** Who switched it off. */
  disabledBy: Written | undefined;
  fields: readonly ExplainedField[];
  /** What is judged and counted beside it without acting. */
  shadow: ExplainedShadow | undefined;
}

export interface ExplainedShadow {
  /** Who shadows it, narrowest first. */
  by: readonly Written[];
  fields: readonly ExplainedField[];
}

/** The layers of a request: of each policy the rule that matched, by its position; -1 where none did. Widest first. */
export function layersOf(policies: readonly ResiliencePolicy[], matched: readonly number[]): Layer[] {
  return policies.map((policy, level) => {
    const position = matched[level] ?? -1;
    return { policy, position, rule: policy.spec.rules?.[position] };
  });
}

/** `row`: what the plan enforces for a request of these layers. */
export function explainRow(row: PolicyPlan, layers: readonly Layer[]): ExplainedBlock[] {
  const merged = mergeEnforced(layers);
  const { follows } = applyDefaults(merged);
  const withShadow = row.shadow === undefined ? undefined : mergeWithShadow(layers);
  return BLOCKS.map((block): ExplainedBlock => {
    const state = stateOf(row, merged, block);
    const places = enforcingPlaces(layers, block);
    const disabledBy = state === 'Disabled' ? writersOf(places, `${block}.mode`)[0] : undefined;
    const fields = explainFields(row[block], block, follows, state === 'Enforced' ? places : [], merged);
    return {
      block,
      state,
      disabledBy,
      fields,
      shadow: withShadow && explainShadow(row, layers, block, withShadow),
    };
  });
}

function explainShadow(
  { shadow }: PolicyPlan,
  layers: readonly Layer[],
  block: BlockName,
  merged: Blocks,
): ExplainedShadow | undefined {
  const shadows: Partial<Record<BlockName, object | null>> = shadow ?? {};
  const plan = shadows[block] ?? null;
  if (plan === null) return undefined;
  const places = writingPlaces(layers, block);
  const by = writersOf(places, `${block}.mode`).filter(({ value }) => value === 'Shadow');
  return { by, fields: explainFields(plan, block, applyDefaults(merged).follows, places, merged) };
}

/** `places`: those whose word counts, widest first. */
function explainFields(
  plan: object | null,
  block: BlockName,
  follows: ReadonlyMap<FieldName, FieldName>,
  places: readonly Place[],
  merged: Blocks,
): ExplainedField[] {
  return valuesOf(plan, block).map(({ value, part, ...named }): ExplainedField => {
    const field: FieldName = `${block}.${named.field}`;
    const leader = follows.get(field);
    const written = writersOf(places, field);
    // What does not act was written in vain. Of alternatives the narrowest counts: another one is written, and does not hold.
    const acts = value !== null && at(merged, field) !== undefined;
    const from = leader === undefined && acts ? written[0] : undefined;
    const partOf = part === undefined ? undefined : writersOf(places, `${block}.${part}`)[0];
    return {
      ...named,
      value,
      from,
      partOf,
      follows: leader,
      overruled: from === undefined ? written : written.slice(1),
    };
  });
}

function stateOf(row: PolicyPlan, merged: Blocks, block: BlockName): ExplainedBlock['state'] {
  const written = merged[block];
  if (written === undefined) return 'NotSet';
  if (active(merged, block) === undefined) return 'Disabled';
  return row[block] === null ? 'NotEnforceable' : 'Enforced';
}

/** Which of these places write a field, narrowest first: the first one counts. `places`: widest first. */
export function writersOf(places: readonly Place[], field: FieldName): Written[] {
  return places.toReversed().flatMap(({ policy, path, rule, blocks }) => {
    const value = at(blocks, field);
    return value === undefined ? [] : [{ policy, path: `${path}.${field}`, rule: rule?.name, value }];
  });
}

function at(blocks: Blocks, field: string): unknown {
  let value: unknown = blocks;
  for (const name of field.split('.')) value = (value as Record<string, unknown> | undefined)?.[name];
  return value;
}

interface Value extends Pick<ExplainedField, 'field' | 'aspect' | 'value' | 'isDuration'> {
  /** "failureRate": of a field of it. */
  part: string | undefined;
}

interface Naming {
  fields: Readonly<Record<string, string>>;
  aspects?: Readonly<Record<string, string>>;
}

/** Of a block that acts; empty for one that does not. */
function valuesOf(plan: object | null, block: BlockName): Value[] {
  if (plan === null) return [];
  const values = plan as Readonly<Record<string, unknown>>;
  const { fields, aspects }: Naming = COMPILERS[block];
  return Object.entries(fields).flatMap(([key, name]) =>
    named(key, name, values[key]).map((value) => ({ ...value, aspect: aspects?.[key] })),
  );
}

function named(key: string, field: string, value: unknown): Value[] {
  // Not in the plan: it does not act.
  if (value === undefined) return [];
  const plain = { field, aspect: undefined, isDuration: key.endsWith('Ms'), part: undefined };
  if (typeof value === 'number' || typeof value === 'string' || value === null) return [{ ...plain, value }];
  if (Array.isArray(value)) return [{ ...plain, value: value as readonly (number | string)[] }];
  if (typeof value !== 'object') throw new Error(`${field} has no value in the plan`);
  // A part that acts only where it is written: its own fields are named as the user's, but for the unit.
  return Object.entries(value).flatMap(([inner, one]) =>
    named(inner, `${field}.${inner.replace(/Ms$/, '')}`, one).map((leaf) => ({ ...leaf, part: field })),
  );
}
