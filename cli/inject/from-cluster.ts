// What injection must know, read from a cluster with the user's own rights: the installation as it runs, and what the pods of the files
// will find there.

import { toServiceDependency, toWorldNamespace, toWorldService } from '../../operator/compile/objects.ts';
import type { World } from '../../operator/compile/world.ts';
import { keyOf } from '../../operator/compile/world-index.ts';
import { injectionDefaults, readOperatorConfig } from '../../operator/config.ts';
import { EnvironmentError } from '../../runtime/environment.ts';
import { type Cluster, ForbiddenError, type RawObject } from '../cluster/connect.ts';
import { serviceReferences } from '../manifests/world.ts';
import { UsageError } from '../usage-error.ts';
import type { Installation } from './installation.ts';

const WEBHOOK = 'injector.breakwater.dev';
const WITHOUT = 'or inject without a cluster, with --ca-bundle-file and --values';

interface ClientConfig {
  caBundle?: string;
  service?: { namespace?: string; name?: string; port?: number };
}

/** The installation whose webhook the cluster asks. Throws UsageError. */
export async function installationFromCluster(cluster: Cluster): Promise<Installation> {
  const { caBundle, service } = await readWebhook(cluster);
  const { namespace = '', name = '', port = 443 } = service ?? {};
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
  const deployment = await readable(() => cluster.get(path), `Deployment ${namespace}/${name}`);
  if (deployment === undefined) {
    throw new UsageError(
      `the webhook asks ${namespace}/${name}, and there is no such Deployment: is the installation complete? Mend it, ${WITHOUT}`,
    );
  }
  const environment = environmentOf(deployment);
  const version = labelOf(deployment, 'app.kubernetes.io/version');
  try {
    const { source, clusterDomain } = readOperatorConfig(environment);
    if (source.kind !== 'cluster') throw new UsageError(`${namespace}/${name} is no operator of a cluster`);
    return {
      defaults: injectionDefaults(source.sidecar),
      imagePullPolicy: source.sidecar.imagePullPolicy,
      podSecurityDefault: source.podSecurityDefault,
      clusterDomain,
      operatorUrl: `https://${name}.${namespace}.svc:${port}`,
      caBundle: Buffer.from(caBundle, 'base64').toString('utf8'),
      version,
    };
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    throw new UsageError(
      `the operator of this cluster (version ${version}) is told other things than this command knows: ${error.message}\nUse the command of that version, ${WITHOUT}`,
    );
  }
}

async function readWebhook(cluster: Cluster): Promise<{ caBundle: string; service: ClientConfig['service'] }> {
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
  const all = (await readable(() => cluster.list(path), 'MutatingWebhookConfigurations')) ?? [];
  const webhooks = all.flatMap((raw) => (raw['webhooks'] ?? []) as { name: string; clientConfig: ClientConfig }[]);
  const own = webhooks.filter(({ name }) => name === WEBHOOK);
  const [found] = own;
  if (found === undefined)
    throw new UsageError(`this cluster has no installation of Breakwater to inject for: install its chart, ${WITHOUT}`);
  if (own.length > 1)
    throw new UsageError(`this cluster has ${own.length} installations of Breakwater; say which: ${WITHOUT}`);
  const { caBundle, service } = found.clientConfig;
  if (!caBundle) {
    throw new UsageError(
      `the operator has not written its certificates into the webhook yet, so sidecars could not know it; look whether the operator runs, and try again`,
    );
  }
  return { caBundle, service };
}

/** What comes from the pod itself is of no matter here. */
function environmentOf(deployment: RawObject): Record<string, string> {
  const { spec } = deployment as {
    spec?: { template?: { spec?: { containers?: { env?: { name: string; value?: string }[] }[] } } };
  };
  const variables = spec?.template?.spec?.containers?.flatMap(({ env = [] }) => env) ?? [];
  return Object.fromEntries(variables.map(({ name, value }) => [name, value ?? 'unknown']));
}

function labelOf(raw: RawObject, name: string): string {
  const { metadata } = raw as { metadata?: { labels?: Record<string, string> } };
  return metadata?.labels?.[name] ?? 'unknown';
}

/** What these namespaces hold that pods of theirs are born with. */
export async function readNamespaces(
  cluster: Cluster,
  names: readonly string[],
): Promise<Pick<World, 'namespaces' | 'serviceDependencies' | 'services'>> {
  const found = await Promise.all(
    names.map(async (name) => ({
      namespace: await readable(() => cluster.get(`/api/v1/namespaces/${name}`), `Namespace ${name}`),
      dependencies:
        (await readable(
          () => cluster.list(`/apis/breakwater.dev/v1alpha1/namespaces/${name}/servicedependencies`),
          `ServiceDependencies of namespace ${name}`,
        )) ?? [],
    })),
  );
  const serviceDependencies = found
    .flatMap(({ dependencies }) => dependencies)
    .map((raw) => toServiceDependency({ apiVersion: 'breakwater.dev/v1alpha1', kind: 'ServiceDependency', ...raw }))
    .flatMap((one) => ('model' in one ? [one.model] : []));
  return {
    namespaces: found.flatMap(({ namespace }) => (namespace === undefined ? [] : [toWorldNamespace(namespace)])),
    serviceDependencies,
    services: await readServices(cluster, serviceReferences(serviceDependencies)),
  };
}

/** Those of them that exist. */
export async function readServices(
  cluster: Cluster,
  references: readonly { namespace: string; name: string }[],
): Promise<World['services']> {
  const distinct = [...new Map(references.map((one) => [keyOf(one), one])).values()];
  const raw = await Promise.all(
    distinct.map(({ namespace, name }) =>
      readable(() => cluster.get(`/api/v1/namespaces/${namespace}/services/${name}`), `Service ${namespace}/${name}`),
    ),
  );
  return raw.flatMap((one) => (one === undefined ? [] : [toWorldService(one)]));
}

async function readable<T>(read: () => Promise<T>, what: string): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ForbiddenError)
      throw new UsageError(`you may not read ${what}, which injection must know: ask for the right to, ${WITHOUT}`);
    throw error;
  }
}
