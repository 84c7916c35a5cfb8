// The policies of one dependency as the table that a sidecar reads: the rules of every level, and for each tuple of matched rules the
// row that is enforced. Dependencies with the same policies share the work.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { PolicyRule, ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { type DependencyPlan, PLAN_LIMITS, type PolicyPlan, type RulePlan, type ShadowPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS } from '../../plan/policies/blocks.ts';
import { canonicalJson, versionOf } from './identity.ts';
import type { Layer } from './layers.ts';
import type { BlockCompiler } from './policies/block.ts';
import { COMPILERS, eachBlock } from './policies/blocks.ts';
import { type BlockPlans, compileRow, type LocatedContradiction, ruleOf, type SwitchedOff } from './row.ts';
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

export interface Routes {
  http: MeasuredTable;
  /** What is enforced on an opaque connection: what acts there beside the rules, for there are no requests that a rule could match. */
  opaque: MeasuredTable;
  /** The policies in the table, widest first. */
  policies: readonly ResiliencePolicy[];
  /** Policies whose rules would make the table too large. */
  leftOut: readonly { policy: ResiliencePolicy; combinations: number }[];
  contradictions: readonly LocatedContradiction[];
  switchedOff: readonly SwitchedOff[];
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
  const plans = eachBlock<BlockPlans>((block) => onConnections(block, row[block]));
  const sources = Object.fromEntries(
    Object.entries(row.sources).filter(([block]) => plans[block as BlockName] !== null),
  );
  const shadow = row.shadow === undefined ? undefined : shadowOnConnections(row.shadow);
  return onlyRow({ rule: row.rule, ...plans, sources, ...(shadow === undefined ? {} : { shadow }) });
}

/** What of a block of a plan acts on connections whose bytes cannot be read; what is in a plan without the block: nothing of it. */
export function onConnections<B extends BlockName>(block: B, plan: BlockPlans[B]): BlockPlans[B] {
  const compiler: BlockCompiler<B> = COMPILERS[block];
  if (plan === null || compiler.needsCodec === 'All') return compiler.absent as BlockPlans[B];
  // The key of its state is not among what it looks at, and stays.
  return (compiler.onConnections ? compiler.onConnections(plan) : plan) as BlockPlans[B];
}

/** Undefined: nothing of it acts there. */
function shadowOnConnections(shadow: ShadowPlan): ShadowPlan | undefined {
  const plans = SHADOW_BLOCKS.map((block) => {
    const plan = shadow[block];
    return [block, plan === null || COMPILERS[block].needsCodec === 'All' ? null : onConnections(block, plan)] as const;
  });
  if (plans.every(([, plan]) => plan === null)) return undefined;
  return Object.fromEntries(plans) as unknown as ShadowPlan;
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
    matches: rule.matches.map((match) => ({
      ...requestOf(match),
      ...(match.headers === undefined ? {} : { headers: match.headers.map(headerOf) }),
    })),
  }));
}

type Match = PolicyRule['matches'][number];
type HeaderMatch = NonNullable<Match['headers']>[number];

/** A call of gRPC is a POST to /SERVICE/METHOD (gRPC over HTTP/2, "Requests"). */
function requestOf({ method, path, grpc }: Match): Pick<RulePlan['matches'][number], 'method' | 'path'> {
  if (grpc?.method !== undefined)
    return { method: 'POST', path: { type: 'Exact', value: `/${grpc.service}/${grpc.method}` } };
  if (grpc !== undefined) return { method: 'POST', path: { type: 'PathPrefix', value: `/${grpc.service}` } };
  return { method: method ?? null, path: path === undefined ? null : { type: path.type, value: path.value } };
}

/** Names of headers have no case: in a plan theirs is the lower one. */
function headerOf({ name, type = 'Exact', value = '' }: HeaderMatch) {
  return { name: name.toLowerCase(), type, value };
}
