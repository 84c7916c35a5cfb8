// What each entry of dependsOn refers to: a Service, one of its TCP ports, the addresses it is called at; or a host outside the cluster,
// which the sidecar finds by DNS. An entry that refers to nothing is left out of every plan: calls to it are passed on untouched, as those
// to any destination that was never declared.

import type { HostTls } from '../../crds/host-tls.ts';
import type { ServiceDependency, ServiceDependencyEntry } from '../../crds/service-dependency.ts';
import type { TlsPlan } from '../../plan/certificates.ts';
import { endpointsKey, hostKey } from '../../plan/endpoints.ts';
import { type DependencyPlan, PLAN_LIMITS } from '../../plan/plan.ts';
import { circuitResetOf } from './circuit-reset.ts';
import { enforcementOf } from './enforcement.ts';
import { problem } from './problem.ts';
import { protocolOf } from './protocol.ts';
import type { Problem } from './result.ts';
import type { WorldService, WorldServicePort } from './world.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

/** A port of a Service. */
export interface ServiceTarget {
  service: WorldService;
  port: WorldServicePort;
}

export interface ResolvedDependency {
  owner: ServiceDependency;
  /** Path of the entry: "spec.dependsOn[0]". */
  field: string;
  /** Undefined: a host outside the cluster. */
  target: ServiceTarget | undefined;
  /** Objects whose annotation switches enforcement off. */
  disabledBy: readonly string[];
  /** The plan of this dependency but for its policies. */
  base: Omit<DependencyPlan, 'levels' | 'combinations' | 'policies'>;
}

export interface Resolution {
  /** Owners oldest first, entries as written. */
  dependencies: readonly ResolvedDependency[];
  problems: readonly Problem[];
}

export function resolve(index: WorldIndex): Resolution {
  const dependencies: ResolvedDependency[] = [];
  const problems: Problem[] = [];
  for (const owner of index.serviceDependencies.values()) {
    const enforcement = enforcementOf(index, owner);
    problems.push(...enforcement.problems);
    owner.spec.dependsOn.forEach((entry, position) => {
      const at = new EntryPlace(owner, position);
      const found = findDestination(index, owner, entry, at);
      problems.push(...found.problems);
      if (found.destination === undefined) return;
      dependencies.push({
        owner,
        field: at.field(),
        target: found.target,
        disabledBy: enforcement.disabledBy,
        base: {
          id: `${keyOf(owner.metadata)}/${entry.name}`,
          name: entry.name,
          namespace: owner.metadata.namespace,
          serviceDependency: owner.metadata.name,
          criticality: entry.criticality ?? 'Required',
          enforcement: enforcement.value,
          circuitReset: circuitResetOf(owner),
          ...found.destination,
        },
      });
    });
  }
  return { dependencies, problems };
}

class EntryPlace {
  readonly #owner: ServiceDependency;
  readonly #position: number;

  constructor(owner: ServiceDependency, position: number) {
    this.#owner = owner;
    this.#position = position;
  }

  field(below = ''): string {
    return `spec.dependsOn[${this.#position}]${below}`;
  }

  below(path: string) {
    return { kind: this.#owner.kind, object: this.#owner.metadata, field: this.field(path) };
  }
}

/** What of a plan says where the calls of an entry go. */
type Destination = Pick<
  DependencyPlan,
  'service' | 'host' | 'authority' | 'protocol' | 'destinations' | 'balancing' | 'endpointsKey'
>;

interface Found {
  /** Undefined: there is no such thing, and `problems` says why. */
  destination?: Destination;
  target?: ServiceTarget;
  problems: readonly Problem[];
}

function findDestination(
  index: WorldIndex,
  owner: ServiceDependency,
  { host, service }: ServiceDependencyEntry,
  at: EntryPlace,
): Found {
  if (host !== undefined) return findHost(index, host, at);
  // The schema lets no entry have neither.
  if (service === undefined) return { problems: [] };
  const found = findPort(index, owner, service, at);
  if (!('port' in found)) return found;
  return {
    destination: serviceDestination(found, index.clusterDomain),
    target: { service: found.service, port: found.port },
    problems: found.problems,
  };
}

/** A name that DNS answers from the cluster is a Service, whose connections go to its ClusterIP: by a host they would not be recognised. */
function findHost(index: WorldIndex, { name, port, tls }: HostReference, at: EntryPlace): Found {
  const inCluster = name.endsWith(`.svc.${index.clusterDomain}`) || index.services.has(serviceOfName(name));
  if (inCluster) return { problems: [problem('HostIsService', at.below('.host.name'), { host: name })] };
  return {
    destination: {
      service: null,
      host: tls === undefined ? { name, port } : { name, port, tls: tlsPlanOf(name, port, tls) },
      authority: tls === undefined ? withPort(name, port, 80) : withPort(name, tls.port ?? port, 443),
      protocol: 'Detect',
      destinations: [],
      balancing: 'Dns',
      endpointsKey: hostKey(name, port),
    },
    problems: [],
  };
}

/** As URLs are written: without the port that the scheme means anyhow. */
function withPort(name: string, port: number, usual: number): string {
  return port === usual ? name : `${name}:${port}`;
}

export function tlsPlanOf(name: string, port: number, tls: HostTls): TlsPlan {
  return {
    port: tls.port ?? port,
    serverName: tls.hostname ?? name,
    authorities: (tls.caCertificateRefs ?? []).map((ref) => ({ kind: ref.kind ?? 'ConfigMap', name: ref.name })),
    clientCertificate: tls.clientCertificateRef?.name ?? null,
  };
}

/** "payments.billing" → "billing/payments", as a resolver with the search domains of a pod would take it. */
function serviceOfName(host: string): string {
  const [name = '', namespace = '', ...rest] = host.split('.');
  return rest.length === 0 ? keyOf({ namespace, name }) : '';
}

function serviceDestination({ service, port }: ServiceTarget, clusterDomain: string): Destination {
  return {
    service: { namespace: service.namespace, name: service.name, port: port.port, ports: tcpPorts(service) },
    host: null,
    authority: authorityOf(service, port.port, clusterDomain),
    protocol: protocolOf(port),
    destinations: service.clusterIPs.map((address) => ({ address, port: port.port })),
    balancing: balancingOf(service),
    endpointsKey: endpointsKey(service.namespace, service.name, port.port),
  };
}

type ServiceReference = NonNullable<ServiceDependencyEntry['service']>;
type HostReference = NonNullable<ServiceDependencyEntry['host']>;
type FoundPort = { problems: Problem[] } | (ServiceTarget & { problems: Problem[] });

function findPort(index: WorldIndex, owner: ServiceDependency, reference: ServiceReference, at: EntryPlace): FoundPort {
  const name = keyOf({ namespace: reference.namespace ?? owner.metadata.namespace, name: reference.name });
  const service = index.services.get(name);
  if (service === undefined) return { problems: [problem('ServiceNotFound', at.below('.service'), { service: name })] };
  if (service.type === 'ExternalName') {
    return { problems: [problem('ExternalName', at.below('.service.name'), { service: name })] };
  }
  const wanted = reference.port;
  const matching = service.ports.filter((port) => (typeof wanted === 'number' ? port.port : port.name) === wanted);
  // One number may be there for TCP and for UDP.
  const port = matching.find((candidate) => candidate.protocol === 'TCP') ?? matching[0];
  const details = { service: name, port: String(wanted) };
  if (port === undefined) {
    const present = service.ports
      .filter((candidate) => candidate.protocol === 'TCP')
      .map((candidate) => (candidate.name === '' ? String(candidate.port) : `${candidate.port} (${candidate.name})`));
    return { problems: [problem('PortNotFound', at.below('.service.port'), { ...details, present })] };
  }
  if (port.protocol !== 'TCP') {
    const wrong = problem('PortNotTcp', at.below('.service.port'), { ...details, protocol: port.protocol });
    return { problems: [wrong] };
  }
  return { service, port, problems: balancingProblems(service, at) };
}

function balancingProblems(service: WorldService, at: EntryPlace): Problem[] {
  const details = { service: keyOf(service) };
  if (service.headless) return [problem('Headless', at.below('.service'), details)];
  const problems: Problem[] = [];
  if (service.sessionAffinity === 'ClientIP') problems.push(problem('SessionAffinity', at.below('.service'), details));
  if (service.internalTrafficPolicy === 'Local') {
    problems.push(problem('InternalTrafficPolicyLocal', at.below('.service'), details));
  }
  return problems;
}

/**
 * A headless Service has no ClusterIP, so its plan has no destinations: a captured connection goes to the address of a pod, which is
 * found among the endpoints of the dependency. A Service without any address yet cannot be dialled at it.
 */
function balancingOf(service: WorldService): DependencyPlan['balancing'] {
  if (service.headless) return 'OriginalDestination';
  const left = service.sessionAffinity === 'ClientIP' || service.internalTrafficPolicy === 'Local';
  return left && service.clusterIPs.length > 0 ? 'ClusterIp' : 'Endpoints';
}

/** Each number once, in order. */
export function tcpPorts(service: Pick<WorldService, 'ports'>): number[] {
  const numbers = service.ports.filter((port) => port.protocol === 'TCP').map((port) => port.port);
  return [...new Set(numbers)].sort((a, b) => a - b).slice(0, PLAN_LIMITS.portsPerService);
}

function authorityOf(service: WorldService, port: number, clusterDomain: string): string {
  const host = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
  return withPort(host, port, 80);
}
