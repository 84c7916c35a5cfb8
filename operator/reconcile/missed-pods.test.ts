import { expect, test } from 'vitest';
import type { World, WorldPod } from '../compile/world.ts';
import type { EventInput } from './events.ts';
import { MissedPods } from './missed-pods.ts';

function pod(name: string, over: Partial<WorldPod> = {}): WorldPod {
  return {
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
    labels: {},
    annotations: {},
    creationTimestamp: '2026-01-01T00:00:00Z',
    phase: 'Running',
    terminating: false,
    ip: undefined,
    node: undefined,
    serviceAccountName: 'default',
    hostNetwork: false,
    mirror: false,
    injected: false,
    capture: undefined,
    birth: undefined,
    certificates: undefined,
    owner: undefined,
    ...over,
  };
}

function world(pods: WorldPod[], labels: Record<string, string> = { 'breakwater.dev/injection': 'enabled' }): World {
  return {
    clusterDomain: 'cluster.local',
    systemNamespace: 'breakwater-system',
    injection: { capture: 'auto', podSecurityDefault: 'privileged' },
    namespaces: [
      { name: 'shop', labels, annotations: {} },
      { name: 'other', labels: {}, annotations: {} },
    ],
    services: [],
    endpointSlices: [],
    pods,
    serviceDependencies: [],
    resiliencePolicies: [],
    invalid: [],
    refusals: [],
  };
}

function setUp() {
  const told: EventInput[] = [];
  return { told, missed: new MissedPods({ record: (event) => told.push(event) }) };
}

test('tells of each pod that should have a sidecar and has none, once', () => {
  const { told, missed } = setUp();
  const pods = [
    pod('bare'),
    pod('injected', { injected: true }),
    pod('opted-out', { labels: { 'breakwater.dev/injection': 'disabled' } }),
    pod('over', { phase: 'Succeeded' }),
    pod('going', { terminating: true }),
    pod('elsewhere', { namespace: 'other' }),
  ];
  missed.report(world(pods));
  missed.report(world([...pods, pod('bare-too')]));
  expect(told.map(({ regarding }) => regarding.name)).toEqual(['bare', 'bare-too']);
  expect(told[0]).toMatchObject({
    type: 'Warning',
    reason: 'NotInjected',
    regarding: { kind: 'Pod', uid: 'uid-bare' },
  });
});

test('tells again of a pod of the same name that is another', () => {
  const { told, missed } = setUp();
  missed.report(world([pod('bare')]));
  missed.report(world([pod('bare', { uid: 'another' })]));
  expect(told).toHaveLength(2);
});

test.each([
  [pod('a', { hostNetwork: true }), {}, 'network of its node'],
  [pod('a', { mirror: true }), {}, 'mirror pod'],
  [
    pod('a', { annotations: { 'breakwater.dev/capture': 'iptables' } }),
    { 'pod-security.kubernetes.io/enforce': 'restricted' },
    'PodSecurity restricted',
  ],
  [pod('a'), { 'pod-security.kubernetes.io/enforce': 'restricted' }, 'kubectl delete pod a --namespace shop'],
  [pod('a'), { 'pod-security.kubernetes.io/enforce': 'privileged' }, 'kubectl delete pod a --namespace shop'],
])('says why (%#)', (one, labels, words) => {
  const { told, missed } = setUp();
  missed.report(world([one], { 'breakwater.dev/injection': 'enabled', ...labels }));
  expect(told[0]?.note).toContain(words);
});
