// The objects of the test shop, as a team would write them.
import { DEBIAN_IMAGE, WORKLOADS_IMAGE } from '../images.ts';

export { DEBIAN_IMAGE, WORKLOADS_IMAGE };

/** A script of the folder `workloads`, by its name there, as the image holds it. */
export const scriptInImage = (script: string): string => `/workloads/${script.replace(/\.ts$/, '.js')}`;

const containerOf = (script: string, ports: readonly number[], env: Record<string, string> = {}) => ({
  name: 'app',
  image: WORKLOADS_IMAGE,
  imagePullPolicy: 'IfNotPresent',
  command: ['node', scriptInImage(script)],
  ports: ports.map((containerPort) => ({ containerPort })),
  env: Object.entries(env).map(([name, value]) => ({ name, value })),
  readinessProbe: { httpGet: { path: '/healthz', port: 9000 }, periodSeconds: 1, failureThreshold: 2 },
  resources: { requests: { cpu: '1m', memory: '16Mi' } },
});

export const namespaceObject = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: { 'breakwater.dev/test': 'true', ...labels } },
});

/** An application that is there and does nothing: many of them weigh little. */
const idleContainer = {
  name: 'app',
  image: WORKLOADS_IMAGE,
  imagePullPolicy: 'IfNotPresent',
  command: ['sleep', 'infinity'],
  resources: { requests: { cpu: '1m', memory: '1Mi' } },
};

export interface WorkloadOptions {
  namespace: string;
  name: string;
  replicas?: number;
  /** Undefined: it does nothing. */
  script: string | undefined;
  ports?: readonly number[];
  env?: Record<string, string>;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  terminationGracePeriodSeconds?: number;
}

export function podTemplate(options: WorkloadOptions) {
  return {
    metadata: { labels: { app: options.name, ...options.labels }, annotations: options.annotations ?? {} },
    spec: {
      terminationGracePeriodSeconds: options.terminationGracePeriodSeconds ?? 1,
      enableServiceLinks: false,
      containers: [
        options.script === undefined
          ? idleContainer
          : containerOf(options.script, [9000, ...(options.ports ?? [])], options.env),
      ],
    },
  };
}

export const deployment = (options: WorkloadOptions) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: options.name, namespace: options.namespace },
  spec: {
    replicas: options.replicas ?? 1,
    selector: { matchLabels: { app: options.name } },
    template: podTemplate(options),
  },
});

export interface ServicePortOptions {
  port: number;
  name?: string;
  appProtocol?: string;
  protocol?: string;
  targetPort?: number;
}

export const service = (
  namespace: string,
  name: string,
  ports: readonly ServicePortOptions[],
  extra: Record<string, unknown> = {},
) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec: { selector: { app: name }, ports, ...extra },
});

export interface DependencyEntry {
  name: string;
  service: { name: string; namespace?: string; port: number | string };
  criticality?: 'Required' | 'Optional';
}

export const serviceDependency = (
  namespace: string,
  name: string,
  consumer: string,
  dependsOn: readonly DependencyEntry[],
) => ({
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ServiceDependency',
  metadata: { name, namespace },
  spec: { consumer: { selector: { matchLabels: { app: consumer } } }, dependsOn },
});

/** A policy for one entry of a ServiceDependency of the same namespace. */
export const resiliencePolicy = (
  namespace: string,
  name: string,
  dependency: string,
  entry: string,
  spec: Record<string, unknown>,
) => ({
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ResiliencePolicy',
  metadata: { name, namespace },
  spec: {
    targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: dependency, sectionName: entry }],
    ...spec,
  },
});
