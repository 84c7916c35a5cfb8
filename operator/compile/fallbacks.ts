// Fallbacks to another entry of the same ServiceDependency. Which entries there are, and where their own fallbacks lead, no policy can
// see; so what leads nowhere or round in a circle is found here, told to who wrote it, and taken out of the plan.
//
// Circles are looked for between entries and not between rules: whether the rules of two entries would really send one request round depends
// on that request. An entry that leads back to itself by any of its rules has no such fallback.
//
// A fallback in shadow is looked at as if it were enforced, beside those that are; what is enforced, without those in shadow.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { DependencyPlan, PolicyPlan } from '../../plan/plan.ts';
import type { FallbackPlan } from '../../plan/policies/fallback.ts';
import type { CompiledDependencies, CompiledDependency } from './dependencies.ts';
import { canonicalJson, versionOf } from './identity.ts';
import { problem } from './problem.ts';
import { isTlsPort } from './protocol.ts';
import type { Problem } from './result.ts';
import { groupBy, keyOf } from './world-index.ts';

/** The entries of one ServiceDependency that can be called, by name, and whether fallbacks in shadow count. */
interface Entries {
  byName: ReadonlyMap<string, CompiledDependency>;
  isShadow: boolean;
}

const NO_ENTRIES: Entries['byName'] = new Map();

export function settleFallbacks({ dependencies, problems }: CompiledDependencies): CompiledDependencies {
  if (!dependencies.some(({ plan }) => targetsOf(plan, true).length > 0)) return { dependencies, problems };
  const found: Problem[] = [];
  const byOwner = groupBy(dependencies, ({ owner }) => keyOf(owner.metadata));
  const entriesOf = new Map(
    [...byOwner].map(([key, entries]) => [key, new Map(entries.map((entry) => [entry.plan.name, entry]))]),
  );
  const settled = dependencies.map((dependency) => {
    const byName = entriesOf.get(keyOf(dependency.owner.metadata)) ?? NO_ENTRIES;
    const refusedOf = (isShadow: boolean) =>
      targetsOf(dependency.plan, isShadow).filter((name) => {
        const told = problemsOf(dependency, name, { byName, isShadow });
        found.push(...(told ?? []));
        return told !== null;
      });
    const refused = refusedOf(false);
    const refusedInShadow = refusedOf(true);
    return refusedInShadow.length === 0 ? dependency : without(dependency, refused, refusedInShadow);
  });
  return { dependencies: settled, problems: [...problems, ...found] };
}

/** The entries that rows of the plan fall back to; `withShadow`: or would. */
function targetsOf({ policies }: Pick<DependencyPlan, 'policies'>, withShadow: boolean): string[] {
  const names = policies.flatMap(({ fallback, shadow }) => [
    fallback?.dependency ?? [],
    (withShadow && shadow?.fallback?.dependency) || [],
  ]);
  return [...new Set(names.flat())].sort();
}

/** Why requests of `dependency` cannot be sent to `name`; null: they can. One problem for every place that says so. */
function problemsOf(dependency: CompiledDependency, name: string, entries: Entries): Problem[] | null {
  const { id } = dependency.plan;
  // "All entries fall back to this one" means all others.
  const toItself = name === dependency.plan.name;
  const policies = toItself ? dependency.policies.filter((policy) => namesEntry(policy, name)) : dependency.policies;
  const { byName, isShadow } = entries;
  const isEnforced = !isShadow;
  const places = policies.flatMap((policy) => placesOf(policy, name, isShadow));
  const target = byName.get(name);
  if (target === undefined) {
    const present = [...byName.keys()].filter((entry) => entry !== dependency.plan.name).sort();
    const details = { dependency: id, fallback: name, present, isEnforced };
    return places.map((place) => problem('FallbackNotFound', place, details));
  }
  if (target.plan.protocol === 'Opaque' || isTlsPort(target.plan.host))
    return places.map((place) => problem('FallbackNotHttp', place, { dependency: id, fallback: name, isEnforced }));
  const circle = circleThrough(dependency.plan.name, name, entries);
  if (circle === undefined) return null;
  return places.map((place) =>
    problem('FallbackLoop', place, { dependency: id, circle: circle.join(' → '), isEnforced }),
  );
}

/** The way from `first` by `second` back to `first`; undefined: there is none. */
function circleThrough(first: string, second: string, { byName, isShadow }: Entries): string[] | undefined {
  const ways = [[first, second]];
  const seen = new Set<string>();
  for (let way = ways.shift(); way; way = ways.shift()) {
    const last = way.at(-1) ?? '';
    if (last === first) return way;
    if (seen.has(last)) continue;
    seen.add(last);
    const entry = byName.get(last);
    if (entry) ways.push(...targetsOf(entry.plan, isShadow).map((next) => [...(way ?? []), next]));
  }
  return undefined;
}

const namesEntry = ({ spec }: ResiliencePolicy, name: string): boolean =>
  spec.targetRefs.some(({ sectionName }) => sectionName === name);

/** Where a policy writes `dependency: <name>`, to be enforced or in shadow. */
function placesOf(policy: ResiliencePolicy, name: string, isShadow: boolean) {
  const { spec, kind, metadata } = policy;
  const at = (field: string) => ({ kind, object: metadata, field: `${field}.fallback.dependency` });
  const isMeant = (mode: string | undefined) => (mode === 'Shadow') === isShadow;
  const base = spec.fallback;
  const places = base?.dependency === name && isMeant(base.mode) ? [at('spec')] : [];
  spec.rules?.forEach(({ fallback }, position) => {
    if (fallback?.dependency === name && isMeant(fallback.mode ?? base?.mode))
      places.push(at(`spec.rules[${position}]`));
  });
  return places;
}

function without(
  dependency: CompiledDependency,
  refused: readonly string[],
  refusedInShadow: readonly string[],
): CompiledDependency {
  const settle = (fallback: FallbackPlan | null, names: readonly string[]): FallbackPlan | null =>
    fallback?.dependency && names.includes(fallback.dependency) ? { ...fallback, dependency: null } : fallback;
  const policies = dependency.plan.policies.map(({ shadow, ...row }): PolicyPlan => {
    const settled = { ...row, fallback: settle(row.fallback, refused) };
    if (shadow === undefined) return settled;
    return { ...settled, shadow: { ...shadow, fallback: settle(shadow.fallback, refusedInShadow) } };
  });
  const plan = { ...dependency.plan, policies };
  return { ...dependency, plan, version: versionOf(plan), bytes: Buffer.byteLength(canonicalJson(plan)) };
}
