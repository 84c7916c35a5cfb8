// The world of a cluster: one reflector for each resource that compile may know, and a snapshot of their stores.
import { isDeepStrictEqual } from 'node:util';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { InjectionDefaults } from '../compile/capture.ts';
import {
  toResiliencePolicy,
  toServiceDependency,
  toWorldEndpointSlice,
  toWorldNamespace,
  toWorldPod,
  toWorldRefusal,
  toWorldService,
} from '../compile/objects.ts';
import type {
  InvalidObject,
  World,
  WorldEndpointSlice,
  WorldNamespace,
  WorldPod,
  WorldRefusal,
  WorldService,
} from '../compile/world.ts';
import type { OperatorMetrics } from '../metrics.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-errors.ts';
import { Debounce } from './debounce.ts';
import { Reflector, type ReflectorTimings } from './reflector.ts';
import { type Change, DROP, type RawObject, type Transform } from './store.ts';
import { type OwnObject, ownKey, type SourceListener, type WorldSource } from './world-source.ts';

/** Changes within this time make one world; short, because a change of an EndpointSlice must reach sidecars within a second. */
const DEBOUNCE = { quietMs: 50, maxMs: 100 };

export interface ClusterSourceOptions {
  api: Pick<ApiClient, 'request' | 'stream'>;
  clusterDomain: string;
  /** The operator's own. */
  systemNamespace: string;
  injection: InjectionDefaults;
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: OperatorMetrics;
  timings?: ReflectorTimings;
}

interface Caches {
  namespaces: Reflector<WorldNamespace>;
  services: Reflector<WorldService>;
  endpointSlices: Reflector<WorldEndpointSlice>;
  pods: Reflector<WorldPod>;
  serviceDependencies: Reflector<OwnObject>;
  resiliencePolicies: Reflector<OwnObject>;
}

/** Refusals of a cluster that are remembered at most: every workload of it may be refused. */
const REFUSALS_LIMIT = 1_000;

export class ClusterSource implements WorldSource {
  readonly #options: ClusterSourceOptions;
  readonly #caches: Caches;
  /** Events inform: neither readiness nor a world waits for them. */
  readonly #refusals: Reflector<WorldRefusal>;
  readonly #debounce: Debounce;
  #listener: SourceListener | undefined;
  #world: World | undefined;
  #declared: { objects: readonly OwnObject[]; models: readonly ServiceDependency[] } | undefined;

  constructor(options: ClusterSourceOptions) {
    this.#options = options;
    this.#debounce = new Debounce(options.clock, DEBOUNCE, () => this.#listener?.onWorld());
    const { log } = options;
    const own = (kind: OwnObject['kind']) => readable<OwnObject>(log, (raw) => toOwnObject(kind, raw));
    const core = '/api/v1';
    const ours = '/apis/breakwater.dev/v1alpha1';
    const slices = '/apis/discovery.k8s.io/v1/endpointslices';
    this.#caches = {
      namespaces: this.#cache(`${core}/namespaces`, readable(log, toWorldNamespace)),
      services: this.#cache(`${core}/services`, readable(log, toWorldService)),
      endpointSlices: this.#cache(slices, readable(log, toServiceSlice)),
      pods: this.#cache(`${core}/pods`, readable(log, toWorldPod)),
      serviceDependencies: this.#cacheOfOwn(`${ours}/servicedependencies`, own('ServiceDependency')),
      resiliencePolicies: this.#cacheOfOwn(`${ours}/resiliencepolicies`, own('ResiliencePolicy')),
    };
    this.#refusals = this.#reflector(
      '/apis/events.k8s.io/v1/events',
      readable(log, (raw) => toWorldRefusal(raw) ?? DROP),
      (changes) => {
        if (changes.length > 0) this.#changed();
      },
      'reason=FailedCreate',
    );
  }

  start(listener: SourceListener): void {
    this.#listener = listener;
    for (const cache of this.#all()) cache.start();
  }

  async stop(): Promise<void> {
    this.#debounce.cancel();
    await Promise.all(this.#all().map((cache) => cache.stop()));
  }

  #all(): (Caches[keyof Caches] | Reflector<WorldRefusal>)[] {
    return [...Object.values(this.#caches), this.#refusals];
  }

  get hasSynced(): boolean {
    return Object.values(this.#caches).every((cache) => cache.hasSynced);
  }

  waitingFor(): readonly string[] {
    const waiting: string[] = [];
    for (const { resource, hasSynced, lastFailure } of Object.values(this.#caches)) {
      if (!hasSynced) waiting.push(lastFailure === '' ? resource : `${resource} (${lastFailure})`);
    }
    return waiting;
  }

  observe(): void {
    const { clock, metrics } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const { resource, heardAtMs, isFailing } of this.#all()) {
      metrics.cacheStaleSeconds.set({ resource }, (nowMs - heardAtMs) / 1000);
      metrics.watchFailing.set({ resource }, isFailing ? 1 : 0);
    }
  }

  world(): World {
    this.#world ??= this.#snapshot();
    return this.#world;
  }

  own(key: string): OwnObject | undefined {
    const [kind, namespace, name] = key.split('/');
    const { serviceDependencies, resiliencePolicies } = this.#caches;
    const cache = kind === 'ServiceDependency' ? serviceDependencies : resiliencePolicies;
    return cache.store.get(`${namespace}/${name}`);
  }

  /** Undefined where the cache does not hold it. */
  namespace(name: string): WorldNamespace | undefined {
    return this.#caches.namespaces.store.get(name);
  }

  /** Those that fit their schema; the same array until something changes. */
  serviceDependencies(): readonly ServiceDependency[] {
    const objects = this.#caches.serviceDependencies.store.values();
    if (objects !== this.#declared?.objects) {
      const models = objects.flatMap(({ content }) => ('model' in content ? [content.model as ServiceDependency] : []));
      this.#declared = { objects, models };
    }
    return this.#declared.models;
  }

  /** Undefined where the cache does not hold it. */
  service(namespace: string, name: string): WorldService | undefined {
    return this.#caches.services.store.get(`${namespace}/${name}`);
  }

  async pod(namespace: string, name: string, uid: string): Promise<WorldPod | undefined> {
    const { store } = this.#caches.pods;
    const known = store.get(`${namespace}/${name}`);
    if (known?.uid === uid) return known;
    let raw: RawObject;
    try {
      raw = await this.#options.api.request<RawObject>('GET', `/api/v1/namespaces/${namespace}/pods/${name}`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
    if (raw.metadata.uid !== uid) return undefined;
    // Ahead of the watch, which brings the pod (or its deletion) later all the same.
    if (this.#caches.pods.take(raw) !== undefined) {
      this.#world = undefined;
      this.#debounce.call();
      this.#debounce.flush();
    }
    const found = store.get(`${namespace}/${name}`);
    return found?.uid === uid ? found : undefined;
  }

  #snapshot(): World {
    const { namespaces, services, endpointSlices, pods, serviceDependencies, resiliencePolicies } = this.#caches;
    const invalid: InvalidObject[] = [];
    const models = (cache: Reflector<OwnObject>) =>
      cache.store.values().flatMap(({ content }) => {
        if ('model' in content) return [content.model];
        invalid.push(content.invalid);
        return [];
      });
    return {
      clusterDomain: this.#options.clusterDomain,
      systemNamespace: this.#options.systemNamespace,
      injection: this.#options.injection,
      namespaces: namespaces.store.values(),
      services: services.store.values(),
      endpointSlices: endpointSlices.store.values(),
      pods: pods.store.values(),
      serviceDependencies: models(serviceDependencies) as ServiceDependency[],
      resiliencePolicies: models(resiliencePolicies) as ResiliencePolicy[],
      invalid,
      refusals: this.#refusals.store.values().slice(0, REFUSALS_LIMIT),
    };
  }

  #cache<T>(path: string, transform: Transform<T>): Reflector<T> {
    return this.#reflector(path, transform, () => this.#changed());
  }

  /** Our own writes of status come back as changes; they make no new world, or one status would beget the next. */
  #cacheOfOwn(path: string, transform: Transform<OwnObject>): Reflector<OwnObject> {
    return this.#reflector(path, transform, (changes) => {
      let isNewWorld = changes.length === 0;
      for (const change of changes) {
        if (!differsInStatusOnly(change)) isNewWorld = true;
        else if (change.after !== undefined) {
          const { kind, namespace, name } = change.after;
          this.#listener?.onStatus(ownKey(kind, namespace, name));
        }
      }
      this.#world = undefined;
      if (isNewWorld) this.#changed();
    });
  }

  #reflector<T>(
    path: string,
    transform: Transform<T>,
    onChange: (changes: readonly Change<T>[]) => void,
    fieldSelector?: string,
  ): Reflector<T> {
    const { api, clock, random, log, metrics, timings } = this.#options;
    const resource = path.slice(path.lastIndexOf('/') + 1);
    metrics.cacheSynced.set({ resource }, 0);
    metrics.watchRelists.inc({ resource }, 0);
    const reflector: Reflector<T> = new Reflector({
      api,
      path,
      fieldSelector,
      resource,
      transform,
      clock,
      random,
      log,
      ...(timings === undefined ? {} : { timings }),
      onList: () => metrics.watchRelists.inc({ resource }),
      onRestart: (reason) => metrics.watchRestarts.inc({ resource, reason }),
      onChange: (changes) => {
        metrics.cacheSynced.set({ resource }, 1);
        metrics.cacheObjects.set({ resource }, reflector.store.size);
        onChange(changes);
      },
    });
    return reflector;
  }

  #changed(): void {
    this.#world = undefined;
    // An incomplete world is no world: it would look as if Services had been deleted.
    if (this.hasSynced) this.#debounce.call();
  }
}

function toServiceSlice(raw: RawObject): WorldEndpointSlice | typeof DROP {
  const slice = toWorldEndpointSlice(raw);
  return slice.service === '' ? DROP : slice;
}

function toOwnObject(kind: OwnObject['kind'], raw: RawObject): OwnObject {
  const content = kind === 'ServiceDependency' ? toServiceDependency(raw) : toResiliencePolicy(raw);
  const { name, namespace, uid, generation, resourceVersion } = raw.metadata;
  return {
    kind,
    namespace: namespace ?? '',
    name,
    uid: uid ?? '',
    generation: typeof generation === 'number' ? generation : 0,
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    content,
    status: raw['status'],
  };
}

function differsInStatusOnly({ before, after }: Change<OwnObject>): boolean {
  if (before === undefined || after === undefined) return false;
  return isDeepStrictEqual(withoutStatus(before), withoutStatus(after));
}

function withoutStatus(object: OwnObject): unknown {
  const { content } = object;
  return {
    ...object,
    status: undefined,
    resourceVersion: undefined,
    content: 'model' in content ? { ...content.model, status: undefined } : content,
  };
}

/** One object that cannot be read must not stop the watch of all others: what is known of it stays. */
function readable<T>(log: Logger, convert: (raw: RawObject) => T | typeof DROP): Transform<T> {
  return (raw, before) => {
    try {
      return convert(raw);
    } catch (error) {
      const { namespace, name } = raw.metadata;
      log.error({ err: error, kind: raw.kind, namespace, name }, 'an object could not be read and is left as it was');
      return before ?? DROP;
    }
  };
}
