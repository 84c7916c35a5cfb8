// The cluster as a test sees it: kubectl for what a user types, the API itself for what must be fast or watched.
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { run } from '../shell.ts';

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    generation?: number;
    resourceVersion?: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  observedGeneration?: number;
}

export interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  /** "containerd://…"; absent before it first ran. */
  containerID?: string;
  state: Record<string, unknown>;
}

export interface Pod extends KubeObject {
  spec: {
    /** Absent before it is scheduled. */
    nodeName?: string;
    containers: { name: string; image: string; ports?: { name?: string; containerPort: number }[] }[];
    initContainers?: {
      name: string;
      image: string;
      restartPolicy?: string;
      ports?: { name?: string; containerPort: number }[];
      env?: { name: string; value?: string }[];
    }[];
    volumes?: { name: string }[];
  };
  status: {
    phase: string;
    podIP?: string;
    conditions?: Condition[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}

export interface EndpointSlice extends KubeObject {
  endpoints: {
    addresses: string[];
    conditions: { ready?: boolean; serving?: boolean; terminating?: boolean };
    targetRef?: { name: string };
  }[];
}

const kubeconfig = new KubeConfig();
kubeconfig.loadFromDefault();

interface Access {
  server: string;
  agent: Agent;
  headers: Record<string, string>;
}

async function connectToApi(): Promise<Access> {
  const options: { ca?: string; cert?: string; key?: string; headers?: Record<string, string> } = {};
  await kubeconfig.applyToHTTPSOptions(options);
  const { ca, cert, key, headers = {} } = options;
  const connect = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  // Loads last minutes behind one request: the test's own timeouts end them.
  const agent = new Agent({ connect, headersTimeout: 0, bodyTimeout: 0, allowH2: false });
  return { server: kubeconfig.getCurrentCluster()?.server ?? '', agent, headers };
}

let access: Promise<Access> | undefined;

export class ApiError extends Error {
  override name = 'ApiError';
  readonly statusCode: number;

  constructor(what: string, statusCode: number, body: string) {
    super(`${what}: ${statusCode} ${body.slice(0, 1000)}`);
    this.statusCode = statusCode;
  }
}

type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';

/** One call of the API server; the answer as text. Throws ApiError on any status of 300 and more. */
export async function apiText(
  method: Method,
  path: string,
  body?: unknown,
  contentType = 'application/json',
): Promise<string> {
  access ??= connectToApi();
  const { server, agent, headers } = await access;
  const response = await request(`${server}${path}`, {
    method,
    dispatcher: agent,
    headers: { ...headers, accept: '*/*', ...(body === undefined ? {} : { 'content-type': contentType }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  if (response.statusCode >= 300) throw new ApiError(`${method} ${path}`, response.statusCode, text);
  return text;
}

export async function api<T>(method: Method, path: string, body?: unknown, contentType?: string): Promise<T> {
  return JSON.parse(await apiText(method, path, body, contentType)) as T;
}

/** What a user types; standard output. Throws CommandError with what kubectl complained about. */
export function kubectl(...args: string[]): Promise<string> {
  return run('kubectl', args);
}

/** Applies objects as `kubectl apply -f -` does. */
export async function apply(...objects: unknown[]): Promise<void> {
  await run('kubectl', ['apply', '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
  });
}

/** Runs a command in a container; standard output. */
export function exec(namespace: string, pod: string, container: string, ...command: string[]): Promise<string> {
  return run('kubectl', ['-n', namespace, 'exec', pod, '-c', container, '--', ...command]);
}

export async function listPods(namespace: string, labelSelector = ''): Promise<Pod[]> {
  const list = await api<{ items: Pod[] }>(
    'GET',
    `/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(labelSelector)}`,
  );
  return list.items.filter((pod) => pod.metadata.deletionTimestamp === undefined);
}

export const isReady = (pod: Pod): boolean =>
  pod.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') ?? false;

/** Path of one port of a pod behind the API server's proxy. */
export const podProxy = (namespace: string, pod: string, port: number, path: string): string =>
  `/api/v1/namespaces/${namespace}/pods/${pod}:${port}/proxy${path}`;

/** Calls an action of a workload's control port. */
export async function control<T>(namespace: string, pod: string, action: string, body: unknown = {}): Promise<T> {
  return api<T>('POST', podProxy(namespace, pod, 9000, `/${action}`), body);
}

/** A watch of EndpointSlices; calls back with each event until stopped. */
export async function watchSlices(
  path: string,
  onEvent: (slice: EndpointSlice, atUnixMs: number) => void,
): Promise<() => void> {
  access ??= connectToApi();
  const { server, agent, headers } = await access;
  const aborter = new AbortController();
  const response = await request(`${server}${path}${path.includes('?') ? '&' : '?'}watch=1`, {
    dispatcher: agent,
    headers,
    signal: aborter.signal,
  });
  const consume = async () => {
    let rest = '';
    for await (const chunk of response.body.setEncoding('utf8')) {
      rest += chunk as string;
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter(Boolean)) {
        onEvent((JSON.parse(line) as { object: EndpointSlice }).object, Date.now());
      }
    }
  };
  consume().catch((error: unknown) => {
    if (!aborter.signal.aborted) throw error;
  });
  return () => aborter.abort();
}
