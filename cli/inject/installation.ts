// What injection must know of the installation whose sidecars it adds: from the values of its chart, where there is no cluster to ask. Pure.
import { z } from 'zod';
import { injectionDefaults, type SidecarSettings } from '../../operator/config.ts';
import type { PatchContext } from '../../operator/inject/patch.ts';
import type { Settings } from '../../operator/inject/settings.ts';
import { OPERATOR_VERSION } from '../../operator/version.ts';
import { UsageError } from '../usage-error.ts';

export interface Installation {
  defaults: Settings;
  imagePullPolicy: PatchContext['imagePullPolicy'];
  podSecurityDefault: 'privileged' | 'baseline' | 'restricted';
  clusterDomain: string;
  operatorUrl: string;
  /** PEM. */
  caBundle: string;
  version: string;
}

/** Under the names that the documentation installs it with. */
export const DEFAULT_OPERATOR_URL = 'https://breakwater-operator.breakwater-system.svc:8443';

const image = z
  .object({
    repository: z.string().min(1).default('breakwater/sidecar'),
    tag: z.string().default(''),
    digest: z.string().default(''),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent'),
  })
  .prefault({});
const port = (fallback: number) => z.int().min(1).max(65_535).default(fallback);
const ports = z
  .object({ outbound: port(15_101), admin: port(15_102), control: port(15_103), explicitFrom: port(15_200) })
  .prefault({});
const resources = z
  .record(z.string(), z.record(z.string(), z.union([z.string(), z.number()])))
  .default({ requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } });
/** What of the chart's values concerns injected pods; a test holds the defaults equal to the chart's. */
const values = z.object({
  clusterDomain: z.string().min(1).max(253).default('cluster.local'),
  podSecurityDefault: z.enum(['privileged', 'baseline', 'restricted']).default('privileged'),
  sidecar: z
    .object({
      image,
      ports,
      resources,
      logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
      capture: z.enum(['auto', 'iptables', 'loopback', 'explicit']).default('auto'),
    })
    .prefault({}),
});

/** `raw`: the values file as it was read; undefined for the defaults. Throws UsageError that names the value. */
export function installationFromValues(raw: unknown, operatorUrl: string, caBundle: string): Installation {
  const read = values.safeParse(raw ?? {});
  if (!read.success) {
    const problems = read.error.issues.map(({ path, message }) => `  ${path.join('.')}: ${message}`);
    throw new UsageError(`the values do not fit the chart:\n${problems.join('\n')}`);
  }
  const { sidecar, clusterDomain, podSecurityDefault } = read.data;
  const settings: SidecarSettings = {
    image: imageOf(sidecar.image),
    imagePullPolicy: sidecar.image.pullPolicy,
    logLevel: sidecar.logLevel,
    resources: sidecar.resources,
    capture: sidecar.capture,
    outboundPort: sidecar.ports.outbound,
    adminPort: sidecar.ports.admin,
    controlPort: sidecar.ports.control,
    explicitPortsFrom: sidecar.ports.explicitFrom,
  };
  return {
    defaults: injectionDefaults(settings),
    imagePullPolicy: settings.imagePullPolicy,
    podSecurityDefault,
    clusterDomain,
    operatorUrl,
    caBundle,
    version: OPERATOR_VERSION,
  };
}

function imageOf({ repository, tag, digest }: z.output<typeof image>): string {
  return digest === '' ? `${repository}:${tag === '' ? OPERATOR_VERSION : tag}` : `${repository}@${digest}`;
}
