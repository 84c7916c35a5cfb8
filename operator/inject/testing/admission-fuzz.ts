// Random pods through a real API server, with the webhook and without. What it takes without, it takes with it; a pod has the sidecar once
// or is as it was; created once more it changes no further; and of the user's nothing changes but what changes.ts lists. A failure names the seed of its pod.
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { ApiError } from '../../watch/api-errors.ts';
import { CHANGES, mayBeAdded } from '../changes.ts';
import { CAPTURE_CONTAINER, SIDECAR_CONTAINER } from '../patch.ts';
import type { Pod } from '../pod.ts';
import { INJECTED_ANNOTATION } from '../settings.ts';
import { randomPod } from './random-pod.ts';
import { type Document, declarationsOf, initNames, RegisteredInjector } from './registered-injector.ts';

const AT_ONCE = 16;

/** Each with a twin that is not injected. */
const LEVELS = ['privileged', 'baseline', 'restricted'] as const;
const enforce = (level: string) => ({ 'pod-security.kubernetes.io/enforce': level });

export async function startFuzz(): Promise<RegisteredInjector> {
  const injector = await RegisteredInjector.start(Object.fromEntries(LEVELS.map((level) => [level, enforce(level)])));
  for (const level of LEVELS) {
    await injector.createNamespace(`plain-${level}`, { 'breakwater.dev/injection': 'disabled', ...enforce(level) });
  }
  injector.declarations = declarationsOf(LEVELS.flatMap(declaredIn));
  return injector;
}

/** A Service below port 1024, one above, one that cannot be aliased, a host, and one that the sidecar speaks TLS to. */
function declaredIn(namespace: string): Document[] {
  const service = (name: string, spec: object) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec,
  });
  const tls = { port: 443, caCertificateRefs: [{ name: 'partners' }], clientCertificateRef: { name: 'partner' } };
  const to = (name: string, port: number) => ({ name, service: { name, port } });
  return [
    service('payments', { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }] }),
    service('cart', { clusterIP: '10.96.0.2', clusterIPs: ['10.96.0.2'], ports: [{ port: 8080 }, { port: 9090 }] }),
    service('cache', { clusterIP: 'None', clusterIPs: ['None'], ports: [{ port: 6379 }] }),
    {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: { name: 'checkout', namespace },
      spec: {
        consumer: { selector: { matchLabels: { app: 'checkout' } } },
        dependsOn: [
          to('payments', 80),
          to('cart', 8080),
          to('cache', 6379),
          { name: 'stripe', host: { name: 'api.stripe.com', port: 443 } },
          { name: 'partner', host: { name: 'api.partner.example', port: 80, tls } },
        ],
      },
    },
  ];
}

type Outcome = { pod: Pod } | { refusal: string };

async function create(injector: RegisteredInjector, namespace: string, pod: Pod): Promise<Outcome> {
  try {
    return { pod: await injector.create(namespace, pod) };
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) return { refusal: error.message };
    throw error;
  }
}

// ---- What may differ ----

type Json = Record<string, unknown>;
interface Named {
  name?: string;
  ip?: string;
}
const nameOf = (item: Named) => item.name ?? item.ip ?? '';

/** What the API server chose for this very request, and what follows from the resources of all containers. */
function comparable(pod: Pod): Json {
  const { labels, annotations, ownerReferences, finalizers } = (pod.metadata ?? {}) as Json;
  return structuredClone({ metadata: { labels, annotations, ownerReferences, finalizers }, spec: pod.spec });
}

/** The injected pod without what injection may have added beside what is in the plain one. */
function withoutChanges(injected: Json, plain: Json): Json {
  for (const one of CHANGES) {
    const parts = one.path.split('.');
    visit(injected, plain, parts, (list, own) => {
      if (!Array.isArray(list)) {
        const before = (own ?? {}) as Json;
        for (const key of Object.keys(list)) {
          if (!mayBeAdded(one, key)) continue;
          if (!(key in before)) delete list[key];
          else if (one.overwrites) list[key] = before[key];
        }
        return own === undefined && Object.keys(list).length === 0 ? undefined : list;
      }
      const before = new Set(((own ?? []) as Named[]).map(nameOf));
      const left = (list as Named[]).filter((item) => before.has(nameOf(item)) || !mayBeAdded(one, nameOf(item)));
      return own === undefined && left.length === 0 ? undefined : left;
    });
  }
  return injected;
}

/** Puts what `change` makes of the place into it, in each item of a list where the path says so. */
function visit(
  injected: Json,
  plain: unknown,
  [part = '', ...rest]: string[],
  change: (value: Json | unknown[], own: unknown) => unknown,
): void {
  const own = (plain as Json | undefined)?.[part.replace('[]', '')];
  if (part.endsWith('[]')) {
    const items = (injected[part.slice(0, -2)] ?? []) as (Json & Named)[];
    const twins = new Map(((own ?? []) as Named[]).map((item) => [nameOf(item), item]));
    for (const item of items) visit(item, twins.get(nameOf(item)), rest, change);
    return;
  }
  const value = injected[part] as Json | unknown[] | undefined;
  if (value === undefined) return;
  if (rest.length > 0) {
    visit(value as Json, own, rest, change);
    return;
  }
  const changed = change(value, own);
  if (changed === undefined) delete injected[part];
  else injected[part] = changed;
}

// ---- One pod ----

export type Result = 'refused' | 'left alone' | 'iptables' | 'loopback' | 'explicit';

async function tryPod(injector: RegisteredInjector, seed: number): Promise<Result> {
  const level = LEVELS[seed % LEVELS.length] ?? 'privileged';
  const pod = randomPod(seed, level !== 'privileged');
  const [plain, outcome] = await Promise.all([create(injector, `plain-${level}`, pod), create(injector, level, pod)]);
  if ('refusal' in plain) return 'refused';
  if ('refusal' in outcome) throw new Error(`refused with the webhook: ${outcome.refusal}`);
  const injected = outcome.pod;
  const own = initNames(plain.pod).filter((name) => name === SIDECAR_CONTAINER).length;
  const sidecars = initNames(injected).filter((name) => name === SIDECAR_CONTAINER).length;
  if (isDeepStrictEqual(comparable(injected), comparable(plain.pod))) return 'left alone';
  if (own !== 0 || sidecars !== 1) throw new Error(`${sidecars} sidecars, ${own} before`);
  expect(injected.metadata?.annotations?.[INJECTED_ANNOTATION]).toBe('0.1.0');
  const before = comparable(plain.pod);
  expect(withoutChanges(comparable(injected), before)).toEqual(before);
  const again = await create(injector, level, { metadata: injected.metadata ?? {}, spec: injected.spec ?? {} });
  if ('refusal' in again) throw new Error(`refused the second time: ${again.refusal}`);
  expect(comparable(again.pod)).toEqual(comparable(injected));
  const { env = [] } = (injected.spec?.initContainers?.find(({ name }) => name === SIDECAR_CONTAINER) ?? {}) as {
    env?: { name: string; value?: string }[];
  };
  const capture = env.find(({ name }) => name === 'BREAKWATER_CAPTURE')?.value as Result;
  expect(initNames(injected).includes(CAPTURE_CONTAINER)).toBe(capture === 'iptables');
  return capture;
}

/** How many pods became what. Rejects with the seed of the first pod with which something is wrong. */
export async function fuzzPods(
  injector: RegisteredInjector,
  seeds: readonly number[],
): Promise<Record<Result, number>> {
  const results: Record<Result, number> = { refused: 0, 'left alone': 0, iptables: 0, loopback: 0, explicit: 0 };
  let next = 0;
  const work = async () => {
    for (let seed = seeds[next++]; seed !== undefined; seed = seeds[next++]) {
      const result = await tryPod(injector, seed).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        throw new Error(`pod ${seed} (SEED=${seed} npm test -- operator/inject/admission): ${message}`);
      });
      results[result] += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

/** The pods must not be so odd that they show nothing. */
export function expectVariety(results: Record<Result, number>): void {
  const all = Object.values(results).reduce((sum, count) => sum + count, 0);
  expect(results.refused).toBeLessThan(0.05 * all);
  for (const kind of ['left alone', 'iptables', 'loopback', 'explicit'] as const) {
    expect(results[kind], `${kind} of ${JSON.stringify(results)}`).toBeGreaterThan(0.05 * all);
  }
}
