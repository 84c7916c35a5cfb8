// The policies of one dependency as the table that a sidecar reads: the rules of every level, and for each tuple of matched rules the
// row that is enforced. Dependencies with the same policies share the work.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { PolicyRule, ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { type DependencyPlan, PLAN_LIMITS, type PolicyPlan, type RulePlan } from '../../plan/plan.ts';
import { applyDefaults } from './defaults.ts';
import { canonicalJson, versionOf } from './identity.ts';
import { mergeBlocks } from './merge.ts';
import type { Blocks } from './policies/block.ts';
import { type AllNumbers, active, COMPILERS, eachBlock } from './policies/blocks.ts';
import type { Contradiction } from './policies/contradictions.ts';
import { keyOf } from './world-index.ts';

/**
 * Different outcomes of one dependency's rules; at about a kilobyte each, so many still leave room for others in the largest frame, and
 * take milliseconds to compute.
 */
export const MAX_ROWS = 4096;

export type RouteTable = Pick<DependencyPlan, 'levels' | 'combinations' | 'policies'>;

/** A table with what would be too costly to compute for each dependency and plan that holds it. */
export interface MeasuredTable {
  table: RouteTable;
  version: string;
  /** As JSON. */
  bytes: number;
}

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

export interface Routes {
  http: MeasuredTable;
  /** What is enforced on an opaque connection: the timeouts beside the rules, for there are no requests that a rule could match. */
  opaque: MeasuredTable;
  /** The policies in the table, widest first. */
  policies: readonly ResiliencePolicy[];
  /** Policies whose rules would make the table too large. */
  leftOut: readonly { policy: ResiliencePolicy; combinations: number }[];
  contradictions: readonly LocatedContradiction[];
  switchedOff: readonly SwitchedOff[];
}

/** What one policy says for one request: its base, and the rule that matched over it. */
export interface Layer {
  policy: ResiliencePolicy;
  rule: PolicyRule | undefined;
  /** Position of the rule in the policy. */
  position: number;
}

/** One step of the cache per policy; a policy that changed is another object, and what was known of the old one is collected with it. */
interface Known {
  routes?: Routes;
  narrower: WeakMap<ResiliencePolicy, Known>;
}

const root: Known = { narrower: new WeakMap() };

/**
 * The table of a list of policies, widest first. A function of its argument alone; the same policies, as objects, give the same result
 * without the work, since most changes of a world (pods, endpoints) change no policy.
 */
export function routesOf(policies: readonly ResiliencePolicy[]): Routes {
  let known = root;
  for (const policy of policies) {
    let next = known.narrower.get(policy);
    if (next === undefined) {
      next = { narrower: new WeakMap() };
      known.narrower.set(policy, next);
    }
    known = next;
  }
  known.routes ??= compileRoutes(policies);
  return known.routes;
}

function compileRoutes(policies: readonly ResiliencePolicy[]): Routes {
  const kept: ResiliencePolicy[] = [];
  const leftOut: { policy: ResiliencePolicy; combinations: number }[] = [];
  let tabulated = tabulate(kept);
  for (const policy of policies) {
    const combinations = [...kept, policy].reduce((product, it) => product * (rulesOf(it).length + 1), 1);
    const attempt = combinations > PLAN_LIMITS.combinations ? undefined : tabulate([...kept, policy]);
    if (attempt === undefined) leftOut.push({ policy, combinations });
    else {
      kept.push(policy);
      tabulated = attempt;
    }
  }
  if (tabulated === undefined) throw new Error('a table without policies has one row');
  const { table, contradictions, switchedOff } = tabulated;
  return {
    http: measured(table),
    opaque: measured(opaqueTable(table)),
    policies: kept,
    leftOut,
    contradictions,
    switchedOff,
  };
}

function measured(table: RouteTable): MeasuredTable {
  const json = canonicalJson(table);
  return { table, version: versionOf(table), bytes: Buffer.byteLength(json) };
}

function opaqueTable(table: RouteTable): RouteTable {
  const row = baseRow(table);
  const acting = BLOCKS.filter((block) => COMPILERS[block].needsCodec !== 'All');
  const plans = eachBlock<BlockPlans>((block) =>
    acting.includes(block) ? row[block] : (COMPILERS[block].absent as BlockPlans[typeof block]),
  );
  const sources = Object.fromEntries(
    Object.entries(row.sources).filter(([block]) => acting.includes(block as BlockName)),
  );
  return onlyRow({ ...row, ...plans, sources });
}

/** The same without its rules. */
export function withoutRules(table: RouteTable): RouteTable {
  return onlyRow(baseRow(table));
}

function onlyRow(row: PolicyPlan): RouteTable {
  return { levels: [], combinations: [0], policies: [row] };
}

function baseRow(table: RouteTable): PolicyPlan {
  const row = table.policies[table.combinations[0] ?? 0];
  if (row === undefined) throw new Error('a table has a row for requests that match no rule');
  return row;
}

interface Tabulated {
  table: RouteTable;
  contradictions: readonly LocatedContradiction[];
  switchedOff: readonly SwitchedOff[];
}

/** Undefined: more outcomes than a plan should hold. */
function tabulate(policies: readonly ResiliencePolicy[]): Tabulated | undefined {
  const numberByOutcome = new Map<string, number>();
  const numberByRow = new Map<string, number>();
  const rows: PolicyPlan[] = [];
  const combinations: number[] = [];
  const contradictions = new Map<string, LocatedContradiction>();
  const switchedOff = new Map<string, SwitchedOff>();
  for (const layers of tuples(policies)) {
    const outcome = outcomeOf(layers);
    let number = numberByOutcome.get(outcome);
    if (number === undefined) {
      if (numberByOutcome.size === MAX_ROWS) return undefined;
      const { row, found, off } = compileRow(layers);
      const identity = canonicalJson(row);
      number = numberByRow.get(identity) ?? rows.push(row) - 1;
      numberByRow.set(identity, number);
      numberByOutcome.set(outcome, number);
      for (const it of found) {
        contradictions.set(canonicalJson([keyOf(it.policy.metadata), it.field, it.contradiction]), it);
      }
      for (const it of off) switchedOff.set(`${keyOf(it.policy.metadata)} ${it.field}`, it);
    }
    combinations.push(number);
  }
  return {
    table: { levels: policies.map(levelOf), combinations, policies: rows },
    contradictions: [...contradictions.values()],
    switchedOff: [...switchedOff.values()],
  };
}

/**
 * What a row depends on: the name of the narrowest rule, and for each block the rules that name it. Tuples that are alike in that share
 * their row without computing it.
 */
function outcomeOf(layers: readonly Layer[]): string {
  let outcome = ruleOf(layers);
  for (const block of BLOCKS) {
    outcome += ' ';
    for (const { rule, position } of layers) outcome += `,${rule?.[block] === undefined ? '' : position}`;
  }
  return outcome;
}

function ruleOf(layers: readonly Layer[]): string {
  return layers.findLast((layer) => layer.rule !== undefined)?.rule?.name ?? 'base';
}

/** Every tuple of matched rules in the order of `combinations`: no rule first, the narrowest level counting fastest. */
function* tuples(
  policies: readonly ResiliencePolicy[],
  depth = 0,
  chosen: readonly Layer[] = [],
): Generator<readonly Layer[]> {
  const policy = policies[depth];
  if (policy === undefined) {
    yield chosen;
    return;
  }
  yield* tuples(policies, depth + 1, [...chosen, { policy, rule: undefined, position: -1 }]);
  for (const [position, rule] of rulesOf(policy).entries()) {
    yield* tuples(policies, depth + 1, [...chosen, { policy, rule, position }]);
  }
}

function rulesOf(policy: ResiliencePolicy): readonly PolicyRule[] {
  return policy.spec.rules ?? [];
}

function levelOf(policy: ResiliencePolicy): RulePlan[] {
  return rulesOf(policy).map((rule) => ({
    name: rule.name,
    matches: rule.matches.map(({ method, path, headers }) => ({
      method: method ?? null,
      path: path === undefined ? null : { type: path.type, value: path.value },
      ...(headers === undefined ? {} : { headers: headers.map(headerOf) }),
    })),
  }));
}

type HeaderMatch = NonNullable<PolicyRule['matches'][number]['headers']>[number];

/** Names of headers have no case: in a plan theirs is the lower one. */
function headerOf({ name, type = 'Exact', value = '' }: HeaderMatch) {
  return { name: name.toLowerCase(), type, value };
}

export function blocksOf(layer: Layer): Blocks[] {
  return layer.rule === undefined ? [layer.policy.spec] : [layer.policy.spec, layer.rule];
}

function compileRow(layers: readonly Layer[]) {
  const merged = mergeBlocks(layers.flatMap(blocksOf));
  const { numbers, contradictions } = applyDefaults(merged);
  const row: PolicyPlan = { rule: ruleOf(layers), ...plansOf(layers, numbers), sources: {} };
  for (const block of BLOCKS) {
    if (active(merged, block) !== undefined) row.sources[block] = sourceOf(layers, block);
  }
  return { row, found: contradictions.map((it) => locate(layers, it)), off: switchedOffIn(layers, merged) };
}

type BlockPlans = Pick<PolicyPlan, BlockName>;

/** The numbers of each block, with the key of its state where it has any. */
function plansOf(layers: readonly Layer[], numbers: AllNumbers): BlockPlans {
  return eachBlock<BlockPlans>((block) => {
    const own = numbers[block];
    // That a block with state has a key in its plan, and no other block, is what the type of COMPILERS checks.
    const keyed = own !== null && COMPILERS[block].hasState ? { stateKey: stateKeyOf(layers, block), ...own } : own;
    return keyed as BlockPlans[typeof block];
  });
}

/**
 * State outlives changed numbers: it belongs to the block and to the rules that set any of its fields, not to what they set. Rules are
 * named with their policy, since two policies may name a rule alike.
 */
function stateKeyOf(layers: readonly Layer[], block: BlockName): string {
  const rules: string[] = [];
  for (const { policy, rule } of layers) {
    if (rule !== undefined && Object.keys(rule[block] ?? {}).length > 0)
      rules.push(`${keyOf(policy.metadata)}/${rule.name}`);
  }
  const name = rules.length === 0 ? 'base' : rules.join('+');
  // Three long names may not fit; the hash of them is as stable.
  return `${block}:${name.length <= 900 ? name : versionOf(name)}`;
}

/** Narrowest first; the narrowest alone where all would be too long. */
function sourceOf(layers: readonly Layer[], block: BlockName): string {
  const sources = layers
    .filter(({ policy, rule }) => policy.spec[block] !== undefined || rule?.[block] !== undefined)
    .map(({ policy }) => `ResiliencePolicy ${keyOf(policy.metadata)} generation ${policy.metadata.generation}`)
    .reverse();
  const all = sources.join(' over ');
  return all.length <= 512 ? all : (sources[0] ?? '');
}

/** Where a policy writes its blocks, narrowest first: "spec.rules[2]", "spec". */
export function* places(
  layers: readonly Layer[],
): Generator<{ policy: ResiliencePolicy; path: string; blocks: Blocks }> {
  for (const { policy, rule, position } of layers.toReversed()) {
    if (rule !== undefined) yield { policy, path: `spec.rules[${position}]`, blocks: rule };
    yield { policy, path: 'spec', blocks: policy.spec };
  }
}

function locate(layers: readonly Layer[], contradiction: Contradiction): LocatedContradiction {
  for (const { policy, path, blocks } of places(layers)) {
    for (const [block, field] of contradiction.fields) {
      if (!writes(blocks[block], field)) continue;
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
    for (const { policy, path, blocks } of places(layers)) {
      if (blocks[block] === undefined) continue;
      if (blocks[block].mode === 'Disabled') {
        found.push(...inVain.map((it) => ({ ...it, block, by: policy })));
        break;
      }
      inVain.push({ policy, field: `${path}.${block}` });
    }
  }
  return found;
}
