// What holds for every world. Worlds are made of few names, so that objects refer to each other, collide and miss.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endpointSet } from '../../plan/endpoints.ts';
import { workloadPlan } from '../../plan/plan.ts';
import { compile } from './compile.ts';
import { canonicalJson } from './identity.ts';
import type { CompileResult } from './result.ts';
import { endpointSlice, type Manifest, pod, policy, serviceDependency, TARGETS, world } from './testing.ts';

const name = (...names: string[]) => fc.constantFrom(...names);
const namespace = name('shop', 'billing');
const labels = fc.record(
  { app: name('checkout', 'cart'), tier: name('web', 'api') },
  { requiredKeys: [] },
) as fc.Arbitrary<Record<string, string>>;
const duration = name('0s', '1ms', '40ms', '1s', '3s', '1m');
const mode = name('Enforce', 'Disabled');
const kinds = fc.uniqueArray(name('ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'));
const optional = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { requiredKeys: [] });

const blocks = {
  timeouts: optional({ mode, request: duration, attempt: duration, connect: duration }),
  retries: optional({
    mode,
    maxAttempts: fc.integer({ min: 1, max: 10 }),
    retryOn: kinds,
    backoff: optional({ initial: name('1ms', '1s'), max: name('10ms', '2s') }),
  }),
  circuitBreaker: optional({
    mode,
    failureOn: kinds,
    openFor: name('1s', '1m'),
    maxOpenFor: name('10s', '2m'),
    slowCalls: fc.record({ threshold: name('10ms', '1s') }),
    failureRate: fc.constant({}),
  }),
  bulkhead: optional({ mode, maxConcurrent: fc.integer({ min: 1, max: 50 }), maxQueued: fc.nat(50) }),
  loadBalancing: fc
    .tuple(
      optional({ mode, zoneAware: name('Hints', 'Disabled'), slowStart: optional({ window: name('10s', '1m') }) }),
      fc.constantFrom(
        {},
        { algorithm: 'RoundRobin' },
        { algorithm: 'ConsistentHash', consistentHash: { key: 'Header', name: 'X-User', maxLoadPercent: 200 } },
        { algorithm: 'ConsistentHash', consistentHash: { key: 'Cookie', name: 'session' } },
        { algorithm: 'ConsistentHash', consistentHash: { key: 'SourceAddress' } },
      ),
    )
    .map(([one, other]) => ({ ...one, ...other })),
};

const rules = fc.uniqueArray(
  fc
    .tuple(name('charge', 'report', 'list'), optional(blocks))
    .map(([rule, set]) => ({ name: rule, matches: [{ method: 'GET' }], ...set })),
  { selector: (rule) => rule.name, maxLength: 3 },
);

const services = fc.record({
  apiVersion: fc.constant('v1'),
  kind: fc.constant('Service'),
  metadata: fc.record({ name: name('payments', 'inventory', 'absent'), namespace }),
  spec: fc.record(
    {
      type: name('ClusterIP', 'ClusterIP', 'ClusterIP', 'ExternalName'),
      clusterIP: name('10.96.0.1', '10.96.0.2', 'None'),
      ports: fc.constantFrom(
        [{ name: 'http', port: 8080 }],
        [{ port: 8080 }],
        [
          { name: 'tcp-db', port: 5432 },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      ),
      sessionAffinity: name('None', 'ClientIP'),
    },
    { requiredKeys: ['ports'] },
  ),
}) as fc.Arbitrary<Manifest>;

const dependencies = fc
  .record({
    named: name('checkout', 'cart', 'all'),
    namespace,
    selector: fc.oneof(
      fc.constant({}),
      labels.map((matchLabels) => ({ matchLabels })),
      fc.constant({ matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['web'] }] }),
    ),
    dependsOn: fc.uniqueArray(
      fc.record({
        name: name('payments', 'inventory', 'db'),
        service: fc.record(
          { name: name('payments', 'inventory', 'nobody'), namespace, port: fc.constantFrom(8080, 5432, 53, 'http') },
          { requiredKeys: ['name', 'port'] },
        ),
      }),
      { selector: (entry) => entry.name, minLength: 1, maxLength: 3 },
    ),
    created: name('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
    annotations: fc.option(fc.record({ 'breakwater.dev/enforcement': name('disabled', 'enabled', 'off') }), {
      nil: {},
    }),
  })
  .map(({ named, created, annotations, ...rest }) =>
    serviceDependency(named, { ...rest, metadata: { creationTimestamp: created, annotations } }),
  );

const targets = fc.uniqueArray(
  fc.oneof(
    fc.constant(TARGETS.platform),
    namespace.map(TARGETS.namespace),
    name('payments', 'inventory', 'nobody').map(TARGETS.service),
    fc
      .tuple(name('checkout', 'cart', 'all'), fc.option(name('payments', 'db'), { nil: undefined }))
      .map(([dependency, section]) => TARGETS.dependency(dependency, section)),
  ),
  { selector: (target) => JSON.stringify(target), minLength: 1, maxLength: 3 },
);

const policies = fc
  .record({
    named: name('a', 'b', 'c', 'd'),
    namespace: name('shop', 'billing', 'breakwater-system'),
    created: name('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
    targets,
    set: optional(blocks),
    rules,
  })
  .map((it) =>
    policy(
      it.named,
      it.targets,
      { ...it.set, rules: it.rules },
      { namespace: it.namespace, creationTimestamp: it.created },
    ),
  );

const pods = fc
  .record({ named: name('p1', 'p2', 'p3', 'p4', 'p5'), namespace, labels })
  .map(({ named, ...rest }) => pod(named, rest));

const slices = fc
  .record({
    named: name('s1', 's2', 's3', 's4'),
    of: name('payments', 'inventory'),
    addresses: fc.uniqueArray(name('10.0.0.1', '10.0.0.2', '10.0.0.3')),
  })
  .map(({ named, of, addresses }) => endpointSlice(named, of, addresses));

const identity = (manifest: Manifest) => {
  const metadata = manifest['metadata'] as { namespace?: string; name: string };
  return `${String(manifest['kind'])} ${metadata.namespace}/${metadata.name}`;
};
const unique = (arbitrary: fc.Arbitrary<Manifest>, maxLength: number) =>
  fc.uniqueArray(arbitrary, { selector: identity, maxLength });

const objects = fc
  .tuple(unique(services, 5), unique(dependencies, 5), unique(policies, 6), unique(pods, 6))
  .map((groups) => groups.flat());
const endpoints = unique(slices, 4);

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}

/** Two results are equal when these are; a text compares faster than a large object. */
function plain({ workloads, problems, endpointSets, facts }: CompileResult): string {
  return canonicalJson([workloads, problems, [...endpointSets], ...Object.values(facts).map((it) => [...it])]);
}

describe('compile, for every world,', () => {
  it('leaves its input alone and makes what fits the contract', () => {
    fc.assert(
      fc.property(objects, endpoints, (manifests, sets) => {
        const result = compile(deepFreeze(world([...manifests, ...sets])));
        for (const workload of result.workloads) {
          expect(workloadPlan.parse(workload.plan)).toEqual(workload.plan);
          expect(new Set(workload.plan.dependencies.map((dependency) => dependency.endpointsKey)).size).toBe(
            workload.plan.dependencies.length,
          );
          for (const { levels, combinations, policies: rows } of workload.plan.dependencies) {
            expect(combinations).toHaveLength(levels.reduce((product, level) => product * (level.length + 1), 1));
            for (const row of combinations) expect(rows[row]).toBeDefined();
            expect(new Set(combinations).size).toBe(rows.length);
          }
        }
        for (const set of result.endpointSets.values()) expect(endpointSet.parse(set)).toEqual(set);
        for (const it of result.problems) {
          expect(it.message.length).toBeGreaterThan(0);
          expect(it.message).not.toMatch(/undefined|\[object/);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives the same for the same objects in another order', () => {
    const shuffled = fc
      .tuple(objects, endpoints)
      .map((groups) => groups.flat())
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(shuffled, ([one, other]) => {
        expect(plain(compile(world(other)))).toBe(plain(compile(world(one))));
      }),
      { numRuns: 60 },
    );
  });

  it('names plans by what they say: endpoints and numbers of pods change no version', () => {
    const versions = (result: CompileResult) => new Map(result.workloads.map(({ id, version }) => [id, version]));
    fc.assert(
      fc.property(objects, endpoints, endpoints, (manifests, before, after) => {
        const known = versions(compile(world([...manifests, ...before])));
        const twins = manifests
          .filter((manifest) => manifest['kind'] === 'Pod')
          .map((manifest) => {
            const metadata = manifest['metadata'] as Manifest;
            return { ...manifest, metadata: { ...metadata, name: `${String(metadata['name'])}-twin` } };
          });
        expect(versions(compile(world([...manifests, ...after])))).toEqual(known);
        expect(versions(compile(world([...manifests, ...twins])))).toEqual(known);
      }),
      { numRuns: 60 },
    );
  });

  it('gives equal plans equal versions, and different plans different ones', () => {
    fc.assert(
      fc.property(objects, objects, (one, other) => {
        const plans = new Map<string, string>();
        const versions = new Map<string, string>();
        for (const { plan, version } of [one, other].flatMap((manifests) => compile(world(manifests)).workloads)) {
          const said = canonicalJson(plan);
          expect(plans.get(version) ?? said).toBe(said);
          expect(versions.get(said) ?? version).toBe(version);
          plans.set(version, said);
          versions.set(said, version);
        }
      }),
    );
  });

  it('gives every selected pod exactly one workload', () => {
    fc.assert(
      fc.property(objects, (manifests) => {
        const { workloads } = compile(world(manifests));
        const all = workloads.flatMap((workload) => workload.pods);
        const present = manifests.filter((manifest) => manifest['kind'] === 'Pod').map((it) => identity(it).slice(4));
        expect(all.toSorted()).toEqual(present.toSorted());
        expect(new Set(workloads.map((workload) => workload.id)).size).toBe(workloads.length);
      }),
    );
  });

  it('tells of every invalid object, with the field', () => {
    const broken = fc.oneof(
      fc
        .constantFrom(0, -1, 70_000, '8080', '', null)
        .map((port) =>
          serviceDependency('broken', { dependsOn: [{ name: 'x', service: { name: 'payments', port } }] }),
        ),
      fc
        .constantFrom({ retries: { maxAttempts: 0 } }, { timeouts: { request: '5 s' } }, { bulkhead: [] })
        .map((set) => policy('broken', [TARGETS.service('payments')], set)),
    );
    fc.assert(
      fc.property(objects, broken, (manifests, invalid) => {
        const { problems } = compile(world([...manifests, invalid]));
        const own = problems.filter((it) => it.object.name === 'broken');
        expect(own.length).toBeGreaterThan(0);
        for (const it of own) {
          expect(it).toMatchObject({ reason: 'Invalid', condition: 'Accepted', severity: 'Error' });
          expect(it.field).toMatch(/^spec\./);
        }
      }),
    );
  });
});
