// Which policy acts on which target. A policy reaches targets of its own namespace only; of two policies on one target the older one
// counts, and the younger one says so in its status.
import type { TargetReference } from '../../crds/kubernetes.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { problem } from './problem.ts';
import type { Problem } from './result.ts';
import type { ObjectKey } from './world.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

export interface Attachments {
  /**
   * The policy in force, by target: "Platform", "Namespace shop", "Service shop/cart", "ServiceDependency shop/checkout",
   * "ServiceDependency shop/checkout payments".
   */
  byTarget: ReadonlyMap<string, ResiliencePolicy>;
  problems: readonly Problem[];
}

export function attach(index: WorldIndex): Attachments {
  const byTarget = new Map<string, ResiliencePolicy>();
  const problems: Problem[] = [];
  for (const policy of index.resiliencePolicies) {
    policy.spec.targetRefs.forEach((reference, position) => {
      const field = `spec.targetRefs[${position}]`;
      const wrong = unresolved(index, policy, reference, field);
      if (wrong) {
        problems.push(wrong);
        return;
      }
      const target = targetKey(policy.metadata.namespace, reference);
      const established = byTarget.get(target);
      if (established === undefined) byTarget.set(target, policy);
      else if (established !== policy) {
        const place = { kind: policy.kind, object: policy.metadata, field };
        problems.push(problem('Conflicted', place, { target, winner: keyOf(established.metadata) }));
      }
      if (reference.kind !== 'ServiceDependency') {
        const place = { kind: policy.kind, object: policy.metadata, field };
        problems.push(problem('ActsOnDeclaredCallsOnly', place, { target: describeTarget(target) }));
      }
    });
  }
  return { byTarget, problems };
}

/** Every target that one entry belongs to, widest first: keys of Attachments. `service`: undefined for a host. */
export function targetsOf(owner: ObjectKey, entry: string, service: ObjectKey | undefined): string[] {
  return [
    'Platform',
    `Namespace ${owner.namespace}`,
    ...(service === undefined ? [] : [`Service ${keyOf(service)}`]),
    `ServiceDependency ${keyOf(owner)}`,
    `ServiceDependency ${keyOf(owner)} ${entry}`,
  ];
}

/** The policies that act on one entry, widest target first. One that targets the entry at two levels acts at the narrower alone. */
export function policiesFor(attachments: Attachments, targets: readonly string[]): ResiliencePolicy[] {
  const found = targets.map((target) => attachments.byTarget.get(target));
  return found.filter(
    (policy, level): policy is ResiliencePolicy => policy !== undefined && found.lastIndexOf(policy) === level,
  );
}

/** "calls to Service shop/cart" and the like. */
function describeTarget(target: string): string {
  if (target === 'Platform') return 'calls of the platform';
  return target.startsWith('Namespace ') ? `calls made in ${target}` : `calls to ${target}`;
}

/** As users read it in messages, and the key of Attachments. */
export function targetKey(namespace: string, reference: TargetReference): string {
  if (reference.kind === 'Platform') return 'Platform';
  if (reference.kind === 'Namespace') return `Namespace ${reference.name}`;
  const section = reference.sectionName === undefined ? '' : ` ${reference.sectionName}`;
  return `${reference.kind} ${namespace}/${reference.name}${section}`;
}

function unresolved(
  index: WorldIndex,
  policy: ResiliencePolicy,
  reference: TargetReference,
  field: string,
): Problem | undefined {
  const { namespace } = policy.metadata;
  const key = keyOf({ namespace, name: reference.name });
  const at = (name: string) => ({ kind: policy.kind, object: policy.metadata, field: `${field}.${name}` });
  const target = `${reference.kind} ${key}`;
  if (reference.kind === 'Platform') {
    const { systemNamespace } = index;
    return namespace === systemNamespace
      ? undefined
      : problem('PlatformOfOperatorOnly', at('kind'), { namespace, systemNamespace });
  }
  if (reference.kind === 'Namespace') {
    return reference.name === namespace
      ? undefined
      : problem('NamespaceNotOwn', at('name'), { namespace, target: reference.name });
  }
  if (reference.kind === 'Service') {
    return index.services.has(key) ? undefined : problem('TargetNotFound', at('name'), { target });
  }
  const dependency = index.serviceDependencies.get(key);
  if (dependency === undefined) {
    return index.invalidKeys.has(target)
      ? problem('TargetInvalid', at('name'), { target })
      : problem('TargetNotFound', at('name'), { target });
  }
  const section = reference.sectionName;
  const present = dependency.spec.dependsOn.map((entry) => entry.name);
  if (section === undefined || present.includes(section)) return undefined;
  return problem('SectionNotFound', at('sectionName'), { target, section, present });
}
