// For tests against a real API server: a namespace in which everything changes at random, but for what must never be lost of it.
import type { Random } from '../../runtime/random.ts';
import type { World } from '../compile/world.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/world-builder.ts';
import { type ApiClient, CONTENT_TYPES } from './api-client.ts';
import { ApiError } from './api-errors.ts';

export const CLUSTER_DOMAIN = 'cluster.local';
const OURS = '/apis/breakwater.dev/v1alpha1';
const SLICES = '/apis/discovery.k8s.io/v1';
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'] as const;

/** Path of every kind that a world is made of, before and after the namespace. */
const KINDS = {
  Namespace: ['v1', '/api/v1', 'namespaces'],
  Service: ['v1', '/api/v1', 'services'],
  Pod: ['v1', '/api/v1', 'pods'],
  EndpointSlice: ['discovery.k8s.io/v1', SLICES, 'endpointslices'],
  ServiceDependency: ['breakwater.dev/v1alpha1', OURS, 'servicedependencies'],
  ResiliencePolicy: ['breakwater.dev/v1alpha1', OURS, 'resiliencepolicies'],
} as const;
type Kind = keyof typeof KINDS;

export class ChangingShop {
  readonly namespace: string;
  readonly #api: ApiClient;
  readonly #random: Random;
  #slices = 0;

  constructor(api: ApiClient, random: Random, namespace: string) {
    this.#api = api;
    this.#random = random;
    this.namespace = namespace;
  }

  /** The id of the dependency whose endpoints exist at any time. */
  get steady(): string {
    return `${this.namespace}/steady/steady`;
  }

  async open(): Promise<void> {
    await this.#create('Namespace', this.namespace, {});
    await this.#create('Service', 'steady', { spec: { ports: [{ name: 'http', port: 80 }] } });
    await this.#createSlice();
    await this.#create('Pod', 'consumer', this.#pod('consumer'));
    await this.declare();
  }

  /** The objects of ours that stay; needs the definitions. */
  async declare(): Promise<void> {
    await this.#create('ServiceDependency', 'steady', this.#dependency('steady', 'steady'));
  }

  /** One change of the shop; none where chance picked something that is not there. */
  async change(): Promise<void> {
    const name = this.#pick(NAMES);
    switch (this.#pick(['slices', 'slices', 'endpoints', 'endpoints', 'service', 'pod', 'policy', 'dependency'])) {
      case 'slices':
        return this.#moveSlice();
      case 'endpoints':
        return this.#putOrDelete('EndpointSlice', name, this.#slice(name));
      case 'service':
        return this.#putOrDelete('Service', name, { spec: { ports: [{ name: 'http', port: this.#number(1, 99) }] } });
      case 'pod':
        return this.#putOrDelete('Pod', name, this.#pod(name));
      case 'dependency':
        return this.#putOrDelete('ServiceDependency', name, this.#dependency(name, this.#pick(NAMES)));
      case 'policy':
        return this.#putOrDelete('ResiliencePolicy', name, {
          spec: {
            targetRefs: [
              { group: 'breakwater.dev', kind: 'ServiceDependency', name: this.#pick(['steady', ...NAMES]) },
            ],
            timeouts: { request: `${this.#number(1, 60)}s` },
          },
        });
    }
  }

  /** What the API server holds now, read from etcd. */
  async truth(): Promise<World> {
    const builder = createWorldBuilder();
    const kinds = Object.entries(KINDS);
    const lists = await Promise.all(kinds.map(([, [, root, plural]]) => this.#list(`${root}/${plural}`)));
    for (const [index, [kind, [apiVersion]]] of kinds.entries()) {
      for (const item of lists[index] ?? []) addObject(builder, { apiVersion, kind, ...item });
    }
    const world = buildWorld(builder, CLUSTER_DOMAIN);
    return { ...world, endpointSlices: world.endpointSlices.filter(({ service }) => service !== '') };
  }

  /** Of a kind that is not defined there are no objects. */
  async #list(path: string): Promise<object[]> {
    try {
      const { items } = await this.#api.request<{ items: object[] }>('GET', path);
      return items;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];
      throw error;
    }
  }

  /** As their controller does when it packs endpoints anew: the next slice first, then the last one goes. */
  async #moveSlice(): Promise<void> {
    await this.#createSlice();
    await this.#delete('EndpointSlice', `steady-${this.#slices - 1}`);
  }

  #createSlice(): Promise<void> {
    this.#slices += 1;
    return this.#create('EndpointSlice', `steady-${this.#slices}`, this.#slice('steady'));
  }

  /** Addresses that grow with time: no two states are alike. */
  #slice(service: string): object {
    const endpoints = Array.from({ length: this.#number(1, 4) }, () => ({
      addresses: [`198.18.${this.#number(0, 255)}.${this.#number(1, 254)}`],
      conditions: { ready: true },
    }));
    const labels = { 'kubernetes.io/service-name': service };
    return { metadata: { labels }, addressType: 'IPv4', ports: [{ name: 'http', port: 8080 }], endpoints };
  }

  #pod(name: string): object {
    const labels = { app: this.#pick(['consumer', name]), version: String(this.#number(0, 1_000_000)) };
    if (name === 'consumer') labels.app = 'consumer';
    return { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'example/none' }] } };
  }

  #dependency(name: string, service: string): object {
    return {
      spec: {
        consumer: { selector: { matchLabels: { app: 'consumer' } } },
        dependsOn: [{ name, service: { name: service, port: 'http' } }],
      },
    };
  }

  async #putOrDelete(kind: Kind, name: string, content: object): Promise<void> {
    if (this.#random() < 0.3) return this.#delete(kind, name);
    // A pod's labels alone may change, which merge-patch can do for all kinds.
    const changed = kind === 'Pod' ? { ...content, spec: undefined } : content;
    const patched = await this.#try('PATCH', kind, name, changed);
    if (!patched) await this.#create(kind, name, content);
  }

  async #create(kind: Kind, name: string, content: object): Promise<void> {
    await this.#try('POST', kind, name, content);
  }

  async #delete(kind: Kind, name: string): Promise<void> {
    await this.#try('DELETE', kind, name, kind === 'Pod' ? { gracePeriodSeconds: 0 } : {});
  }

  /** False where the object is not there; an object that is there already is as good as created. */
  async #try(method: 'POST' | 'PATCH' | 'DELETE', kind: Kind, name: string, content: object): Promise<boolean> {
    const [apiVersion, root, plural] = KINDS[kind];
    const collection = kind === 'Namespace' ? `${root}/${plural}` : `${root}/namespaces/${this.namespace}/${plural}`;
    const metadata = { ...('metadata' in content ? (content.metadata as object) : {}), name };
    const body = method === 'DELETE' ? content : { apiVersion, kind, ...content, metadata };
    try {
      await this.#api.request(method, method === 'POST' ? collection : `${collection}/${name}`, {
        body,
        contentType: method === 'PATCH' ? CONTENT_TYPES.mergePatch : CONTENT_TYPES.json,
      });
      return true;
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return false;
      throw error;
    }
  }

  #number(min: number, max: number): number {
    return min + Math.floor(this.#random() * (max - min + 1));
  }

  #pick<T>(from: readonly [T, ...T[]]): T {
    return from[Math.floor(this.#random() * from.length)] ?? from[0];
  }
}

/** Worlds in one order, to be compared. */
export function sorted(world: World): World {
  const order = <T>(values: readonly T[]): T[] =>
    values
      .map((value): [string, T] => [JSON.stringify(value), value])
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, value]) => value);
  return {
    clusterDomain: world.clusterDomain,
    systemNamespace: world.systemNamespace,
    injection: world.injection,
    namespaces: order(world.namespaces),
    services: order(world.services),
    endpointSlices: order(world.endpointSlices),
    pods: order(world.pods),
    serviceDependencies: order(world.serviceDependencies),
    resiliencePolicies: order(world.resiliencePolicies),
    invalid: order(world.invalid),
    refusals: order(world.refusals),
  };
}
