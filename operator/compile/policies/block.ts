// What a block of policies says of itself so that compile, explain and status can treat all blocks alike. Each block says it in a file of
// its own; blocks.ts is the list of them.
import type { BlockName } from '../../../crds/policies/blocks.ts';
import type { ResiliencePolicySpec } from '../../../crds/resilience-policy.ts';
import type { PolicyPlan } from '../../../plan/plan.ts';
import type { Contradiction } from './contradictions.ts';

/** The part of a policy, or of one of its rules, that merges. */
export type Blocks = Pick<ResiliencePolicySpec, BlockName>;
/** A block that is there. */
export type Written<B extends BlockName> = NonNullable<Blocks[B]>;
/** What a block acts by, without the key of its state, which depends on the rules and not on the numbers. */
export type Numbers<B extends BlockName> = Omit<NonNullable<PolicyPlan[B]>, 'stateKey'>;
/** As Numbers, or what is in the plan where the block does not act. */
export type NumbersOrAbsent<B extends BlockName> = null extends PolicyPlan[B] ? Numbers<B> | null : Numbers<B>;

/** "retries.backoff.max": as users write it. */
export type FieldName = `${BlockName}.${string}`;

/** Takes what the merge shows and the schema of one object cannot. */
export interface Findings {
  /** A contradiction, which is settled in the safer direction. */
  tell: (contradiction: Contradiction) => void;
  /** `field` has the value of `leader`, as its default or because it would contradict it. */
  follow: (field: FieldName, leader: FieldName) => void;
}

export interface BlockCompiler<B extends BlockName> {
  /** What is in the plan where no policy sets the block, or it is switched off. */
  absent: NumbersOrAbsent<B>;
  /** Whether the sidecar keeps counters for it, which live by a key. */
  hasState: NonNullable<PolicyPlan[B]> extends { stateKey: string } ? true : false;
  /** The fields that act on HTTP only, where others act on opaque connections too; All: the block does nothing without a codec. */
  needsCodec: 'All' | readonly (keyof Written<B> & string)[];
  /** What of a block that acts on opaque connections is enforced there; null: nothing. All of it where absent. */
  onConnections?(numbers: Numbers<B>): Numbers<B> | null;
  /** As it is written, it does nothing on opaque connections, though others like it do. */
  needsCodecAsWritten?(block: Written<B>): boolean;
  /** It acts where the sidecar chooses the endpoint, and nowhere else. */
  actsOnChoice?: true;
  /** The merged block with its defaults filled in, consistent in itself. */
  toPlan(block: Written<B>, findings: Findings): Numbers<B>;
  /** The user's name of each value of the plan. */
  fields: Readonly<Record<keyof Numbers<B>, string>>;
  /** Where one field of the user is several values of the plan: which one each is. */
  aspects?: Readonly<Partial<Record<keyof Numbers<B>, string>>>;
}
