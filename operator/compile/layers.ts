// The layers of a request: of each policy its base, and over it the rule that matched. Here is decided which of these places say what is
// enforced of a block, and which only shadow it.
//
// A policy that shadows a block changes nothing of what is enforced, whatever others say: what is enforced is merged as if it had not
// written the block, and what is shadowed from all of them. Within one policy a rule stands over the base as everywhere: a rule without
// `mode` belongs to a base that shadows, a rule that says Enforce brings the base of its policy with it (so that one rule can be promoted
// first), and a rule that says Shadow leaves the base enforced.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { PolicyRule, ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import { mergeBlock } from './merge.ts';
import type { Blocks } from './policies/block.ts';

/** What one policy says for one request: its base, and the rule that matched over it. */
export interface Layer {
  policy: ResiliencePolicy;
  rule: PolicyRule | undefined;
  /** Position of the rule in the policy. */
  position: number;
}

/** One place where a policy writes blocks. */
export interface Place {
  policy: ResiliencePolicy;
  /** Undefined beside rules. */
  rule: PolicyRule | undefined;
  /** "spec.rules[2]", "spec" */
  path: string;
  blocks: Blocks;
}

function placesOf({ policy, rule, position }: Layer): readonly Place[] {
  const base: Place = { policy, rule: undefined, path: 'spec', blocks: policy.spec };
  return rule === undefined ? [base] : [base, { policy, rule, path: `spec.rules[${position}]`, blocks: rule }];
}

/** All places, widest first. */
export function allPlaces(layers: readonly Layer[]): Place[] {
  return layers.flatMap(placesOf);
}

/** Where a block is written, to be enforced or shadowed; widest first. */
export function writingPlaces(layers: readonly Layer[], block: BlockName): Place[] {
  return allPlaces(layers).filter(({ blocks }) => blocks[block] !== undefined);
}

/** Where a block is written to be enforced, or to be switched off; widest first. */
export function enforcingPlaces(layers: readonly Layer[], block: BlockName): Place[] {
  return layers.flatMap((layer) => enforcedOf(layer, block));
}

function enforcedOf({ policy, rule, position }: Layer, block: BlockName): readonly Place[] {
  const own = rule?.[block];
  const base = policy.spec[block];
  const writing = placesOf({ policy, rule, position }).filter(({ blocks }) => blocks[block] !== undefined);
  const mode = own?.mode ?? base?.mode;
  if (mode !== 'Shadow') return writing;
  return own?.mode === 'Shadow' && base?.mode !== 'Shadow' ? writing.filter((place) => place.rule === undefined) : [];
}

/** The blocks that some policy shadows for these layers. */
export function shadowedBlocks(layers: readonly Layer[]): readonly ShadowBlock[] {
  return SHADOW_BLOCKS.filter((block) => {
    const isShadow = layers.some(({ policy, rule }) =>
      [policy.spec, rule].some((it) => it?.[block]?.mode === 'Shadow'),
    );
    return isShadow && enforcingPlaces(layers, block).length < writingPlaces(layers, block).length;
  });
}

/** What is enforced, merged; a block that no layer names is absent. */
export function mergeEnforced(layers: readonly Layer[]): Blocks {
  const merged: Record<string, unknown> = {};
  for (const block of BLOCKS) {
    for (const { blocks } of enforcingPlaces(layers, block)) {
      merged[block] = mergeBlock(block, merged[block], blocks[block] ?? {});
    }
  }
  return merged;
}

/** What would be enforced if nothing were only shadowed, merged. */
export function mergeWithShadow(layers: readonly Layer[]): Blocks {
  const merged: Record<string, unknown> = {};
  for (const block of BLOCKS) {
    for (const { blocks } of writingPlaces(layers, block)) {
      const written = blocks[block];
      const promoted = written?.mode === 'Shadow' ? { ...written, mode: 'Enforce' } : written;
      merged[block] = mergeBlock(block, merged[block], promoted ?? {});
    }
  }
  return merged;
}
