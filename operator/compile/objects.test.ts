import { describe, expect, it } from 'vitest';
import { ManifestError, toWorldEndpointSlice, toWorldNamespace, toWorldPod, toWorldService } from './objects.ts';

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
      certificates: new Set(),
    });
  });

  it('knows the certificates that injection had mounted, and no volume of the user', () => {
    const items = (...paths: unknown[]) => paths.map((path) => ({ key: 'x', path }));
    const sources = [
      { secret: { name: 'client', optional: true, items: items('secret/client/tls.crt', 'secret/client/tls.key') } },
      { configMap: { name: 'partners', items: items('configmap/partners/ca.crt', 7) } },
      { serviceAccountToken: { path: 'token' } },
    ];
    const pod = (name: string, projected: unknown) =>
      toWorldPod({ ...meta('p'), spec: { containers: [], volumes: [{ name }, { name, projected }] } }).certificates;
    const volumes = [{ name: 'breakwater-certificates', projected: { sources } }];
    expect(toWorldPod({ ...meta('p'), spec: { containers: [], volumes } }).certificates).toEqual(
      new Set(['secret/client/tls.crt', 'secret/client/tls.key', 'configmap/partners/ca.crt']),
    );
    expect(pod('certificates', { sources })).toEqual(new Set());
    for (const odd of [
      null,
      7,
      {},
      { sources: {} },
      { sources: [null, 7, { secret: null }, { secret: { items: 7 } }] },
    ])
      expect(pod('breakwater-certificates', odd)).toEqual(new Set());
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
