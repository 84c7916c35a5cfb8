// What the sidecar reads from its environment: every name, range and default, in one place.
import { isIP } from 'node:net';
import * as z from 'zod';
import { BOOTSTRAP_ANNOTATION, type Bootstrap, readBootstrap } from '../plan/bootstrap.ts';
import { MAX_TLS_HOSTS, readTlsHosts, type TlsHost } from '../plan/tls-hosts.ts';
import { EnvironmentError, readEnvironment } from '../runtime/environment.ts';
import type { LogLevel } from '../runtime/log.ts';

export type CaptureMode = 'iptables' | 'loopback' | 'explicit';

export interface ControlConfig {
  /** Port of the control server on 127.0.0.1; 0: a free one, which the state directory then tells. */
  controlPort: number;
  /** Null: nothing outlives the process. */
  stateDirectory: string | null;
}

export interface SidecarConfig extends ControlConfig {
  capture: CaptureMode;
  /** What the pod was born with; null under `iptables` and in standalone mode. */
  bootstrap: Bootstrap | null;
  /** Address of this pod; empty outside a cluster. */
  podIp: string;
  /** "10.96.0.10" or "127.0.0.1:5353"; empty: those of /etc/resolv.conf. */
  dnsServers: readonly string[];
  operatorUrl: URL;
  tokenFile: string;
  /** PEM given at admission; null where only a file is. */
  caBundle: string | null;
  caFile: string | null;
  /** Where the certificates for TLS to hosts are; null: none were given. */
  certificatesDirectory: string | null;
  /** Known at admission; plain text to them is refused as long as there is no plan. */
  tlsHosts: readonly TlsHost[];
  outboundPort: number;
  adminHost: string;
  adminPort: number;
  /** Who we are, for logs alone; empty outside a cluster. */
  pod: { podName: string; podNamespace: string };
  logLevel: LogLevel;
  /** How long the sidecar stays not ready for want of a first plan. */
  firstPlanWaitMs: number;
  /** How long requests in progress may go on after SIGTERM. */
  drainTimeoutMs: number;
  /** End when standard input or the IPC channel closes. */
  parentWatch: boolean;
}

export interface PortRange {
  from: number;
  to: number;
}

export interface CaptureConfig {
  outboundPort: number;
  sidecarUid: number;
  excludedPorts: readonly PortRange[];
  /** As written: addresses or CIDRs of either family. */
  excludedCidrs: readonly string[];
  /** Null outside a cluster. */
  apiServer: { host: string; port: number } | null;
  logLevel: LogLevel;
}

const wholeNumber = (minimum: number, maximum: number) => {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, message)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, message);
};
const logLevel = z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info');

/** "5432, 8000-8010" → ranges. */
const portRanges = z.string().transform((text, context): PortRange[] => {
  const ranges: PortRange[] = [];
  for (const item of splitList(text)) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    if (!match || from < 1 || to > 65_535 || from > to) {
      context.addIssue({
        code: 'custom',
        message: `"${item}" is neither a port (1 to 65535) nor a range such as 8000-8010`,
      });
      return z.NEVER;
    }
    ranges.push({ from, to });
  }
  return ranges;
});

const cidrs = z.string().transform((text, context): string[] => {
  const items = splitList(text);
  for (const item of items) {
    if (!z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()]).safeParse(item).success) {
      context.addIssue({ code: 'custom', message: `"${item}" is neither an IP address nor a CIDR such as 10.0.0.0/8` });
      return z.NEVER;
    }
  }
  return items;
});

/** "10.96.0.10, 127.0.0.1:5353, [fd00::a]:53" */
const dnsServers = z.string().transform((text, context): string[] => {
  const items = splitList(text);
  for (const item of items) {
    const { host = item, port = '53' } = /^(?<host>[^:]+|\[.+\]):(?<port>\d{1,5})$/.exec(item)?.groups ?? {};
    const address = host.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) === 0 || Number(port) < 1 || Number(port) > 65_535) {
      context.addIssue({ code: 'custom', message: `"${item}" is neither an IP address nor one with a port` });
      return z.NEVER;
    }
  }
  return items;
});

const tlsHosts = z.string().transform((text, context): TlsHost[] => {
  const hosts = readTlsHosts(text);
  if (hosts !== null) return hosts;
  context.addIssue({
    code: 'custom',
    message: `must be at most ${MAX_TLS_HOSTS} names with ports, such as api.stripe.com:80,api.partner.example:80`,
  });
  return z.NEVER;
});

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

const controlShape = {
  BREAKWATER_CONTROL_PORT: wholeNumber(0, 65_535).default(15_103),
  BREAKWATER_STATE_DIRECTORY: z.string().optional(),
};
const controlEnvironment = z.object(controlShape);

const sidecarEnvironment = z.object({
  ...controlShape,
  BREAKWATER_CAPTURE: z.enum(['iptables', 'loopback', 'explicit']).default('iptables'),
  BREAKWATER_BOOTSTRAP: z.string().default(''),
  BREAKWATER_DNS_SERVERS: dnsServers.default([]),
  BREAKWATER_OPERATOR_URL: z.url({ protocol: /^https$/, error: 'must be an https:// URL' }),
  BREAKWATER_TOKEN_FILE: z.string({ error: 'must name the file that holds the service account token' }),
  BREAKWATER_CA_BUNDLE: z.string().includes('-----BEGIN CERTIFICATE-----', 'must hold PEM certificates').optional(),
  BREAKWATER_CA_FILE: z.string().optional(),
  BREAKWATER_CERTIFICATES_DIRECTORY: z.string().optional(),
  BREAKWATER_TLS_HOSTS: tlsHosts.default([]),
  BREAKWATER_OUTBOUND_PORT: wholeNumber(1, 65_535).default(15_101),
  BREAKWATER_ADMIN_HOST: z.string().optional(),
  BREAKWATER_ADMIN_PORT: wholeNumber(0, 65_535).default(15_102),
  BREAKWATER_POD_IP: z.string().default(''),
  BREAKWATER_POD_NAME: z.string().default(''),
  BREAKWATER_POD_NAMESPACE: z.string().default(''),
  BREAKWATER_LOG_LEVEL: logLevel,
  BREAKWATER_FIRST_PLAN_WAIT_MS: wholeNumber(0, 600_000).default(10_000),
  BREAKWATER_DRAIN_TIMEOUT_MS: wholeNumber(0, 3_600_000).default(10_000),
  BREAKWATER_PARENT_WATCH: z.enum(['0', '1']).default('0'),
});

const captureEnvironment = z.object({
  BREAKWATER_OUTBOUND_PORT: wholeNumber(1, 65_535).default(15_101),
  BREAKWATER_SIDECAR_UID: wholeNumber(1, 4_294_967_294).default(14_750),
  BREAKWATER_EXCLUDE_OUTBOUND_PORTS: portRanges.default([]),
  BREAKWATER_EXCLUDE_OUTBOUND_CIDRS: cidrs.default([]),
  BREAKWATER_LOG_LEVEL: logLevel,
  KUBERNETES_SERVICE_HOST: z.string().optional(),
  KUBERNETES_SERVICE_PORT: wholeNumber(1, 65_535).default(443),
});

/** Throws EnvironmentError that names every variable that does not fit. */
export function readSidecarConfig(source?: NodeJS.ProcessEnv): SidecarConfig {
  const values = readEnvironment(sidecarEnvironment, source);
  if (values.BREAKWATER_CA_BUNDLE === undefined && values.BREAKWATER_CA_FILE === undefined) {
    throw new EnvironmentError(
      'the environment does not fit:\n  BREAKWATER_CA_BUNDLE (PEM) or BREAKWATER_CA_FILE must say which authority the operator’s certificate comes from',
    );
  }
  return {
    capture: values.BREAKWATER_CAPTURE,
    bootstrap: bootstrapOf(values.BREAKWATER_CAPTURE, values.BREAKWATER_BOOTSTRAP),
    podIp: values.BREAKWATER_POD_IP,
    dnsServers: values.BREAKWATER_DNS_SERVERS,
    operatorUrl: new URL(values.BREAKWATER_OPERATOR_URL),
    tokenFile: values.BREAKWATER_TOKEN_FILE,
    caBundle: values.BREAKWATER_CA_BUNDLE ?? null,
    caFile: values.BREAKWATER_CA_FILE ?? null,
    stateDirectory: values.BREAKWATER_STATE_DIRECTORY ?? null,
    certificatesDirectory: values.BREAKWATER_CERTIFICATES_DIRECTORY ?? null,
    tlsHosts: values.BREAKWATER_TLS_HOSTS,
    outboundPort: values.BREAKWATER_OUTBOUND_PORT,
    // The kubelet probes the pod's address, which need not be IPv4.
    adminHost: values.BREAKWATER_ADMIN_HOST ?? (values.BREAKWATER_POD_IP.includes(':') ? '::' : '0.0.0.0'),
    adminPort: values.BREAKWATER_ADMIN_PORT,
    controlPort: values.BREAKWATER_CONTROL_PORT,
    pod: { podName: values.BREAKWATER_POD_NAME, podNamespace: values.BREAKWATER_POD_NAMESPACE },
    logLevel: values.BREAKWATER_LOG_LEVEL,
    firstPlanWaitMs: values.BREAKWATER_FIRST_PLAN_WAIT_MS,
    drainTimeoutMs: values.BREAKWATER_DRAIN_TIMEOUT_MS,
    parentWatch: values.BREAKWATER_PARENT_WATCH === '1',
  };
}

/**
 * Without it the names or the environment of the application would lead to ports where nobody listens: rather the pod does not start, and a
 * rollout stops at its first pod.
 */
function bootstrapOf(capture: CaptureMode, text: string): Bootstrap | null {
  if (capture === 'iptables' || (capture === 'explicit' && text === '')) return null;
  const problem = (message: string) =>
    new EnvironmentError(
      `the environment does not fit:\n  BREAKWATER_BOOTSTRAP, the annotation ${BOOTSTRAP_ANNOTATION} of the pod, ${message}`,
    );
  if (text === '') throw problem('must say where to listen under capture loopback; was the annotation removed?');
  const read = readBootstrap(text);
  if (!read.ok) throw problem(`cannot be read: ${read.message}; was it written by another version of the operator?`);
  if (read.bootstrap.capture !== capture) throw problem(`is for capture ${read.bootstrap.capture}, not ${capture}`);
  return read.bootstrap;
}

/** Throws EnvironmentError that names every variable that does not fit. */
export function readCaptureConfig(source?: NodeJS.ProcessEnv): CaptureConfig {
  const values = readEnvironment(captureEnvironment, source);
  return {
    outboundPort: values.BREAKWATER_OUTBOUND_PORT,
    sidecarUid: values.BREAKWATER_SIDECAR_UID,
    excludedPorts: values.BREAKWATER_EXCLUDE_OUTBOUND_PORTS,
    excludedCidrs: values.BREAKWATER_EXCLUDE_OUTBOUND_CIDRS,
    apiServer:
      values.KUBERNETES_SERVICE_HOST === undefined
        ? null
        : { host: values.KUBERNETES_SERVICE_HOST, port: values.KUBERNETES_SERVICE_PORT },
    logLevel: values.BREAKWATER_LOG_LEVEL,
  };
}

/** Throws EnvironmentError that names every variable that does not fit. */
export function readControlConfig(source?: NodeJS.ProcessEnv): ControlConfig {
  const values = readEnvironment(controlEnvironment, source);
  return { controlPort: values.BREAKWATER_CONTROL_PORT, stateDirectory: values.BREAKWATER_STATE_DIRECTORY ?? null };
}
