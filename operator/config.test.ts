import { expect, test } from 'vitest';
import { LIFETIMES } from './certificates/decide.ts';
import { readOperatorConfig } from './config.ts';

const MINIMUM = {
  BREAKWATER_NAMESPACE: 'breakwater-system',
  BREAKWATER_POD_NAME: 'operator-0',
  BREAKWATER_SERVICE_NAME: 'breakwater-operator',
  BREAKWATER_SERVICE_ACCOUNT: 'breakwater',
  BREAKWATER_LEASE: 'breakwater-lease',
  BREAKWATER_CERTIFICATE_SECRET: 'certificates',
  BREAKWATER_WEBHOOK_CONFIGURATION: 'breakwater',
  BREAKWATER_SIDECAR_IMAGE: 'breakwater/sidecar:1',
};

test('what is not said has its default', () => {
  expect(readOperatorConfig(MINIMUM)).toEqual({
    source: {
      kind: 'cluster',
      kubeconfig: undefined,
      namespace: 'breakwater-system',
      podName: 'operator-0',
      serviceAccount: 'breakwater',
      lease: 'breakwater-lease',
      peerTokenFile: '/var/run/secrets/breakwater/peers/token',
      lifetimes: LIFETIMES,
      serviceName: 'breakwater-operator',
      servicePort: 8443,
      podSecurityDefault: 'privileged',
      certificateSecret: 'certificates',
      webhookConfiguration: 'breakwater',
      sidecar: {
        image: 'breakwater/sidecar:1',
        imagePullPolicy: 'IfNotPresent',
        logLevel: 'info',
        resources: {},
        outboundPort: 15_101,
        adminPort: 15_102,
        controlPort: 15_103,
        capture: 'auto',
        explicitPortsFrom: 15_200,
      },
    },
    clusterDomain: 'cluster.local',
    https: { host: '::', port: 8443 },
    admin: { host: '::', port: 8080 },
    logLevel: 'info',
  });
});

test('everything can be said', () => {
  const config = readOperatorConfig({
    ...MINIMUM,
    BREAKWATER_CLUSTER_DOMAIN: 'corp.example',
    BREAKWATER_HTTPS_PORT: '9443',
    BREAKWATER_SIDECAR_RESOURCES: '{"requests":{"cpu":"20m"},"limits":{"memory":"256Mi"}}',
    BREAKWATER_POD_SECURITY_DEFAULT: 'baseline',
    BREAKWATER_AUTHORITY_LIFETIME_SECONDS: '600',
    BREAKWATER_SERVING_LIFETIME_SECONDS: '60',
  });
  expect(config).toMatchObject({
    clusterDomain: 'corp.example',
    https: { port: 9_443 },
    source: {
      podSecurityDefault: 'baseline',
      lifetimes: { authorityMs: 600_000, servingMs: 60_000, overlapMs: 30_000, backdateMs: 3_000 },
      sidecar: { resources: { requests: { cpu: '20m' }, limits: { memory: '256Mi' } } },
    },
  });
});

test('all that is wrong is told at once, by the name of the variable', () => {
  const wrong = {
    ...MINIMUM,
    BREAKWATER_POD_NAME: '',
    BREAKWATER_HTTPS_PORT: '99999',
    BREAKWATER_SERVING_LIFETIME_SECONDS: '30',
    BREAKWATER_SIDECAR_RESOURCES: '{',
  };
  expect(() => readOperatorConfig(wrong)).toThrow(
    /BREAKWATER_POD_NAME: must be the name of this pod[^]*BREAKWATER_SERVING_LIFETIME_SECONDS: must be at least 60 seconds[^]*BREAKWATER_HTTPS_PORT: must be at most 65535[^]*BREAKWATER_SIDECAR_RESOURCES: must be JSON/,
  );
});
