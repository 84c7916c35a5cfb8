// The pods that a workload will have, as far as its manifest shows them: those of a Deployment, a CronJob, a bare Pod, and of any other
// kind that carries a pod template where these do. Pure.

export interface PodTemplate {
  /** Of the workload. */
  kind: string;
  namespace: string;
  name: string;
  /** Path of the pod in the workload: "spec.template", "spec.jobTemplate.spec.template"; empty for a Pod. */
  path: string;
  labels: Readonly<Record<string, string>>;
}

const PATHS = [[], ['spec', 'template'], ['spec', 'jobTemplate', 'spec', 'template']] as const;

/** Undefined where the object has no pods of its own. */
export function podTemplateOf(raw: Record<string, unknown>, defaultNamespace: string): PodTemplate | undefined {
  const kind = String(raw['kind']);
  const metadata = recordAt(raw, ['metadata']);
  for (const path of PATHS) {
    if ((path.length === 0) !== (kind === 'Pod')) continue;
    const pod = recordAt(raw, path);
    if (pod === undefined || !Array.isArray(recordAt(pod, ['spec'])?.['containers'])) continue;
    return {
      kind,
      namespace: textOf(metadata?.['namespace']) || defaultNamespace,
      name: textOf(metadata?.['name']) || textOf(metadata?.['generateName']),
      path: path.join('.'),
      labels: labelsOf(recordAt(pod, ['metadata', 'labels'])),
    };
  }
  return undefined;
}

function recordAt(root: Record<string, unknown>, path: readonly string[]): Record<string, unknown> | undefined {
  let value: unknown = root;
  for (const name of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function labelsOf(labels: Record<string, unknown> | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
