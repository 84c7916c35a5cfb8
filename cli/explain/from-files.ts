// The world and the workload of a set of manifests, for `explain` without a cluster. Pure.
import { keyOf } from '../../operator/compile/world-index.ts';
import type { Checked } from '../check/check.ts';
import { nearest } from '../check/similar.ts';
import { assumedService, podOf, serviceReferences } from '../manifests/world.ts';
import { UsageError } from '../usage-error.ts';
import type { Seen, Subject } from './explain.ts';
import type { WorkloadReference } from './target.ts';

/** Throws UsageError where the files have no such workload. */
export function questionFromFiles(
  { manifests }: Checked,
  workload: WorkloadReference,
  namespace: string | undefined,
): Seen {
  const { world } = manifests;
  const present = new Set(world.services.map(keyOf));
  const missing = new Map<string, ReturnType<typeof serviceReferences>>();
  for (const reference of serviceReferences(world.serviceDependencies)) {
    if (present.has(keyOf(reference))) continue;
    missing.set(keyOf(reference), [...(missing.get(keyOf(reference)) ?? []), reference]);
  }
  const assumed = [...missing].map(([key, references]) => {
    const [first] = references;
    if (first === undefined) throw new Error(`nothing refers to ${key}`);
    return assumedService(
      first,
      references.map(({ port }) => port),
    );
  });
  const subject = findSubject(manifests, workload, namespace);
  return {
    world: { ...world, services: [...world.services, ...assumed] },
    subject,
    knowsPods: world.pods.some((pod) => pod.namespace === subject.namespace),
    assumptions: [...missing.keys()].map((service) => ({
      text: `Service ${service} is not among the files: taken for an ordinary one with the port asked for`,
      service,
    })),
  };
}

function findSubject(
  { world, templates }: Checked['manifests'],
  { kind, name }: WorkloadReference,
  namespace: string | undefined,
): Subject {
  const candidates: Subject[] = [
    ...world.serviceDependencies.map(({ kind, metadata }) => ({
      kind,
      namespace: metadata.namespace,
      name: metadata.name,
      pod: undefined,
    })),
    ...templates.map((template) => ({
      kind: template.kind,
      namespace: template.namespace,
      name: template.name,
      pod: podOf(template),
    })),
  ];
  const found = candidates.filter(
    (one) => one.kind === kind.kind && one.name === name && (namespace === undefined || one.namespace === namespace),
  );
  const [only, another] = found;
  if (only !== undefined && another === undefined) return only;
  const where = namespace === undefined ? '' : ` of namespace ${namespace}`;
  if (only !== undefined) {
    const namespaces = found.map((one) => one.namespace).join(', ');
    throw new UsageError(`${kind.kind} ${name} is in the namespaces ${namespaces}; say which with --namespace`);
  }
  const known = candidates.filter((one) => one.kind === kind.kind).map((one) => one.name);
  const meant = nearest(name, known);
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : candidates.length === 0
        ? 'they hold no workload and no ServiceDependency'
        : `they hold ${candidates
            .map((one) => `${one.kind} ${one.namespace}/${one.name}`)
            .slice(0, 12)
            .join(', ')}`;
  throw new UsageError(`the files have no ${kind.kind} ${name}${where}; ${hint}`);
}
