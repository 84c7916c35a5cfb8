// What a merged policy means in numbers: every default filled in, by the table that the custom resource documents. Contradictions that
// only the merge shows are settled here in the safer direction and told, so that the plan itself is always consistent.
import type { Blocks, FieldName } from './policies/block.ts';
import { type AllNumbers, active, COMPILERS, eachBlock } from './policies/blocks.ts';
import type { Contradiction } from './policies/contradictions.ts';
import { RELATIONS, SETTLEMENTS } from './policies/relations.ts';

export interface Effective {
  /** Without the keys of their state, which depend on the rules and not on the numbers. */
  numbers: AllNumbers;
  contradictions: readonly Contradiction[];
  /**
   * Fields that have the value of another one, as their default or because they would contradict it: "timeouts.attempt" →
   * "timeouts.request".
   */
  follows: ReadonlyMap<FieldName, FieldName>;
}

export function applyDefaults(blocks: Blocks): Effective {
  const contradictions: Contradiction[] = [];
  const follows = new Map<FieldName, FieldName>();
  const tell = (contradiction: Contradiction) => contradictions.push(contradiction);
  const follow = (field: FieldName, leader: FieldName) => follows.set(field, leader);
  let numbers = eachBlock<AllNumbers>((name) => {
    const block = active(blocks, name);
    const own = block === undefined ? COMPILERS[name].absent : COMPILERS[name].toPlan(block, { tell, follow });
    return own as AllNumbers[typeof name];
  });
  for (const settle of SETTLEMENTS) numbers = settle(blocks, numbers, { tell, follow });
  for (const relation of RELATIONS) relation(blocks, numbers, tell);
  return { numbers, contradictions, follows };
}
