// What valid objects say together: references, conflicts, contradictions of merged policies. The operator's own compiler finds them; here
// stands what a set of files, which is never all of a cluster, allows to conclude from it. Pure.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { compile } from '../../operator/compile/compile.ts';
import type { Reason } from '../../operator/compile/problem.ts';
import type { Problem } from '../../operator/compile/result.ts';
import type { ObjectKey, World, WorldService } from '../../operator/compile/world.ts';
import { groupBy, keyOf } from '../../operator/compile/world-index.ts';
import { assumedService, serviceReferences } from '../manifests/world.ts';
import type { Severity } from './report.ts';
import { suggestion } from './similar.ts';

export interface JointFinding {
  kind: string;
  object: ObjectKey;
  field: string;
  severity: Severity;
  reason: string;
  message: string;
}

export interface Together {
  findings: readonly JointFinding[];
  unchecked: readonly string[];
}

/** `pods` of the world are those of the workloads among the files. */
export function checkTogether(world: World): Together {
  const references = checkReferences(world);
  const { problems } = compile({ ...world, services: [...world.services, ...references.assumed] });
  const targets = checkTargets(world, problems);
  const selectors = checkSelectors(world, problems);
  return {
    findings: [...references.findings, ...targets.findings, ...selectors.findings, ...problems.flatMap(judge)],
    unchecked: [...references.unchecked, ...targets.unchecked, ...selectors.unchecked],
  };
}

/** Judged above, told where the object itself is checked, or only to be known on a cluster. */
const ELSEWHERE: ReadonlySet<string> = new Set<Reason>([
  'Invalid',
  'TargetInvalid',
  'TargetNotFound',
  'NoPodsSelected',
  'PodsNotInjected',
]);

/** True, and nothing that anybody would change. */
const NOTES: ReadonlySet<string> = new Set<Reason>(['ActsOnDeclaredCallsOnly', 'EnforcementDisabledThere']);

function judge(problem: Problem): JointFinding[] {
  const { kind, object, field, reason, message } = problem;
  if (ELSEWHERE.has(reason)) return [];
  return [{ kind, object, field, reason, severity: severityOf(problem), message: withoutAge(message) }];
}

/** Files do not say which of two policies will be older. */
function withoutAge(message: string): string {
  return message.replace(
    / is older and targets (.+) too, so this one has no effect on it; /,
    ' targets $1 too, and only the one that is created first will have an effect on it; ',
  );
}

function severityOf({ reason, severity, message }: Problem): Severity {
  // Who declares calls to a Service may be anybody, in any namespace.
  const isAboutOtherCallers = reason === 'ActsOnNothing' && message.includes('belongs to Service ');
  if (NOTES.has(reason) || isAboutOtherCallers) return 'note';
  return severity === 'Error' ? 'error' : 'warning';
}

interface Missing extends ObjectKey {
  kind: string;
  object: ObjectKey;
  field: string;
}

/**
 * A Service that is not among the files: a mistake where its namespace has others there, likely one where only other namespaces have, and
 * nothing that files could tell where there is none at all.
 */
function checkReferences(world: World): Together & { assumed: readonly WorldService[] } {
  const present = new Set(world.services.map(keyOf));
  const namesByNamespace = groupBy(world.services, ({ namespace }) => namespace);
  const declared = serviceReferences(world.serviceDependencies).filter((reference) => !present.has(keyOf(reference)));
  const targeted = world.resiliencePolicies.flatMap(serviceTargets).filter((target) => !present.has(keyOf(target)));
  const missing: Missing[] = [
    ...declared.map(({ owner, field, namespace, name }) => ({
      kind: owner.kind,
      object: owner.metadata,
      field: `${field}.name`,
      namespace,
      name,
    })),
    ...targeted,
  ];
  const findings: JointFinding[] = [];
  const unchecked = new Map<string, Set<string>>();
  for (const { kind, object, field, namespace, name } of missing) {
    const siblings = namesByNamespace.get(namespace)?.map((service) => service.name);
    const reason = kind === 'ResiliencePolicy' ? 'TargetNotFound' : 'ServiceNotFound';
    if (siblings !== undefined) {
      const message = `Service ${namespace}/${name} is not among the files, which have others of namespace ${namespace}${suggestion(name, siblings) || '; add it, or correct the name'}`;
      findings.push({ kind, object, field, severity: 'error', reason, message });
    } else if (namesByNamespace.size > 0) {
      const message = `Service ${namespace}/${name} is not among the files, and none of namespace ${namespace} is${suggestion(namespace, [...namesByNamespace.keys()]) || '; add it to them, or look whether name and namespace are right'}`;
      findings.push({ kind, object, field, severity: 'warning', reason, message });
    } else unchecked.set(namespace, (unchecked.get(namespace) ?? new Set()).add(name));
  }
  const ports = groupBy(declared, keyOf);
  const assumed = [...new Map(missing.map((one) => [keyOf(one), one])).values()].map((one) =>
    assumedService(
      one,
      (ports.get(keyOf(one)) ?? []).map(({ port }) => port),
    ),
  );
  return {
    findings,
    assumed,
    unchecked: [...unchecked].map(
      ([namespace, names]) =>
        `whether namespace ${namespace} has the ${names.size === 1 ? 'Service' : 'Services'} ${[...names].join(', ')}: no Service is among the files`,
    ),
  };
}

function serviceTargets(policy: ResiliencePolicy): Missing[] {
  return policy.spec.targetRefs.flatMap((target, index) =>
    target.kind === 'Service'
      ? [
          {
            kind: policy.kind,
            object: policy.metadata,
            field: `spec.targetRefs[${index}].name`,
            namespace: policy.metadata.namespace,
            name: target.name,
          },
        ]
      : [],
  );
}

/** The same for the ServiceDependencies that policies target. */
function checkTargets(world: World, problems: readonly Problem[]): Together {
  const names = groupBy(
    [...world.serviceDependencies.map(({ metadata }) => metadata), ...world.invalid],
    ({ namespace }) => namespace,
  );
  const policies = new Map(world.resiliencePolicies.map((policy) => [keyOf(policy.metadata), policy]));
  const findings: JointFinding[] = [];
  const unchecked = new Set<string>();
  for (const { kind, object, field, reason } of problems) {
    if (reason !== 'TargetNotFound') continue;
    const index = Number(/\[(\d+)\]/.exec(field)?.[1]);
    const name = policies.get(keyOf(object))?.spec.targetRefs[index]?.name ?? '';
    const { namespace } = object;
    const siblings = names.get(namespace)?.map((one) => one.name);
    if (siblings === undefined) {
      unchecked.add(`whether namespace ${namespace} has the ServiceDependency ${name}: none of it is among the files`);
    } else {
      const message = `ServiceDependency ${namespace}/${name} is not among the files, which have others of namespace ${namespace}${suggestion(name, siblings) || '; add it, correct the name, or put the policy into the namespace of its target'}`;
      findings.push({ kind, object, field, severity: 'error', reason, message });
    }
  }
  return { findings, unchecked: [...unchecked] };
}

function checkSelectors(world: World, problems: readonly Problem[]): Together {
  const namespaces = new Set(world.pods.map(({ namespace }) => namespace));
  const findings: JointFinding[] = [];
  const unchecked: string[] = [];
  for (const { kind, object, field, reason } of problems) {
    if (reason !== 'NoPodsSelected') continue;
    if (namespaces.has(object.namespace)) {
      const message = `consumer.selector selects the pods of no workload of namespace ${object.namespace} that is among the files; correct the selector, or the labels of the pod template`;
      findings.push({ kind, object, field, severity: 'warning', reason, message });
    } else {
      unchecked.push(
        `whether ServiceDependency ${keyOf(object)} selects any pods: no workload of namespace ${object.namespace} is among the files`,
      );
    }
  }
  return { findings, unchecked };
}
