// Builders for tests: ordinary manifests with what a test does not care about filled in, and worlds made of them.

import type { World } from './world.ts';
import { addObject, buildWorld, createWorldBuilder } from './world-builder.ts';

export type Manifest = Record<string, unknown>;

export function world(manifests: readonly Manifest[]): World {
  const builder = createWorldBuilder();
  for (const manifest of manifests) addObject(builder, manifest);
  return buildWorld(builder, 'cluster.local');
}

export function service(
  name: string,
  overrides: { namespace?: string; ports?: Manifest[]; spec?: Manifest } = {},
): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: overrides.namespace ?? 'shop' },
    spec: {
      clusterIP: '10.96.0.10',
      clusterIPs: ['10.96.0.10'],
      ports: overrides.ports ?? [{ name: 'http', port: 8080 }],
      ...overrides.spec,
    },
  };
}

export function endpointSlice(name: string, serviceName: string, addresses: readonly string[]): Manifest {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 9000 }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
}

export function pod(name: string, overrides: { namespace?: string; labels?: Record<string, string> } = {}): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: overrides.namespace ?? 'shop', labels: overrides.labels ?? { app: 'checkout' } },
    spec: { initContainers: [{ name: 'breakwater' }], containers: [{ name: 'app' }] },
    status: { phase: 'Running' },
  };
}

export function serviceDependency(
  name: string,
  overrides: { namespace?: string; selector?: Manifest; dependsOn?: Manifest[]; metadata?: Manifest } = {},
): Manifest {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: {
      name,
      namespace: overrides.namespace ?? 'shop',
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...overrides.metadata,
    },
    spec: {
      consumer: { selector: overrides.selector ?? { matchLabels: { app: 'checkout' } } },
      dependsOn: overrides.dependsOn ?? [{ name: 'payments', service: { name: 'payments', port: 8080 } }],
    },
  };
}

export const TARGETS = {
  platform: { group: 'breakwater.dev', kind: 'Platform', name: 'default' },
  namespace: (name: string) => ({ group: '', kind: 'Namespace', name }),
  service: (name: string) => ({ group: '', kind: 'Service', name }),
  dependency: (name: string, sectionName?: string) => ({
    group: 'breakwater.dev',
    kind: 'ServiceDependency',
    name,
    ...(sectionName === undefined ? {} : { sectionName }),
  }),
};

export function policy(
  name: string,
  targetRefs: readonly Manifest[],
  spec: Manifest,
  metadata: Manifest = {},
): Manifest {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: { name, namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
    spec: { targetRefs, ...spec },
  };
}
