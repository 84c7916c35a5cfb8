// Fallbacks to another entry of the same ServiceDependency. Which entries there are, and where their own fallbacks lead, no policy can
// see; so what leads nowhere or round in a circle is found here, told to who wrote it, and taken out of the plan.
//
// Circles are looked for between entries and not between rules: whether the rules of two entries would really send one request round depends
// on that request. An entry that leads back to itself by any of its rules has no such fallback.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { DependencyPlan, PolicyPlan } from '../../plan/plan.ts';
import type { CompiledDependencies, CompiledDependency } from './dependencies.ts';
import { canonicalJson, versionOf } from './identity.ts';
import { problem } from './problem.ts';
import { isTlsPort } from './protocol.ts';
import type { Problem } from './result.ts';
import { groupBy, keyOf } from './world-index.ts';

/** The entries of one ServiceDependency that can be called, by name. */
type Entries = ReadonlyMap<string, CompiledDependency>;

export function settleFallbacks({ dependencies, problems }: CompiledDependencies): CompiledDependencies {
  if (!dependencies.some(({ plan }) => targetsOf(plan).length > 0)) return { dependencies, problems };
  const found: Problem[] = [];
  const byOwner = groupBy(dependencies, ({ owner }) => keyOf(owner.metadata));
  const entriesOf = new Map(
    [...byOwner].map(([key, entries]) => [key, new Map(entries.map((entry) => [entry.plan.name, entry]))]),
  );
  const settled = dependencies.map((dependency) => {
    const entries: Entries = entriesOf.get(keyOf(dependency.owner.metadata)) ?? new Map();
    const refused = targetsOf(dependency.plan).filter((name) => {
      const told = problemsOf(dependency, name, entries);
      found.push(...(told ?? []));
      return told !== null;
    });
    return refused.length === 0 ? dependency : without(dependency, refused);
  });
  return { dependencies: settled, problems: [...problems, ...found] };
}

/** The entries that rows of the plan fall back to. */
function targetsOf({ policies }: Pick<DependencyPlan, 'policies'>): string[] {
  const names = policies.flatMap(({ fallback }) => (fallback?.dependency ? [fallback.dependency] : []));
  return [...new Set(names)].sort();
}

/** Why requests of `dependency` cannot be sent to `name`; null: they can. One problem for every place that says so. */
function problemsOf(dependency: CompiledDependency, name: string, entries: Entries): Problem[] | null {
  const { id } = dependency.plan;
  // "All entries fall back to this one" means all others.
  const toItself = name === dependency.plan.name;
  const policies = toItself ? dependency.policies.filter((policy) => namesEntry(policy, name)) : dependency.policies;
  const places = policies.flatMap((policy) => placesOf(policy, name));
  const target = entries.get(name);
  if (target === undefined) {
    const present = [...entries.keys()].filter((entry) => entry !== dependency.plan.name).sort();
    const details = { dependency: id, fallback: name, present };
    return places.map((place) => problem('FallbackNotFound', place, details));
  }
  if (target.plan.protocol === 'Opaque' || isTlsPort(target.plan.host))
    return places.map((place) => problem('FallbackNotHttp', place, { dependency: id, fallback: name }));
  const circle = circleThrough(dependency.plan.name, name, entries);
  if (circle === undefined) return null;
  return places.map((place) => problem('FallbackLoop', place, { dependency: id, circle: circle.join(' → ') }));
}

/** The way from `first` by `second` back to `first`; undefined: there is none. */
function circleThrough(first: string, second: string, entries: Entries): string[] | undefined {
  const ways = [[first, second]];
  const seen = new Set<string>();
  for (let way = ways.shift(); way; way = ways.shift()) {
    const last = way.at(-1) ?? '';
    if (last === first) return way;
    if (seen.has(last)) continue;
    seen.add(last);
    const entry = entries.get(last);
    if (entry) ways.push(...targetsOf(entry.plan).map((next) => [...(way ?? []), next]));
  }
  return undefined;
}

const namesEntry = ({ spec }: ResiliencePolicy, name: string): boolean =>
  spec.targetRefs.some(({ sectionName }) => sectionName === name);

/** Where a policy writes `dependency: <name>`. */
function placesOf(policy: ResiliencePolicy, name: string) {
  const { spec, kind, metadata } = policy;
  const at = (field: string) => ({ kind, object: metadata, field: `${field}.fallback.dependency` });
  const places = spec.fallback?.dependency === name ? [at('spec')] : [];
  spec.rules?.forEach((rule, position) => {
    if (rule.fallback?.dependency === name) places.push(at(`spec.rules[${position}]`));
  });
  return places;
}

function without(dependency: CompiledDependency, refused: readonly string[]): CompiledDependency {
  const policies = dependency.plan.policies.map((row): PolicyPlan => {
    const { fallback } = row;
    if (!fallback?.dependency || !refused.includes(fallback.dependency)) return row;
    return { ...row, fallback: { ...fallback, dependency: null } };
  });
  const plan = { ...dependency.plan, policies };
  return { ...dependency, plan, version: versionOf(plan), bytes: Buffer.byteLength(canonicalJson(plan)) };
}
