// The world of one workload, read from a cluster with the user's own rights: as much of it as an explanation needs, and no more. What the
// user may not read is told and done without, where that is possible.

import type { LabelSelector } from '../../crds/kubernetes.ts';
import { INJECTION_DEFAULTS } from '../../operator/compile/capture.ts';
import {
  toResiliencePolicy,
  toServiceDependency,
  toWorldNamespace,
  toWorldPod,
  toWorldService,
} from '../../operator/compile/objects.ts';
import { matchesSelector } from '../../operator/compile/selector.ts';
import {
  DEFAULT_SYSTEM_NAMESPACE,
  type ObjectKey,
  type World,
  type WorldPod,
  type WorldService,
} from '../../operator/compile/world.ts';
import { groupBy, keyOf } from '../../operator/compile/world-index.ts';
import { Cluster, type ClusterOptions, ForbiddenError, type RawObject } from '../cluster/connect.ts';
import { podTemplateOf } from '../manifests/pod-template.ts';
import { assumedService, podOf, serviceReferences } from '../manifests/world.ts';
import { UsageError } from '../usage-error.ts';
import type { Assumption, Seen, Subject } from './explain.ts';
import type { WorkloadReference } from './target.ts';

const OURS = '/apis/breakwater.dev/v1alpha1';

/** Throws UsageError. */
export async function questionFromCluster(workload: WorkloadReference, options: ClusterOptions): Promise<Seen> {
  const cluster = new Cluster(options);
  try {
    return await read(cluster, workload);
  } finally {
    await cluster.close();
  }
}

async function read(cluster: Cluster, workload: WorkloadReference): Promise<Seen> {
  const { namespace } = cluster;
  const assumptions: Assumption[] = [];
  const own = await readOwn(cluster, namespace);
  const { subject, selector } = await readSubject(cluster, workload, own.serviceDependencies);
  const { pod } = subject;
  const owners = own.serviceDependencies.filter(({ metadata, spec }) =>
    pod === undefined ? metadata.name === subject.name : matchesSelector(spec.consumer.selector, pod.labels),
  );
  const references = serviceReferences(owners);
  const [services, elsewhere, namespaces, pods] = await Promise.all([
    readServices(cluster, references, assumptions),
    readPoliciesOf(
      cluster,
      [...new Set([DEFAULT_SYSTEM_NAMESPACE, ...references.map((one) => one.namespace)])].filter(
        (one) => one !== namespace,
      ),
      assumptions,
    ),
    readNamespace(cluster, namespace, assumptions),
    readPods(cluster, workload.kind.kind === 'Pod' ? undefined : selector, assumptions),
  ]);
  const world: World = {
    clusterDomain: 'cluster.local',
    systemNamespace: DEFAULT_SYSTEM_NAMESPACE,
    injection: INJECTION_DEFAULTS,
    namespaces,
    services,
    endpointSlices: [],
    pods: workload.kind.kind === 'Pod' && pod !== undefined ? [pod] : (pods ?? []),
    serviceDependencies: own.serviceDependencies,
    resiliencePolicies: [...own.resiliencePolicies, ...elsewhere.resiliencePolicies],
    invalid: [...own.invalid, ...elsewhere.invalid],
    refusals: [],
  };
  return { world, subject, assumptions, knowsPods: pods !== undefined };
}

type Own = Pick<World, 'serviceDependencies' | 'resiliencePolicies' | 'invalid'>;

async function readOwn(cluster: Cluster, namespace: string): Promise<Own> {
  const at = (plural: string) => cluster.list(`${OURS}/namespaces/${namespace}/${plural}`);
  const [dependencies, policies] = await Promise.all([at('servicedependencies'), at('resiliencepolicies')]);
  if (dependencies === undefined || policies === undefined) {
    throw new UsageError(
      'this cluster has no resources of Breakwater: install its chart (docs/operations.md), choose another cluster with --context, or look at files with -f',
    );
  }
  const read = dependencies.map((raw) => toServiceDependency(typed('ServiceDependency', raw)));
  const own = policies.map((raw) => toResiliencePolicy(typed('ResiliencePolicy', raw)));
  return {
    serviceDependencies: read.flatMap((one) => ('model' in one ? [one.model] : [])),
    resiliencePolicies: own.flatMap((one) => ('model' in one ? [one.model] : [])),
    invalid: [...read, ...own].flatMap((one) => ('invalid' in one ? [one.invalid] : [])),
  };
}

/** Items of a list may leave out what all of them have in common. */
const typed = (kind: string, raw: RawObject): RawObject => ({ apiVersion: 'breakwater.dev/v1alpha1', kind, ...raw });

async function readSubject(
  cluster: Cluster,
  { kind, name }: WorkloadReference,
  dependencies: Own['serviceDependencies'],
): Promise<{ subject: Subject; selector: LabelSelector | undefined }> {
  const { namespace } = cluster;
  const raw = await cluster.get(`/${kind.api}/namespaces/${namespace}/${kind.plural}/${encodeURIComponent(name)}`);
  if (raw === undefined) {
    throw new UsageError(
      `namespace ${namespace} has no ${kind.kind} ${name}; see "kubectl get ${kind.plural} -n ${namespace}", or choose another with -n`,
    );
  }
  const named = { kind: kind.kind, namespace, name };
  if (kind.kind === 'ServiceDependency') {
    const own = dependencies.find(({ metadata }) => metadata.name === name);
    if (own === undefined)
      throw new UsageError(`ServiceDependency ${namespace}/${name} cannot be read; its status says why`, 1);
    return { subject: { ...named, pod: undefined }, selector: own.spec.consumer.selector };
  }
  if (kind.kind === 'Pod') return { subject: { ...named, pod: toWorldPod(raw) }, selector: undefined };
  const template = podTemplateOf({ ...raw, kind: kind.kind }, namespace);
  if (template === undefined) throw new UsageError(`${kind.kind} ${namespace}/${name} has no pod template`);
  return { subject: { ...named, pod: podOf(template) }, selector: selectorOf(raw) };
}

function selectorOf(raw: RawObject): LabelSelector | undefined {
  const selector = (raw['spec'] as { selector?: Record<string, unknown> } | undefined)?.selector;
  if (selector === undefined) return undefined;
  // That of a ReplicationController is a plain map.
  const isPlain = Object.values(selector).every((value) => typeof value === 'string');
  return isPlain ? { matchLabels: selector as Record<string, string> } : selector;
}

async function readServices(
  cluster: Cluster,
  references: readonly (ObjectKey & { port: number | string })[],
  assumptions: Assumption[],
): Promise<WorldService[]> {
  const byService = [...groupBy(references, keyOf).values()];
  const found = await Promise.all(
    byService.map(async (all): Promise<WorldService[]> => {
      const [first] = all;
      if (first === undefined) return [];
      const path = `/api/v1/namespaces/${first.namespace}/services/${first.name}`;
      const raw = await orForbidden(() => cluster.get(path));
      if (raw !== 'forbidden') return raw === undefined ? [] : [toWorldService(raw)];
      assumptions.push({
        text: `you may not read Service ${keyOf(first)}: taken for an ordinary one with the port asked for`,
        service: keyOf(first),
      });
      return [
        assumedService(
          first,
          all.map(({ port }) => port),
        ),
      ];
    }),
  );
  return found.flat();
}

/** Of the owners of Services, in their namespaces, and of the platform. */
async function readPoliciesOf(
  cluster: Cluster,
  namespaces: readonly string[],
  assumptions: Assumption[],
): Promise<Pick<Own, 'resiliencePolicies' | 'invalid'>> {
  const lists = await Promise.all(
    namespaces.map(async (namespace) => {
      const items = await orForbidden(() => cluster.list(`${OURS}/namespaces/${namespace}/resiliencepolicies`));
      if (items !== 'forbidden') return items ?? [];
      assumptions.push({
        text: `you may not list ResiliencePolicies of namespace ${namespace}: what they set for callers elsewhere is not shown`,
        service: undefined,
      });
      return [];
    }),
  );
  const read = lists.flat().map((raw) => toResiliencePolicy(typed('ResiliencePolicy', raw)));
  return {
    resiliencePolicies: read.flatMap((one) => ('model' in one ? [one.model] : [])),
    invalid: read.flatMap((one) => ('invalid' in one ? [one.invalid] : [])),
  };
}

async function readNamespace(cluster: Cluster, name: string, assumptions: Assumption[]): Promise<World['namespaces']> {
  const raw = await orForbidden(() => cluster.get(`/api/v1/namespaces/${name}`));
  if (raw !== 'forbidden') return raw === undefined ? [] : [toWorldNamespace(raw)];
  assumptions.push({
    text: `you may not read Namespace ${name}: no kill switch on it, and its pods are injected`,
    service: undefined,
  });
  return [];
}

/** Those that run, to tell which of them have no sidecar. */
async function readPods(
  cluster: Cluster,
  selector: LabelSelector | undefined,
  assumptions: Assumption[],
): Promise<WorldPod[] | undefined> {
  if (selector === undefined) return [];
  const path = `/api/v1/namespaces/${cluster.namespace}/pods`;
  const items = await orForbidden(() => cluster.list(path, { labelSelector: selectorText(selector) }));
  if (items !== 'forbidden') return (items ?? []).map(toWorldPod);
  assumptions.push({
    text: `you may not list pods of namespace ${cluster.namespace}: whether they have sidecars is not shown`,
    service: undefined,
  });
  return undefined;
}

function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values = [] }) => {
    const list = `(${values.join(',')})`;
    return { In: `${key} in ${list}`, NotIn: `${key} notin ${list}`, Exists: key, DoesNotExist: `!${key}` }[operator];
  });
  return [...equal, ...others].join(',');
}

async function orForbidden<T>(read: () => Promise<T>): Promise<T | 'forbidden'> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ForbiddenError) return 'forbidden';
    throw error;
  }
}
