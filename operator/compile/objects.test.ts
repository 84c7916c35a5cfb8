import { describe, expect, it } from 'vitest';
import {
  addObject,
  buildWorld,
  createWorldBuilder,
  ManifestError,
  toWorldEndpointSlice,
  toWorldNamespace,
  toWorldPod,
  toWorldService,
} from './objects.ts';
import { policy, serviceDependency, TARGETS } from './testing.ts';

const meta = (name: string, more: object = {}) => ({ metadata: { name, namespace: 'shop', ...more } });

describe('toWorldService', () => {
  it('fills in what the API server would', () => {
    expect(toWorldService({ metadata: { name: 'a' }, spec: { ports: [{ port: 80 }] } })).toEqual({
      namespace: 'default',
      name: 'a',
      type: 'ClusterIP',
      clusterIPs: [],
      headless: false,
      ports: [{ name: '', port: 80, protocol: 'TCP', appProtocol: undefined }],
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
    });
  });

  it('reads both ways of writing a ClusterIP, and headless', () => {
    expect(toWorldService({ ...meta('a'), spec: { clusterIP: '10.0.0.1' } }).clusterIPs).toEqual(['10.0.0.1']);
    const dual = { clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1', 'fd00::1'] };
    expect(toWorldService({ ...meta('a'), spec: dual }).clusterIPs).toEqual(['10.0.0.1', 'fd00::1']);
    const none = toWorldService({ ...meta('a'), spec: { clusterIP: 'None', clusterIPs: ['None'] } });
    expect(none).toMatchObject({ headless: true, clusterIPs: [] });
    const alias = toWorldService({ ...meta('a'), spec: { type: 'ExternalName', externalName: 'x.example' } });
    expect(alias).toMatchObject({ headless: false, clusterIPs: [], ports: [] });
  });

  it('names the object and the field of a manifest that does not fit', () => {
    expect(() => toWorldService({ ...meta('a'), spec: { ports: [{ port: 'web' }] } })).toThrow(
      /^Service shop\/a does not fit at spec\.ports\.0\.port: /,
    );
    expect(() => toWorldService({ spec: {} })).toThrow(ManifestError);
    expect(() => toWorldService(null)).toThrow(ManifestError);
  });
});

describe('toWorldEndpointSlice', () => {
  it('resolves missing conditions and nulls as the API says', () => {
    const slice = toWorldEndpointSlice({
      ...meta('s', { labels: { 'kubernetes.io/service-name': 'payments' } }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 80 }, { port: null }],
      endpoints: [
        { addresses: ['10.0.0.1'] },
        { addresses: ['10.0.0.2'], conditions: { ready: null, serving: false, terminating: true } },
        { addresses: null, conditions: null, targetRef: { kind: 'Pod', name: 'p' } },
        { addresses: ['10.0.0.4'], conditions: { ready: false }, targetRef: { kind: 'Node', name: 'n' } },
      ],
    });
    const ready = { ready: true, serving: true, terminating: false };
    expect(slice).toEqual({
      namespace: 'shop',
      name: 's',
      service: 'payments',
      addressType: 'IPv4',
      ports: [
        { name: 'http', port: 80, appProtocol: undefined },
        { name: '', port: undefined, appProtocol: undefined },
      ],
      endpoints: [
        { addresses: ['10.0.0.1'], ...ready, pod: undefined },
        { addresses: ['10.0.0.2'], ready: true, serving: false, terminating: true, pod: undefined },
        { addresses: [], ...ready, pod: 'shop/p' },
        { addresses: ['10.0.0.4'], ...ready, ready: false, pod: undefined },
      ],
    });
  });

  it('reads the placeholder of a Service without pods', () => {
    const raw = { ...meta('s'), addressType: 'IPv4', ports: null, endpoints: null };
    expect(toWorldEndpointSlice(raw)).toMatchObject({ service: '', ports: [], endpoints: [] });
  });
});

describe('toWorldPod', () => {
  it('keeps what decides, and no annotation of others', () => {
    const raw = {
      ...meta('p', {
        uid: 'u',
        labels: { app: 'x' },
        annotations: { 'breakwater.dev/capture': 'iptables', 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
        creationTimestamp: '2026-01-01T00:00:00Z',
        deletionTimestamp: '2026-01-02T00:00:00Z',
      }),
      spec: { serviceAccountName: 's', hostNetwork: true, containers: [{ name: 'app', image: 'x' }] },
      status: { phase: 'Running', podIP: '10.0.0.1' },
    };
    expect(toWorldPod(raw)).toEqual({
      namespace: 'shop',
      name: 'p',
      uid: 'u',
      labels: { app: 'x' },
      annotations: { 'breakwater.dev/capture': 'iptables' },
      creationTimestamp: '2026-01-01T00:00:00Z',
      phase: 'Running',
      terminating: true,
      ip: '10.0.0.1',
      serviceAccountName: 's',
      hostNetwork: true,
      mirror: false,
      injected: false,
    });
  });

  it('knows its sidecar, as a container or a native sidecar, and mirror pods', () => {
    const containers = [{ name: 'app' }];
    expect(toWorldPod({ ...meta('p'), spec: { containers, initContainers: [{ name: 'breakwater' }] } }).injected).toBe(
      true,
    );
    expect(toWorldPod({ ...meta('p'), spec: { containers: [...containers, { name: 'breakwater' }] } }).injected).toBe(
      true,
    );
    expect(
      toWorldPod({ ...meta('p'), spec: { containers, initContainers: [{ name: 'breakwater-capture' }] } }).injected,
    ).toBe(false);
    expect(toWorldPod(meta('p', { annotations: { 'kubernetes.io/config.mirror': 'x' } })).mirror).toBe(true);
  });
});

describe('toWorldNamespace', () => {
  it('keeps labels and annotations of ours', () => {
    const annotations = { 'breakwater.dev/enforcement': 'disabled', other: 'x' };
    expect(toWorldNamespace({ metadata: { name: 'shop', labels: { a: 'b' }, annotations } })).toEqual({
      name: 'shop',
      labels: { a: 'b' },
      annotations: { 'breakwater.dev/enforcement': 'disabled' },
    });
  });
});

describe('addObject', () => {
  it('takes Lists apart, passes over other kinds, and lets the later of two count', () => {
    const builder = createWorldBuilder();
    const service = (port: number) => ({
      apiVersion: 'v1',
      kind: 'Service',
      ...meta('a'),
      spec: { ports: [{ port }] },
    });
    expect(addObject(builder, { apiVersion: 'v1', kind: 'List', items: [service(80), service(81)] })).toBe(true);
    expect(addObject(builder, { apiVersion: 'apps/v1', kind: 'Deployment', ...meta('a') })).toBe(false);
    expect(addObject(builder, { apiVersion: 'serving.knative.dev/v1', kind: 'Service', ...meta('a') })).toBe(false);
    const world = buildWorld(builder, 'cluster.local');
    expect(world.services.map((it) => it.ports[0]?.port)).toEqual([81]);
    expect(world.clusterDomain).toBe('cluster.local');
  });

  it('keeps objects of ours that do not fit as invalid, until they fit', () => {
    const builder = createWorldBuilder();
    const broken = policy('p', [TARGETS.service('a')], { retries: { maxAttempts: 0 } }, { generation: 7 });
    addObject(builder, broken);
    addObject(builder, serviceDependency('p'));
    expect(buildWorld(builder, 'cluster.local')).toMatchObject({
      resiliencePolicies: [],
      serviceDependencies: [{ metadata: { name: 'p' } }],
      invalid: [
        {
          kind: 'ResiliencePolicy',
          namespace: 'shop',
          name: 'p',
          generation: 7,
          problems: [{ path: 'spec.retries.maxAttempts' }],
        },
      ],
    });
    addObject(builder, policy('p', [TARGETS.service('a')], {}));
    expect(buildWorld(builder, 'cluster.local')).toMatchObject({ resiliencePolicies: [{}], invalid: [] });
  });

  it('refuses what is no manifest', () => {
    const builder = createWorldBuilder();
    for (const raw of [null, 'text', {}, { kind: 'Service' }, { ...serviceDependency('x'), metadata: {} }]) {
      expect(() => addObject(builder, raw)).toThrow(ManifestError);
    }
  });
});
