// What changes the version of a plan, and what does not. Cases of everything else are in testdata.
import { describe, expect, it } from 'vitest';
import { compile } from './compile.ts';
import { endpointSlice, type Manifest, pod, policy, service, serviceDependency, TARGETS, world } from './testing.ts';
import { emptyWorkload } from './workloads.ts';

const target = [TARGETS.dependency('checkout')];
const entry = (more: Manifest, called: Manifest = {}) => ({
  dependsOn: [{ name: 'payments', service: { name: 'payments', port: 8080, ...called }, ...more }],
});
const parts = {
  service: service('payments'),
  dependency: serviceDependency('checkout'),
  policy: policy('team', target, { retries: {} }),
  pod: pod('checkout-1'),
};

function versionWith(changed: Partial<Record<keyof typeof parts, Manifest>>, ...more: Manifest[]): string {
  const { workloads } = compile(world([...Object.values({ ...parts, ...changed }), ...more]));
  expect(workloads).toHaveLength(1);
  return workloads[0]?.version ?? '';
}

describe('the version of a plan', () => {
  const before = versionWith({});

  it.each<[string, Partial<Record<keyof typeof parts, Manifest>>]>([
    ['a number of a policy', { policy: policy('team', target, { retries: { maxAttempts: 2 } }) }],
    [
      'a rule of a policy',
      { policy: policy('team', target, { retries: {}, rules: [{ name: 'a', matches: [{ method: 'GET' }] }] }) },
    ],
    [
      'the generation of a policy, which answers name',
      { policy: policy('team', target, { retries: {} }, { generation: 2 }) },
    ],
    ['a ClusterIP', { service: service('payments', { spec: { clusterIPs: ['10.96.0.99'] } }) }],
    ['the protocol', { service: service('payments', { ports: [{ name: 'web', port: 8080 }] }) }],
    ['the balancing', { service: service('payments', { spec: { sessionAffinity: 'ClientIP' } }) }],
    ['the criticality', { dependency: serviceDependency('checkout', entry({ criticality: 'Optional' })) }],
    ['the name of an entry', { dependency: serviceDependency('checkout', entry({ name: 'pay' })) }],
    [
      'the kill switch',
      {
        dependency: serviceDependency('checkout', {
          metadata: { annotations: { 'breakwater.dev/enforcement': 'disabled' } },
        }),
      },
    ],
  ])('changes with %s', (_, changed) => {
    expect(versionWith(changed)).not.toBe(before);
  });

  it.each<[string, Partial<Record<keyof typeof parts, Manifest>>, Manifest[]]>([
    ['endpoints', {}, [endpointSlice('s', 'payments', ['10.0.0.1'])]],
    ['another pod of the workload', {}, [pod('checkout-2')]],
    ['pods that come and go', { pod: pod('checkout-9') }, []],
    [
      'another way to say the same',
      {
        dependency: serviceDependency(
          'checkout',
          entry({ criticality: 'Required' }, { namespace: 'shop', port: 'http' }),
        ),
      },
      [],
    ],
    [
      'a default that is written out',
      { policy: policy('team', target, { retries: { maxAttempts: 3, backoff: {} } }) },
      [],
    ],
    [
      'the order of a list that is a set',
      {
        policy: policy('team', target, {
          retries: { retryOn: ['Reset', 'GatewayError', 'ConnectFailure', 'AttemptTimeout'] },
        }),
      },
      [],
    ],
    ['objects that do not concern it', {}, [service('other'), policy('other', [TARGETS.service('other')], {})]],
  ])('does not change with %s', (_, changed, more) => {
    expect(versionWith(changed, ...more)).toBe(before);
  });
});

describe('the workload of a pod', () => {
  it('is the set of what selects it in its namespace', () => {
    const input = world([
      serviceDependency('b', { selector: {} }),
      serviceDependency('a'),
      serviceDependency('a', { namespace: 'billing', selector: {} }),
      pod('checkout-1'),
    ]);
    const [found] = compile(input).workloads.filter(({ pods }) => pods.length > 0);
    expect(found?.id).toBe('shop/a+b');
  });

  it('is empty where nothing selects it, as that of an injected pod that compile found so', () => {
    const [found] = compile(world([pod('lonely')])).workloads;
    expect(emptyWorkload('shop')).toEqual({ ...found, pods: [], sidecars: [] });
    expect(found).toMatchObject({ id: 'shop/', plan: { serviceDependencies: [], dependencies: [] } });
  });
});
