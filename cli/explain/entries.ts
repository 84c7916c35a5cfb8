// The entries of dependsOn of a workload: what each declares, where its calls go, what the plan has of it, and which of them a user means.
// Pure.
import type { ServiceDependency, ServiceDependencyEntry } from '../../crds/service-dependency.ts';
import { attach } from '../../operator/compile/attach.ts';
import { type CompiledDependency, compileDependencies } from '../../operator/compile/dependencies.ts';
import { resolve, tlsPlanOf } from '../../operator/compile/resolve.ts';
import type { World } from '../../operator/compile/world.ts';
import { indexWorld, keyOf } from '../../operator/compile/world-index.ts';
import type { TlsPlan } from '../../plan/certificates.ts';
import type { DependencyPlan } from '../../plan/plan.ts';
import type { DependencyReference } from './target.ts';

/** One entry of dependsOn, with its place in the plan where it has one. */
export interface Entry {
  id: string;
  name: string;
  owner: ServiceDependency;
  /** "spec.dependsOn[0]" */
  field: string;
  calls: string;
  /** "namespace/name" of the Service; undefined for a host. */
  service: string | undefined;
  /** "payments.billing:8080": where it was meant to lead, port by number or name. */
  address: string;
  plan: DependencyPlan | undefined;
  compiled: CompiledDependency | undefined;
}

export function entriesOf(
  world: World,
  owners: readonly ServiceDependency[],
  plans: readonly DependencyPlan[],
): Entry[] {
  const index = indexWorld(world);
  const compiled = compileDependencies(resolve(index).dependencies, attach(index)).dependencies;
  return owners.flatMap((owner) =>
    owner.spec.dependsOn.map((entry, position): Entry => {
      const id = `${keyOf(owner.metadata)}/${entry.name}`;
      return {
        id,
        name: entry.name,
        owner,
        field: `spec.dependsOn[${position}]`,
        ...destinationOf(owner, entry),
        plan: plans.find((plan) => plan.id === id),
        compiled: compiled.find((one) => one.plan.id === id),
      };
    }),
  );
}

export const describeEntry = ({ name, calls }: Entry): string => `${name} (${calls})`;

function destinationOf(
  owner: ServiceDependency,
  { service, host }: ServiceDependencyEntry,
): Pick<Entry, 'calls' | 'service' | 'address'> {
  if (service === undefined) {
    const address = `${host?.name}:${host?.port}`;
    return {
      calls: `host ${address}${host?.tls ? describeTls(tlsPlanOf(host.name, host.port, host.tls)) : ''}`,
      service: undefined,
      address,
    };
  }
  const { name, namespace = owner.metadata.namespace, port } = service;
  const key = keyOf({ namespace, name });
  return { calls: `Service ${key}:${port}`, service: key, address: `${name}.${namespace}:${port}` };
}

/** " over TLS to port 443 as gateway.partner.example (authorities: ConfigMap partners; client certificate: Secret partner-client)" */
function describeTls({ port, serverName, authorities, clientCertificate }: TlsPlan): string {
  const trusted = authorities.map(({ kind, name }) => `${kind} ${name}`).join(', ') || 'those of the public web';
  const shown = clientCertificate === null ? '' : `; client certificate: Secret ${clientCertificate}`;
  return `, by the sidecar over TLS to port ${port} as ${serverName} (authorities: ${trusted}${shown})`;
}

export function isMeant(entry: Entry, { text, host, port }: DependencyReference, { clusterDomain }: World): boolean {
  const { name, owner, compiled, address } = entry;
  if (text === name || text === `${owner.metadata.name}/${name}`) return true;
  if (compiled === undefined) return address === `${host}:${port}`;
  const { target, base } = compiled;
  if (target === undefined) return base.host?.name === host && (port === undefined || port === base.host.port);
  if (port !== undefined && port !== target.port.port) return false;
  const { service } = target;
  if (service.clusterIPs.includes(host)) return true;
  const qualified = `${service.name}.${service.namespace}`;
  const isNear = service.namespace === owner.metadata.namespace;
  const spellings = [
    qualified,
    `${qualified}.svc`,
    `${qualified}.svc.${clusterDomain}`,
    ...(isNear ? [service.name] : []),
  ];
  return spellings.includes(host);
}

/** With the number of a port that is referred to by its name. */
export function callsOf({ calls, compiled }: Entry): string {
  const number = compiled?.target?.port.port;
  return number === undefined || calls.endsWith(`:${number}`) ? calls : `${calls} (${number})`;
}
