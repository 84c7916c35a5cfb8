// What a user names on the command line: a workload as kubectl writes it, a dependency by its entry or its address, a request. Pure.
import { UsageError } from '../usage-error.ts';

export interface WorkloadKind {
  kind: string;
  /** Path of its collection in the API of a namespace; "api/v1" is spelled out because it has no group. */
  api: string;
  plural: string;
  /** As kubectl takes them, beside kind and plural in lower case. */
  shortNames: readonly string[];
}

export const WORKLOAD_KINDS: readonly WorkloadKind[] = [
  { kind: 'Deployment', api: 'apis/apps/v1', plural: 'deployments', shortNames: ['deploy'] },
  { kind: 'StatefulSet', api: 'apis/apps/v1', plural: 'statefulsets', shortNames: ['sts'] },
  { kind: 'DaemonSet', api: 'apis/apps/v1', plural: 'daemonsets', shortNames: ['ds'] },
  { kind: 'ReplicaSet', api: 'apis/apps/v1', plural: 'replicasets', shortNames: ['rs'] },
  { kind: 'Job', api: 'apis/batch/v1', plural: 'jobs', shortNames: [] },
  { kind: 'CronJob', api: 'apis/batch/v1', plural: 'cronjobs', shortNames: ['cj'] },
  { kind: 'ReplicationController', api: 'api/v1', plural: 'replicationcontrollers', shortNames: ['rc'] },
  { kind: 'Pod', api: 'api/v1', plural: 'pods', shortNames: ['po'] },
  {
    kind: 'ServiceDependency',
    api: 'apis/breakwater.dev/v1alpha1',
    plural: 'servicedependencies',
    shortNames: ['sdep'],
  },
];

export interface WorkloadReference {
  kind: WorkloadKind;
  name: string;
}

/** "deploy/checkout", "deployment.apps/checkout", "sdep/checkout". Throws UsageError. */
export function parseWorkload(text: string): WorkloadReference {
  const [type = '', name = '', ...rest] = text.split('/');
  const [word = ''] = type.toLowerCase().split('.');
  const kind = WORKLOAD_KINDS.find(
    (one) => one.kind.toLowerCase() === word || one.plural === word || one.shortNames.includes(word),
  );
  const forms = WORKLOAD_KINDS.map((one) => one.shortNames[0] ?? one.kind.toLowerCase()).join(', ');
  if (name === '' || rest.length > 0) {
    const example =
      kind === undefined && type !== '' ? `deploy/${type}` : `${kind === undefined ? 'deploy' : type}/NAME`;
    throw new UsageError(
      `"${text}" names no workload: write its kind and its name, such as ${example}; kinds are ${forms}`,
    );
  }
  if (kind === undefined) throw new UsageError(`"${type}" is no kind with pods that is known here; kinds are ${forms}`);
  return { kind, name };
}

/** How a dependency is named: as an entry of dependsOn, or where the calls go. */
export interface DependencyReference {
  text: string;
  /** Host name or address, without a trailing dot, in lower case. */
  host: string;
  port: number | undefined;
  /** Of a URL, without its query. */
  path: string | undefined;
}

/** "payments", "payments.billing:8080", "http://payments.billing.svc:8080/charges?x=1". Throws UsageError. */
export function parseDependency(text: string): DependencyReference {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  let url: URL;
  try {
    url = new URL(hasScheme ? text : `tcp://${text}`);
  } catch {
    throw new UsageError(
      `"${text}" is neither the name of an entry of dependsOn nor an address: write payments, payments.billing:8080 or a URL`,
    );
  }
  const standard = { 'http:': 80, 'https:': 443 }[url.protocol];
  const host = url.hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  const port = url.port === '' ? standard : Number(url.port);
  return { text, host, port, path: hasScheme ? url.pathname : undefined };
}

export interface RequestReference {
  method: string;
  path: string;
  /** As they were written: names in any case, one of them several times. */
  headers: readonly { name: string; value: string }[];
}

/** Undefined where the user speaks of no request. Each of `headers` is "name: value". Throws UsageError. */
export function parseRequest(
  method: string | undefined,
  path: string | undefined,
  headers: readonly string[],
  ofUrl: string | undefined,
): RequestReference | undefined {
  const wanted = path ?? (ofUrl !== undefined && ofUrl !== '/' ? ofUrl : undefined);
  if (method === undefined && wanted === undefined && headers.length === 0) return undefined;
  const verb = method ?? 'GET';
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(verb))
    throw new UsageError(`"${verb}" is no method: write one such as GET or POST`);
  const target = wanted ?? '/';
  if (!target.startsWith('/')) throw new UsageError(`"${target}" is no path: it starts with "/"`);
  // The sidecar looks at what stands before the query.
  return { method: verb, path: target.split(/[?#]/, 1)[0] ?? '/', headers: headers.map(parseHeader) };
}

function parseHeader(text: string): { name: string; value: string } {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\u0080-\u00ff]*?)[ \t]*$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new UsageError(`"${text}" is no header: write a name, a colon and a value, such as "x-canary: yes"`);
  return { name, value };
}
