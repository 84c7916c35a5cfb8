// Every example is valid, resolves, and does what its comment says.
import { describe, expect, it } from 'vitest';
import { addObject, buildWorld, createWorldBuilder } from '../operator/compile/world-builder.ts';
import { birthOf } from '../operator/inject/bootstrap.ts';
import { decide } from '../operator/inject/decide.ts';
import { Declarations } from '../operator/inject/declared.ts';
import type { Pod } from '../operator/inject/pod.ts';
import { defaultSettings } from '../operator/inject/settings.ts';
import type { PolicyPlan } from '../plan/plan.ts';
import { compileManifests, exampleFiles, manifestsOf, readText, schemaProblems } from './examples.ts';

const shop = manifestsOf(readText('examples/shop.yaml'));
const policiesOf = (files: readonly string[], dependency: string): readonly PolicyPlan[] => {
  const result = compileManifests([...shop, ...files.flatMap((file) => manifestsOf(readText(`examples/${file}`)))]);
  const found = result.workloads.flatMap(({ plan }) => plan.dependencies).find(({ name }) => name === dependency);
  if (!found) throw new Error(`no dependency ${dependency}`);
  return found.policies;
};
const base = (files: readonly string[], dependency: string) =>
  policiesOf(files, dependency).find(({ rule }) => rule === 'base');

describe('the examples', () => {
  it.each(exampleFiles())('%s fits the schemas and compiles without an error', (file) => {
    const manifests = manifestsOf(readText(`examples/${file}`));
    expect(schemaProblems(manifests)).toEqual([]);
    const { problems } = compileManifests([...shop, ...manifests]);
    // None of the warnings that would concern whoever copies it.
    const allowed = new Set(['NoPodsSelected', 'ActsOnDeclaredCallsOnly', 'EnforcementDisabled', 'FaultsInjected']);
    expect(problems.filter(({ reason }) => !allowed.has(reason))).toEqual([]);
  });

  it('standalone fits the schemas, resolves, and knows its endpoint', () => {
    const manifests = ['shop', 'policy', 'endpoints'].flatMap((name) =>
      manifestsOf(readText(`examples/standalone/${name}.yaml`)),
    );
    expect(schemaProblems(manifests)).toEqual([]);
    const { problems, endpointSets } = compileManifests(manifests);
    expect(problems.filter(({ severity }) => severity === 'Error')).toEqual([]);
    expect([...endpointSets.values()].map(({ endpoints }) => endpoints)).toEqual([
      [{ address: '127.0.0.1', port: 9001 }],
    ]);
  });

  it('shop.yaml declares without enforcing', () => {
    expect(base([], 'payments')).toMatchObject({
      retries: null,
      circuitBreaker: null,
      bulkhead: null,
      timeouts: { requestMs: 0, connectMs: 2_000 },
    });
  });

  it('timeouts.yaml bounds calls, attempts and connects', () => {
    expect(base(['timeouts.yaml'], 'inventory')?.timeouts).toMatchObject({
      requestMs: 2_000,
      attemptMs: 1_000,
      connectMs: 300,
    });
  });

  it('retries.yaml retries inventory alone', () => {
    expect(base(['retries.yaml'], 'inventory')?.retries).toMatchObject({
      maxAttempts: 3,
      methods: 'Idempotent',
      budgetPercent: 20,
    });
    expect(base(['retries.yaml'], 'payments')?.retries).toBeNull();
  });

  it('hedging.yaml hedges reads of inventory, within the budget of retries', () => {
    expect(base(['hedging.yaml'], 'inventory')).toMatchObject({
      hedging: { afterPercentile: 95, minDelayMs: 20, maxDelayMs: null, maxHedges: 1 },
      retries: { budgetPercent: 20 },
    });
    expect(base(['hedging.yaml'], 'payments')?.hedging).toBeNull();
  });

  it('circuit-breaker.yaml sets all three triggers', () => {
    expect(base(['circuit-breaker.yaml'], 'payments')?.circuitBreaker).toMatchObject({
      consecutiveFailures: 5,
      failureRate: { percent: 50, minimumCalls: 20 },
      slowCalls: { percent: 80, minimumCalls: 20, thresholdMs: 1_000 },
      openForMs: 15_000,
      halfOpenMaxProbes: 2,
    });
  });

  it('outlier-detection.yaml ejects a third of the pods at most', () => {
    expect(base(['outlier-detection.yaml'], 'payments')?.outlierDetection).toMatchObject({
      consecutiveFailures: 5,
      successRate: { minimumEndpoints: 5, minimumCalls: 100, deviationFactorPercent: 190 },
      maxEjectionPercent: 33,
      ejectForMs: 30_000,
      maxEjectForMs: 300_000,
    });
    expect(base(['outlier-detection.yaml'], 'inventory')?.outlierDetection).toBeNull();
  });

  it('force-circuit.yaml holds the circuit to payments open, and no other', () => {
    expect(base(['force-circuit.yaml'], 'payments')?.circuitBreaker?.force).toBe('Open');
    expect(base(['complete.yaml', 'force-circuit.yaml'], 'inventory')?.circuitBreaker?.force).toBeNull();
  });

  it('load-balancing.yaml keeps a user with a pod, and lets new pods warm up', () => {
    expect(base(['load-balancing.yaml'], 'payments')?.loadBalancing).toMatchObject({
      algorithm: 'ConsistentHash',
      consistentHash: { key: 'Header', name: 'x-user-id', maxLoadPercent: 150 },
      slowStart: { windowMs: 60_000 },
      zoneAware: 'Hints',
    });
    expect(base(['load-balancing.yaml'], 'inventory')?.loadBalancing).toBeNull();
  });

  it('health-check.yaml asks inventory alone', () => {
    expect(base(['health-check.yaml'], 'inventory')?.healthCheck).toMatchObject({
      path: '/health',
      port: null,
      intervalMs: 5_000,
      timeoutMs: 500,
      expectedStatuses: [200, 204],
    });
    expect(base(['health-check.yaml'], 'payments')?.healthCheck).toBeNull();
  });

  it('bulkhead.yaml bounds what payments can hold', () => {
    expect(base(['bulkhead.yaml'], 'payments')?.bulkhead).toMatchObject({
      maxConcurrent: 20,
      maxQueued: 20,
      queueTimeoutMs: 200,
    });
  });

  it('adaptive-bulkhead.yaml lets the limit be found between two bounds', () => {
    expect(base(['adaptive-bulkhead.yaml'], 'payments')?.bulkhead).toMatchObject({
      maxConcurrent: 200,
      maxQueued: 50,
      adaptive: { minConcurrent: 5, latencyTolerancePercent: 25 },
    });
  });

  it('rate-limit.yaml limits payments as a whole, and inventory by tenant', () => {
    expect(base(['rate-limit.yaml'], 'payments')?.rateLimit).toMatchObject({
      requestsPerSecond: 200,
      burst: 50,
      perHeader: null,
    });
    expect(base(['rate-limit.yaml'], 'inventory')?.rateLimit).toMatchObject({
      requestsPerSecond: 20,
      burst: 20,
      perHeader: { name: 'x-tenant', maxValues: 500 },
    });
  });

  it('fallback.yaml gives the last stock, and no recommendations', () => {
    const policies = policiesOf(['fallback.yaml'], 'inventory');
    expect(
      policies.map(({ rule, fallback }) => [rule, fallback?.lastGood?.maxAgeMs, fallback?.response?.body]),
    ).toEqual([
      ['base', 600_000, undefined],
      ['recommendations', undefined, '{"items":[]}'],
    ]);
    expect(policies.map(({ fallback }) => fallback?.methods)).toEqual(['Safe', 'Safe']);
  });

  it('game-day.yaml strikes all but charges', () => {
    const policies = policiesOf(['game-day.yaml'], 'payments');
    expect(policies.map(({ rule, faultInjection }) => [rule, faultInjection])).toEqual([
      ['base', { delay: { fixedMs: 400, percent: 20 }, abort: { statusCode: 503, percent: 10 } }],
      ['charge', null],
    ]);
  });

  it('rules.yaml gives charges and reports values of their own', () => {
    const policies = policiesOf(['rules.yaml'], 'payments');
    const rule = (name: string) => policies.find((policy) => policy.rule.endsWith(name));
    expect(rule('charge')).toMatchObject({
      timeouts: { requestMs: 10_000 },
      retries: { maxAttempts: 1 },
      bulkhead: null,
    });
    expect(rule('reports')).toMatchObject({
      timeouts: { requestMs: 30_000 },
      retries: { maxAttempts: 3 },
      bulkhead: { maxConcurrent: 2, queueTimeoutMs: 0 },
    });
    expect(rule('base')).toMatchObject({ timeouts: { requestMs: 2_000 } });
  });

  it('service-owner.yaml is a default for every caller, and switch-off.yaml does without a part of it', () => {
    expect(base(['service-owner.yaml'], 'payments')).toMatchObject({
      retries: { maxAttempts: 2, budgetPercent: 10 },
      circuitBreaker: { consecutiveFailures: 5 },
    });
    expect(base(['service-owner.yaml', 'switch-off.yaml'], 'payments')).toMatchObject({
      retries: { maxAttempts: 2 },
      circuitBreaker: null,
    });
    expect(base(['service-owner.yaml', 'timeouts.yaml'], 'payments')).toMatchObject({
      timeouts: { requestMs: 2_000 },
      retries: { maxAttempts: 2 },
    });
  });

  it('shadow.yaml judges without acting', () => {
    expect(base(['shadow.yaml'], 'payments')).toMatchObject({
      circuitBreaker: null,
      bulkhead: null,
      shadow: {
        timeouts: null,
        retries: null,
        circuitBreaker: { consecutiveFailures: 5, openForMs: 15_000 },
        bulkhead: { maxConcurrent: 20 },
      },
    });
  });

  it('complete.yaml merges what holds for all calls with what payments needs', () => {
    const policies = policiesOf(['complete.yaml'], 'payments');
    expect(policies.find(({ rule }) => rule === 'base')).toMatchObject({
      timeouts: { requestMs: 5_000, attemptMs: 1_500 },
      retries: { maxAttempts: 3 },
      circuitBreaker: { consecutiveFailures: 5, openForMs: 15_000, slowCalls: { thresholdMs: 1_000 } },
      bulkhead: { maxConcurrent: 20 },
    });
    expect(policies.find(({ rule }) => rule.endsWith('charge'))).toMatchObject({
      timeouts: { requestMs: 10_000 },
      retries: { maxAttempts: 1 },
    });
    expect(base(['complete.yaml'], 'inventory')?.bulkhead).toBeNull();
  });

  it('tls.yaml speaks TLS to a host that is called in plain HTTP, with certificates that a pod is given', () => {
    const manifests = [...shop, ...manifestsOf(readText('examples/tls.yaml'))];
    const { workloads, problems } = compileManifests(manifests);
    const plan = workloads.flatMap((one) => one.plan.dependencies).find(({ name }) => name === 'partner');
    expect(plan?.host).toMatchObject({ port: 80, tls: { port: 443, clientCertificate: 'partner-client' } });
    expect(plan?.authority).toBe('api.partner.example');
    expect(base(['tls.yaml'], 'partner')).toMatchObject({
      retries: { maxAttempts: 3 },
      timeouts: { attemptMs: 2_000 },
    });
    expect(problems.filter(({ reason }) => reason.startsWith('NoEffect'))).toEqual([]);
  });

  it('hosts.yaml protects hosts, and counts what nobody declared', () => {
    expect(base(['hosts.yaml'], 'stripe')).toMatchObject({
      timeouts: { connectMs: 1_000, opaqueIdleMs: 120_000 },
      circuitBreaker: { consecutiveFailures: 5 },
    });
    expect(base(['hosts.yaml'], 'rates')).toMatchObject({
      timeouts: { requestMs: 2_000, attemptMs: 500 },
      retries: { maxAttempts: 3 },
      circuitBreaker: { consecutiveFailures: 5 },
    });
    const { workloads, problems } = compileManifests([...shop, ...manifestsOf(readText('examples/hosts.yaml'))]);
    const outside = workloads.filter(({ plan }) => plan.serviceDependencies.includes('outside'));
    expect(outside.map(({ plan }) => plan.undeclared)).toContain('Warn');
    expect(problems.filter(({ reason }) => reason === 'NoEffectOnTls')).toEqual([]);
  });

  it('restricted.yaml is captured without privileges', () => {
    const manifests = [...shop, ...manifestsOf(readText('examples/restricted.yaml'))];
    const builder = createWorldBuilder();
    for (const manifest of manifests) addObject(builder, manifest);
    const world = buildWorld(builder, 'cluster.local');
    const deployment = manifests.find(({ kind }) => kind === 'Deployment') as unknown as { spec: { template: Pod } };
    const { metadata = {}, spec = {} } = deployment.spec.template;
    const pod: Pod = { metadata, spec: { ...spec, serviceAccountName: 'default' } };
    const decision = decide(pod, {
      namespace: builder.namespaces.get('vault'),
      defaults: defaultSettings(),
      podSecurityDefault: 'privileged',
    });
    if (!decision.inject || decision.capture === 'iptables') throw new Error(JSON.stringify(decision));
    const { settings, capture } = decision;
    const service = (namespace: string, name: string) => {
      const found = builder.services.get(`${namespace}/${name}`);
      return found && { ...found, clusterIPs: ['10.96.0.1'] };
    };
    const declarations = new Declarations({ serviceDependencies: () => world.serviceDependencies, service });
    const declared = declarations.of('vault', metadata.labels ?? {});
    const born = birthOf(pod, { settings, capture, namespace: 'vault', clusterDomain: 'cluster.local', declared });
    expect(born.leftOut).toEqual([]);
    expect(born.hostAliases.flatMap(({ hostnames }) => hostnames)).toContain('payments.billing');
    expect(born.bootstrap).toMatchObject({ capture: 'loopback', entries: [{ ports: [{ listen: 8080, port: 8080 }] }] });
  });

  it('kill-switch.yaml disables every policy of checkout', () => {
    const { workloads } = compileManifests([
      ...shop,
      ...['complete.yaml', 'kill-switch.yaml'].flatMap((file) => manifestsOf(readText(`examples/${file}`))),
    ]);
    const dependencies = workloads.flatMap(({ plan }) => plan.dependencies);
    expect(dependencies.map(({ name, enforcement }) => `${name} ${enforcement}`).sort()).toEqual([
      'checkout Enabled',
      'inventory Disabled',
      'payments Disabled',
    ]);
  });
});
