// An operator as the chart installs it, for tests that start it beside a real API server: what it finds there, and how it is configured.
import { LIFETIMES } from '../certificates/decide.ts';
import { INJECTION_DEFAULTS } from '../compile/capture.ts';
import type { OperatorConfig } from '../config.ts';

export const SYSTEM = 'breakwater-system';
/** Of its Service, its service account and its Lease. */
export const OPERATOR = 'breakwater-operator';
export const CERTIFICATE_SECRET = 'breakwater-certificates';
export const WEBHOOK = 'breakwater-injector';

/** What the chart makes of what the operator writes. */
export function installedObjects(): object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SYSTEM } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: CERTIFICATE_SECRET, namespace: SYSTEM } },
    { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: OPERATOR, namespace: SYSTEM } },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: WEBHOOK },
      webhooks: [
        {
          name: 'injector.breakwater.dev',
          clientConfig: { service: { name: OPERATOR, namespace: SYSTEM, path: '/inject', port: 8443 } },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
          failurePolicy: 'Ignore',
          sideEffects: 'None',
          timeoutSeconds: 1,
          admissionReviewVersions: ['v1'],
          namespaceSelector: { matchLabels: { 'breakwater.dev/injection': 'enabled' } },
        },
      ],
    },
  ];
}

/** Of one of its pods, which listens on this machine alone. */
export function installedConfig(kubeconfig: string, podName: string): OperatorConfig {
  return {
    source: {
      kind: 'cluster',
      kubeconfig,
      namespace: SYSTEM,
      podName,
      serviceAccount: OPERATOR,
      lease: OPERATOR,
      peerTokenFile: '/nowhere',
      lifetimes: LIFETIMES,
      serviceName: OPERATOR,
      servicePort: 8443,
      podSecurityDefault: INJECTION_DEFAULTS.podSecurityDefault,
      certificateSecret: CERTIFICATE_SECRET,
      webhookConfiguration: WEBHOOK,
      sidecar: {
        image: 'breakwater/sidecar:test',
        imagePullPolicy: 'Never',
        logLevel: 'info',
        resources: {},
        outboundPort: 15_101,
        adminPort: 15_102,
        controlPort: 15_103,
        capture: INJECTION_DEFAULTS.capture,
        explicitPortsFrom: 15_200,
      },
    },
    clusterDomain: 'cluster.local',
    https: { host: '127.0.0.1', port: 0 },
    admin: { host: '127.0.0.1', port: 0 },
    logLevel: 'silent',
  };
}
