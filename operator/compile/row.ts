// One row of the table: what is enforced for the requests of one combination of rules, what is shadowed beside it, and what the policies
// that wrote it should be told.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { PolicyPlan, ShadowPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import { shadowKey } from '../../plan/policies/state-key.ts';
import { applyDefaults } from './defaults.ts';
import { versionOf } from './identity.ts';
import {
  allPlaces,
  enforcingPlaces,
  type Layer,
  mergeEnforced,
  mergeWithShadow,
  type Place,
  shadowedBlocks,
  writingPlaces,
} from './layers.ts';
import type { Blocks } from './policies/block.ts';
import { type AllNumbers, active, COMPILERS, eachBlock } from './policies/blocks.ts';
import type { Contradiction } from './policies/contradictions.ts';
import { keyOf } from './world-index.ts';

/** A contradiction and who is told: the narrowest policy that wrote one of its fields. */
export interface LocatedContradiction {
  contradiction: Contradiction;
  policy: ResiliencePolicy;
  field: string;
}

/** A block that a policy sets, and that stays off because a wider policy switched it off. */
export interface SwitchedOff {
  policy: ResiliencePolicy;
  field: string;
  block: BlockName;
  by: ResiliencePolicy;
}

export interface CompiledRow {
  row: PolicyPlan;
  found: readonly LocatedContradiction[];
  off: readonly SwitchedOff[];
}

export function compileRow(layers: readonly Layer[]): CompiledRow {
  const merged = mergeEnforced(layers);
  const { numbers, contradictions } = applyDefaults(merged);
  const row: PolicyPlan = { rule: ruleOf(layers), ...plansOf(layers, numbers), sources: {} };
  for (const block of BLOCKS) {
    if (active(merged, block) !== undefined) row.sources[block] = sourceOf(enforcingPlaces(layers, block));
  }
  const found = contradictions.map((it) => locate(layers, it, (block) => enforcingPlaces(layers, block)));
  const shadowed = shadowedBlocks(layers);
  if (shadowed.length > 0) {
    const shadow = compileShadow(layers, shadowed);
    if (shadow.plan !== undefined) row.shadow = shadow.plan;
    found.push(...shadow.found);
  }
  return { row, found, off: switchedOffIn(layers, merged) };
}

/** The name of the narrowest rule that matched. */
export function ruleOf(layers: readonly Layer[]): string {
  return layers.findLast((layer) => layer.rule !== undefined)?.rule?.name ?? 'base';
}

export type BlockPlans = Pick<PolicyPlan, BlockName>;

/** The numbers of each block; of one that keeps state, with the key of it. */
function plansOf(layers: readonly Layer[], numbers: AllNumbers): BlockPlans {
  return eachBlock<BlockPlans>((block) => withKey(block, numbers, stateKeyOf(enforcingPlaces(layers, block), block)));
}

function withKey<B extends BlockName>(block: B, numbers: AllNumbers, stateKey: string): BlockPlans[B] {
  const own = numbers[block];
  // That a block with state has a key in its plan, and no other block, is what the type of COMPILERS checks.
  return (own !== null && COMPILERS[block].hasState ? { stateKey, ...own } : own) as BlockPlans[B];
}

/** The plan is undefined where all of it stays off, because a narrower policy says Disabled. */
function compileShadow(layers: readonly Layer[], shadowed: readonly ShadowBlock[]) {
  const merged = mergeWithShadow(layers);
  const acting = shadowed.filter((block) => active(merged, block) !== undefined);
  const { numbers, contradictions } = applyDefaults(merged);
  const plans = SHADOW_BLOCKS.map((block) => {
    // State of its own: a circuit that only would be open must not open when its policy is promoted.
    const stateKey = shadowKey(stateKeyOf(writingPlaces(layers, block), block));
    return [block, acting.includes(block) ? withKey(block, numbers, stateKey) : null] as const;
  });
  return {
    plan: acting.length === 0 ? undefined : (Object.fromEntries(plans) as unknown as ShadowPlan),
    found: contradictions
      .filter(({ fields }) => fields.some(([block]) => acting.some((it) => it === block)))
      .map((it) => locate(layers, it, (block) => writingPlaces(layers, block))),
  };
}

/**
 * State outlives changed numbers: it belongs to the block and to the rules that set any of its fields, not to what they set. Rules are
 * named with their policy, since two policies may name a rule alike.
 */
function stateKeyOf(places: readonly Place[], block: BlockName): string {
  const rules = places.flatMap(({ policy, rule }) =>
    rule === undefined || Object.keys(rule[block] ?? {}).length === 0 ? [] : [`${keyOf(policy.metadata)}/${rule.name}`],
  );
  const name = rules.length === 0 ? 'base' : rules.join('+');
  // Three long names may not fit; the hash of them is as stable.
  return `${block}:${name.length <= 900 ? name : versionOf(name)}`;
}

/** Narrowest first; the narrowest alone where all would be too long. */
function sourceOf(places: readonly Place[]): string {
  const sources = [...new Set(places.map(({ policy }) => policy))]
    .map(({ metadata }) => `ResiliencePolicy ${keyOf(metadata)} generation ${metadata.generation}`)
    .reverse();
  const all = sources.join(' over ');
  return all.length <= 512 ? all : (sources[0] ?? '');
}

/** `placesOf`: those whose word on a block counts. */
function locate(
  layers: readonly Layer[],
  contradiction: Contradiction,
  placesOf: (block: BlockName) => readonly Place[],
): LocatedContradiction {
  const counting = new Map(contradiction.fields.map(([block]) => [block, placesOf(block)]));
  for (const { policy, path, blocks } of allPlaces(layers).reverse()) {
    for (const [block, field] of contradiction.fields) {
      const counts = counting.get(block)?.some((place) => place.policy === policy && place.path === path);
      if (!counts || !writes(blocks[block], field)) continue;
      return { contradiction, policy, field: `${path}.${block}${field === '' ? '' : `.${field}`}` };
    }
  }
  throw new Error(`no policy writes what contradicts itself: ${contradiction.reason}`);
}

function writes(block: unknown, field: string): boolean {
  let value = block;
  for (const name of field === '' ? [] : field.split('.'))
    value = (value as Record<string, unknown> | undefined)?.[name];
  return value !== undefined;
}

/** Blocks that a narrower policy, or a rule, sets without `mode`, while a wider one has switched them off. */
function switchedOffIn(layers: readonly Layer[], merged: Blocks): SwitchedOff[] {
  const found: SwitchedOff[] = [];
  for (const block of BLOCKS) {
    if (merged[block]?.mode !== 'Disabled') continue;
    const inVain: { policy: ResiliencePolicy; field: string }[] = [];
    for (const { policy, path, blocks } of enforcingPlaces(layers, block).reverse()) {
      if (blocks[block]?.mode === 'Disabled') {
        found.push(...inVain.map((it) => ({ ...it, block, by: policy })));
        break;
      }
      inVain.push({ policy, field: `${path}.${block}` });
    }
  }
  return found;
}
