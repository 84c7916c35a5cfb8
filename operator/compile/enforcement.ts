// The kill switch: an annotation on the consumer's namespace or on the ServiceDependency. It is thrown in an emergency, so letter case
// does not matter; a value that means nothing is told, for whoever wrote it believes the policies are off.
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { DependencyPlan } from '../../plan/plan.ts';
import { problem } from './problem.ts';
import type { Problem } from './result.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

export const ENFORCEMENT_ANNOTATION = 'breakwater.dev/enforcement';

export interface Enforcement {
  value: DependencyPlan['enforcement'];
  /** Where it is switched off: "Namespace shop". */
  disabledBy: readonly string[];
  problems: readonly Problem[];
}

export function enforcementOf(index: WorldIndex, owner: ServiceDependency): Enforcement {
  const { namespace, annotations } = owner.metadata;
  const written = [
    {
      on: `Namespace ${namespace}`,
      field: '',
      value: index.namespaces.get(namespace)?.annotations[ENFORCEMENT_ANNOTATION],
    },
    {
      on: `ServiceDependency ${keyOf(owner.metadata)}`,
      field: 'metadata.annotations',
      value: annotations[ENFORCEMENT_ANNOTATION],
    },
  ];
  const disabledBy: string[] = [];
  const problems: Problem[] = [];
  for (const annotation of written) {
    if (annotation.value === undefined) continue;
    const place = { kind: owner.kind, object: owner.metadata, field: annotation.field };
    const meaning = annotation.value.trim().toLowerCase();
    if (meaning === 'disabled') {
      disabledBy.push(annotation.on);
      problems.push(problem('EnforcementDisabled', place, { on: annotation.on }));
    } else if (meaning !== 'enabled') {
      problems.push(problem('InvalidEnforcementAnnotation', place, { on: annotation.on, value: annotation.value }));
    }
  }
  return { value: disabledBy.length > 0 ? 'Disabled' : 'Enabled', disabledBy, problems };
}
