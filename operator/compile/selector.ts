// Which ServiceDependencies select a pod. A selector is tried only on pods that carry one of the labels it demands, so that a namespace
// with many of both costs the sum of them and not the product.
import type { LabelSelector } from '../../crds/kubernetes.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';

type Labels = Readonly<Record<string, string>>;

/** Kubernetes' semantics: all parts must hold, NotIn and DoesNotExist hold where the label is absent, an empty selector for every pod. */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (valueOf(labels, key) !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) =>
    OPERATORS[operator](valueOf(labels, key), values),
  );
}

type Requirement = NonNullable<LabelSelector['matchExpressions']>[number];

const OPERATORS: Record<Requirement['operator'], (value: string | undefined, values: readonly string[]) => boolean> = {
  In: (value, values) => value !== undefined && values.includes(value),
  NotIn: (value, values) => value === undefined || !values.includes(value),
  Exists: (value) => value !== undefined,
  DoesNotExist: (value) => value === undefined,
};

function valueOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** Finds those that select a pod with the given labels; the ServiceDependencies are all of the pod's namespace. */
export function createSelection(
  serviceDependencies: readonly ServiceDependency[],
): (labels: Labels) => ServiceDependency[] {
  const byLabel = new Map<string, ServiceDependency[]>();
  const others: ServiceDependency[] = [];
  for (const dependency of serviceDependencies) {
    const demanded = Object.entries(dependency.spec.consumer.selector.matchLabels ?? {})[0];
    if (demanded === undefined) others.push(dependency);
    else {
      const label = demanded.join('=');
      const bucket = byLabel.get(label);
      if (bucket) bucket.push(dependency);
      else byLabel.set(label, [dependency]);
    }
  }
  return (labels) => {
    const candidates = [...others];
    for (const [key, value] of Object.entries(labels)) candidates.push(...(byLabel.get(`${key}=${value}`) ?? []));
    return candidates.filter((dependency) => matchesSelector(dependency.spec.consumer.selector, labels));
  };
}
