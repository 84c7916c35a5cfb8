// Everything that the operator can be told. In a cluster it comes from the environment (the chart sets it); standalone mode builds it.
import { z } from 'zod';
import { readEnvironment } from '../runtime/environment.ts';
import type { LogLevel } from '../runtime/log.ts';
import { LIFETIMES, type Lifetimes, lifetimesOf } from './certificates/decide.ts';
import { defaultSettings, resourceSettings, type Settings } from './inject/settings.ts';

export interface Listen {
  host: string;
  /** 0: any free port. */
  port: number;
}

/** The containers that injection adds. */
export interface SidecarSettings {
  image: string;
  imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  logLevel: LogLevel;
  /** As in a container of a pod. */
  resources: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  capture: 'auto' | 'iptables' | 'loopback' | 'explicit';
  outboundPort: number;
  adminPort: number;
  controlPort: number;
  /** First port of capture `explicit`. */
  explicitPortsFrom: number;
}

/** What holds for every injected pod that does not say otherwise. */
export function injectionDefaults(sidecar: SidecarSettings): Settings {
  return defaultSettings({
    ...resourceSettings(sidecar.resources),
    image: sidecar.image,
    logLevel: sidecar.logLevel,
    capture: sidecar.capture,
    outboundPort: sidecar.outboundPort,
    adminPort: sidecar.adminPort,
    controlPort: sidecar.controlPort,
    explicitPortsFrom: sidecar.explicitPortsFrom,
  });
}

export interface ClusterConfig {
  kind: 'cluster';
  /** File; where absent KUBECONFIG, ~/.kube/config or the service account of the pod. */
  kubeconfig: string | undefined;
  /** Of the operator itself. */
  namespace: string;
  podName: string;
  /** Under which this pod runs, as all other replicas do: who else may call as one of them. */
  serviceAccount: string;
  /** Name of the Lease by which replicas agree on who leads. */
  lease: string;
  /** File with the token that proves to another replica that we are one. */
  peerTokenFile: string;
  /** How long certificates live. */
  lifetimes: Lifetimes;
  /** Name of the operator's Service: what sidecars and the API server call. */
  serviceName: string;
  servicePort: number;
  /** The PodSecurity level of namespaces whose labels name none. */
  podSecurityDefault: 'privileged' | 'baseline' | 'restricted';
  certificateSecret: string;
  webhookConfiguration: string;
  sidecar: SidecarSettings;
}

export interface FolderConfig {
  kind: 'folder';
  /** Manifests: *.yaml, *.yml, *.json, at any depth. */
  folder: string;
  /** For certificates; made where absent, readable by the owner alone. */
  stateFolder: string;
}

export interface OperatorConfig {
  source: ClusterConfig | FolderConfig;
  clusterDomain: string;
  /** HTTPS: the streams of sidecars and the webhook. */
  https: Listen;
  /** HTTP: /livez /readyz /metrics. */
  admin: Listen;
  logLevel: LogLevel;
}

const port = (fallback: number) =>
  z
    .string()
    .regex(/^\d{1,5}$/, 'must be a port number')
    .transform(Number)
    .refine((value) => value <= 65_535, 'must be at most 65535')
    .default(fallback);

/** Lives shorter than a minute leave no time to renew. */
const lifetime = (fallbackMs: number) =>
  z
    .string()
    .regex(/^[0-9]{2,9}$/, 'must be a number of seconds, at least 60')
    .transform((text) => Number(text) * 1000)
    .refine((lifeMs) => lifeMs >= 60_000, 'must be at least 60 seconds')
    .default(fallbackMs);

const name = (what: string) => z.string(`must be ${what}`).min(1).max(253);

const resources = z.string().transform((text, context) => {
  try {
    return z.record(z.string(), z.record(z.string(), z.union([z.string(), z.number()]))).parse(JSON.parse(text));
  } catch {
    context.addIssue({ code: 'custom', message: 'must be JSON such as {"requests":{"cpu":"20m"}}' });
    return z.NEVER;
  }
});

const environment = z.object({
  BREAKWATER_NAMESPACE: name('the namespace of the operator'),
  BREAKWATER_POD_NAME: name('the name of this pod'),
  BREAKWATER_SERVICE_ACCOUNT: name('the service account of this pod'),
  BREAKWATER_LEASE: name('the name of the Lease that decides which replica leads'),
  BREAKWATER_PEER_TOKEN_FILE: z.string().min(1).default('/var/run/secrets/breakwater/peers/token'),
  BREAKWATER_AUTHORITY_LIFETIME_SECONDS: lifetime(LIFETIMES.authorityMs),
  BREAKWATER_SERVING_LIFETIME_SECONDS: lifetime(LIFETIMES.servingMs),
  BREAKWATER_SERVICE_NAME: name("the name of the operator's Service"),
  BREAKWATER_SERVICE_PORT: port(8443),
  BREAKWATER_POD_SECURITY_DEFAULT: z.enum(['privileged', 'baseline', 'restricted']).default('privileged'),
  BREAKWATER_CERTIFICATE_SECRET: name('the name of the Secret that holds the certificates'),
  BREAKWATER_WEBHOOK_CONFIGURATION: name('the name of the MutatingWebhookConfiguration'),
  BREAKWATER_CLUSTER_DOMAIN: z.string().max(253).default('cluster.local'),
  BREAKWATER_HTTPS_PORT: port(8443),
  BREAKWATER_ADMIN_PORT: port(8080),
  BREAKWATER_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  BREAKWATER_SIDECAR_IMAGE: z.string('must be the image of the sidecar').min(1),
  BREAKWATER_SIDECAR_IMAGE_PULL_POLICY: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent'),
  BREAKWATER_SIDECAR_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  BREAKWATER_SIDECAR_RESOURCES: resources.default({}),
  BREAKWATER_SIDECAR_CAPTURE: z.enum(['auto', 'iptables', 'loopback', 'explicit']).default('auto'),
  BREAKWATER_SIDECAR_OUTBOUND_PORT: port(15_101),
  BREAKWATER_SIDECAR_ADMIN_PORT: port(15_102),
  BREAKWATER_SIDECAR_CONTROL_PORT: port(15_103),
  BREAKWATER_SIDECAR_EXPLICIT_PORTS_FROM: port(15_200),
});

/** The configuration of an operator in a cluster. Throws EnvironmentError that names every bad variable. */
export function readOperatorConfig(source?: NodeJS.ProcessEnv): OperatorConfig {
  const read = readEnvironment(environment, source);
  return {
    source: {
      kind: 'cluster',
      kubeconfig: undefined,
      namespace: read.BREAKWATER_NAMESPACE,
      podName: read.BREAKWATER_POD_NAME,
      serviceAccount: read.BREAKWATER_SERVICE_ACCOUNT,
      lease: read.BREAKWATER_LEASE,
      peerTokenFile: read.BREAKWATER_PEER_TOKEN_FILE,
      lifetimes: lifetimesOf(read.BREAKWATER_AUTHORITY_LIFETIME_SECONDS, read.BREAKWATER_SERVING_LIFETIME_SECONDS),
      serviceName: read.BREAKWATER_SERVICE_NAME,
      servicePort: read.BREAKWATER_SERVICE_PORT,
      podSecurityDefault: read.BREAKWATER_POD_SECURITY_DEFAULT,
      certificateSecret: read.BREAKWATER_CERTIFICATE_SECRET,
      webhookConfiguration: read.BREAKWATER_WEBHOOK_CONFIGURATION,
      sidecar: {
        image: read.BREAKWATER_SIDECAR_IMAGE,
        imagePullPolicy: read.BREAKWATER_SIDECAR_IMAGE_PULL_POLICY,
        logLevel: read.BREAKWATER_SIDECAR_LOG_LEVEL,
        resources: read.BREAKWATER_SIDECAR_RESOURCES,
        capture: read.BREAKWATER_SIDECAR_CAPTURE,
        outboundPort: read.BREAKWATER_SIDECAR_OUTBOUND_PORT,
        adminPort: read.BREAKWATER_SIDECAR_ADMIN_PORT,
        controlPort: read.BREAKWATER_SIDECAR_CONTROL_PORT,
        explicitPortsFrom: read.BREAKWATER_SIDECAR_EXPLICIT_PORTS_FROM,
      },
    },
    clusterDomain: read.BREAKWATER_CLUSTER_DOMAIN,
    https: { host: '::', port: read.BREAKWATER_HTTPS_PORT },
    admin: { host: '::', port: read.BREAKWATER_ADMIN_PORT },
    logLevel: read.BREAKWATER_LOG_LEVEL,
  };
}
