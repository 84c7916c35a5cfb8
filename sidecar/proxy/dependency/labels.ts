// What dependencies are called in metrics. PURE.
import type { DependencyPlan } from '../../../plan/plan.ts';

/** The name of the entry, or with its ServiceDependency where two entries have the same. */
export function labelsOf(
  dependencies: readonly Pick<DependencyPlan, 'id' | 'name' | 'serviceDependency'>[],
): Map<string, string> {
  const uses = new Map<string, number>();
  for (const { name } of dependencies) uses.set(name, (uses.get(name) ?? 0) + 1);
  return new Map(
    dependencies.map(({ id, name, serviceDependency }) => [
      id,
      (uses.get(name) ?? 0) > 1 ? `${serviceDependency}/${name}` : name,
    ]),
  );
}
