// A namespace with one application, `checkout`, that has the sidecar and calls one dependency, `payments`, which counts and misbehaves on
// command. Most tests need nothing else.

import { eventually, run } from '../shell.ts';
import type { Load, Report } from '../workloads/client.ts';
import type { Arrival, Behavior } from '../workloads/upstream.ts';
import {
  api,
  apiText,
  apply,
  type Condition,
  control,
  exec,
  isReady,
  type KubeObject,
  kubectl,
  listPods,
  type Pod,
  podProxy,
} from './kube.ts';
import { deployment, namespaceObject, resiliencePolicy, service, serviceDependency } from './objects.ts';

export type { Call, Load, Report } from '../workloads/client.ts';

export interface Counts {
  connections: number;
  requests: number;
  executed: number;
  maxConcurrent: number;
  inProgress: number;
  hostname: string;
  distinctIds: number;
  maxArrivalsOfOneId: number;
  idsThatArrivedTwice: string[];
  resets: Record<string, number>;
}

export interface ShopOptions {
  /** Replicas of payments and of checkout; one each by default. */
  payments?: number;
  checkout?: number;
  /** checkout makes no calls: for many pods of which only the sidecars matter. */
  idle?: boolean;
  policy?: Record<string, unknown>;
  /** No ServiceDependency at all. */
  undeclared?: boolean;
  paymentsGraceSeconds?: number;
  drainMs?: number;
}

export const PAYMENTS_URL = 'http://payments:8080/';
/** The sidecar's metrics and probes. */
export const ADMIN_PORT = 15_102;

const RESOURCES = { ServiceDependency: 'servicedependencies', ResiliencePolicy: 'resiliencepolicies' } as const;
export type OwnKind = keyof typeof RESOURCES;

export interface OwnObject extends KubeObject {
  spec: Record<string, unknown>;
  status?: { conditions?: Condition[]; summary?: string };
}

export const pathOf = (kind: OwnKind, namespace: string, name: string): string =>
  `/apis/breakwater.dev/v1alpha1/namespaces/${namespace}/${RESOURCES[kind]}/${name}`;

/** A condition that was written for the object's present generation. */
export function currentCondition(object: OwnObject, type: string): Condition | undefined {
  const found = object.status?.conditions?.find((condition) => condition.type === type);
  return found?.observedGeneration === object.metadata.generation ? found : undefined;
}

/** Waits until the condition has that status for the present generation. */
export async function untilCondition(
  kind: OwnKind,
  namespace: string,
  name: string,
  type: string,
  status: Condition['status'],
  withinMs = 15_000,
): Promise<Condition> {
  let seen: unknown;
  try {
    return await eventually(`${kind} ${namespace}/${name} is ${type}=${status}`, withinMs, async () => {
      const object = await api<OwnObject>('GET', pathOf(kind, namespace, name));
      seen = object.status;
      const condition = currentCondition(object, type);
      return condition?.status === status ? condition : undefined;
    });
  } catch (error) {
    throw new Error(
      `${kind} ${namespace}/${name} did not become ${type}=${status}; its status: ${JSON.stringify(seen)}`,
      { cause: error },
    );
  }
}

/** Creates a namespace afresh, whatever an earlier run left of it. */
export async function freshNamespace(name: string, labels: Record<string, string> = {}): Promise<void> {
  await kubectl('delete', 'namespace', name, '--ignore-not-found', '--wait=true', '--timeout=180s');
  await apply(namespaceObject(name, labels));
  await eventually(
    'the namespace has its service account',
    10_000,
    () => api('GET', `/api/v1/namespaces/${name}/serviceaccounts/default`),
    50,
  );
}

export async function deleteNamespace(name: string): Promise<void> {
  await kubectl('delete', 'namespace', name, '--ignore-not-found', '--wait=false');
}

/** Waits until the selected pods are that many, and all of them ready. */
export async function untilReady(
  namespace: string,
  selector: string,
  count: number,
  withinMs = 60_000,
): Promise<Pod[]> {
  let seen: Pod[] = [];
  try {
    return await eventually(`${count} ready pods ${selector} in ${namespace}`, withinMs, async () => {
      seen = await listPods(namespace, selector);
      return seen.length === count && seen.every(isReady) ? seen : undefined;
    });
  } catch (error) {
    const states = seen.map((pod) => ({
      name: pod.metadata.name,
      phase: pod.status.phase,
      containers: pod.status.containerStatuses,
    }));
    const events = await kubectl('-n', namespace, 'get', 'events', '--sort-by=.lastTimestamp').catch(() => '');
    const logs = seen.map(({ metadata }) =>
      kubectl('-n', namespace, 'logs', metadata.name, '--all-containers', '--prefix', '--tail=8').catch(String),
    );
    const told = [JSON.stringify(states), events.split('\n').slice(-15).join('\n'), ...(await Promise.all(logs))];
    throw new Error(`${String(error)}\n${told.join('\n')}`, { cause: error });
  }
}

export const isInjected = (pod: Pod): boolean =>
  pod.spec.initContainers?.some((container) => container.name === 'breakwater') ?? false;

/** Value of a metric: the sum over its series that have all these labels. */
export function metricValue(text: string, name: string, labels: Record<string, string> = {}): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name) || (line[name.length] !== '{' && line[name.length] !== ' ')) continue;
    if (!Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) continue;
    sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}

export class Shop {
  readonly namespace: string;

  private constructor(namespace: string) {
    this.namespace = namespace;
  }

  /** Everything ready, the policy applied by the sidecar. */
  static async open(name: string, options: ShopOptions = {}): Promise<Shop> {
    const shop = new Shop(`test-${name}`);
    const { namespace } = shop;
    await freshNamespace(namespace, { 'breakwater.dev/injection': 'enabled' });
    // The dependency goes without a sidecar: what it counts is what arrived.
    const payments = {
      namespace,
      name: 'payments',
      script: 'upstream.ts',
      ports: [8080],
      replicas: options.payments ?? 1,
      labels: { 'breakwater.dev/injection': 'disabled' },
      env: { DRAIN_MS: String(options.drainMs ?? 0) },
      terminationGracePeriodSeconds: options.paymentsGraceSeconds ?? 1,
    };
    await apply(
      service(namespace, 'payments', [{ port: 8080, name: 'http' }]),
      deployment(payments),
      ...(options.undeclared
        ? []
        : [
            serviceDependency(namespace, 'checkout', 'checkout', [
              { name: 'payments', service: { name: 'payments', port: 8080 }, criticality: 'Required' },
            ]),
          ]),
      deployment({
        namespace,
        name: 'checkout',
        script: options.idle ? undefined : 'client.ts',
        replicas: options.checkout ?? 1,
      }),
    );
    const pods = await untilReady(namespace, 'app=checkout', options.checkout ?? 1);
    if (!pods.every(isInjected)) throw new Error(`the pods of ${namespace} were not injected`);
    await untilReady(namespace, 'app=payments', options.payments ?? 1);
    if (!options.undeclared) await untilCondition('ServiceDependency', namespace, 'checkout', 'Programmed', 'True');
    if (options.policy) await shop.setPolicy(options.policy);
    return shop;
  }

  async close(): Promise<void> {
    await deleteNamespace(this.namespace);
  }

  /** Applies the policy of payments and waits until every sidecar has it. */
  async setPolicy(spec: Record<string, unknown>): Promise<void> {
    await this.applyPolicy(spec);
    await untilCondition('ResiliencePolicy', this.namespace, 'payments', 'Programmed', 'True');
  }

  async applyPolicy(spec: Record<string, unknown>): Promise<void> {
    await apply(resiliencePolicy(this.namespace, 'payments', 'checkout', 'payments', spec));
  }

  checkoutPods(): Promise<Pod[]> {
    return listPods(this.namespace, 'app=checkout');
  }

  async checkout(): Promise<string> {
    const [pod] = await this.checkoutPods();
    if (!pod) throw new Error('there is no pod of checkout');
    return pod.metadata.name;
  }

  /** Calls payments from checkout; resolves when the load has ended. */
  async load(load: Partial<Load>): Promise<Report> {
    return control<Report>(this.namespace, await this.checkout(), 'load', { url: PAYMENTS_URL, ...load });
  }

  /** Begins a load that goes on until the returned function is called. */
  async startLoad(load: Partial<Load>): Promise<() => Promise<Report>> {
    const pod = await this.checkout();
    const started = await control<{ id: string }>(this.namespace, pod, 'start', { url: PAYMENTS_URL, ...load });
    return () => control<Report>(this.namespace, pod, 'stop', started);
  }

  async #paymentsPods(): Promise<string[]> {
    return (await listPods(this.namespace, 'app=payments')).map((pod) => pod.metadata.name);
  }

  /** Makes every pod of payments behave so from now on. */
  async behave(behavior: Partial<Behavior>): Promise<void> {
    for (const pod of await this.#paymentsPods()) await control(this.namespace, pod, 'behave', behavior);
  }

  /** The behaviours of the next requests, one each. */
  async next(...behaviors: Partial<Behavior>[]): Promise<void> {
    for (const pod of await this.#paymentsPods()) await control(this.namespace, pod, 'next', behaviors);
  }

  /** What arrived at payments since the last resetCounts; of all its pods. */
  async counts(): Promise<Counts> {
    const all: Counts[] = [];
    for (const pod of await this.#paymentsPods()) all.push(await control<Counts>(this.namespace, pod, 'counts'));
    const sum = (key: 'connections' | 'requests' | 'executed' | 'maxConcurrent' | 'inProgress' | 'distinctIds') =>
      all.reduce((total, counts) => total + counts[key], 0);
    const resets: Record<string, number> = {};
    for (const one of all)
      for (const [point, count] of Object.entries(one.resets)) resets[point] = (resets[point] ?? 0) + count;
    return {
      connections: sum('connections'),
      requests: sum('requests'),
      executed: sum('executed'),
      maxConcurrent: sum('maxConcurrent'),
      inProgress: sum('inProgress'),
      distinctIds: sum('distinctIds'),
      hostname: all.map((one) => one.hostname).join(','),
      maxArrivalsOfOneId: Math.max(0, ...all.map((one) => one.maxArrivalsOfOneId)),
      idsThatArrivedTwice: all.flatMap((one) => one.idsThatArrivedTwice),
      resets,
    };
  }

  async resetCounts(): Promise<void> {
    for (const pod of await this.#paymentsPods()) await control(this.namespace, pod, 'reset');
  }

  /** The newest requests that arrived at payments since the last resetCounts, oldest first; of all its pods. */
  async arrivals(): Promise<Arrival[]> {
    const all: Arrival[] = [];
    for (const pod of await this.#paymentsPods()) all.push(...(await control<Arrival[]>(this.namespace, pod, 'told')));
    return all.toSorted((a, b) => a.at - b.at);
  }

  /** The sidecar's metrics, as Prometheus reads them. */
  async metrics(): Promise<string> {
    return apiText('GET', podProxy(this.namespace, await this.checkout(), ADMIN_PORT, '/metrics'));
  }

  /** `breakwater …` in the sidecar's container. */
  async breakwater(...args: string[]): Promise<string> {
    return exec(this.namespace, await this.checkout(), 'breakwater', 'breakwater', ...args);
  }

  async scalePayments(replicas: number): Promise<void> {
    await run('kubectl', ['-n', this.namespace, 'scale', 'deployment/payments', `--replicas=${replicas}`]);
  }
}
