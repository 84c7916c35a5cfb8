// What each entry of dependsOn refers to: a Service, one of its TCP ports, the addresses it is called at. An entry that refers to nothing
// is left out of every plan: calls to it are passed on untouched, as those to any destination that was never declared.
import type { ServiceDependency, ServiceDependencyEntry } from '../../crds/service-dependency.ts';
import { endpointsKey } from '../../plan/endpoints.ts';
import { type DependencyPlan, PLAN_LIMITS } from '../../plan/plan.ts';
import { enforcementOf } from './enforcement.ts';
import { problem } from './problem.ts';
import { protocolOf } from './protocol.ts';
import type { Problem } from './result.ts';
import type { WorldService, WorldServicePort } from './world.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

export interface ResolvedDependency {
  owner: ServiceDependency;
  /** Path of the entry: "spec.dependsOn[0]". */
  field: string;
  service: WorldService;
  port: WorldServicePort;
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
      const found = findPort(index, owner, entry, at);
      problems.push(...found.problems);
      if (!('port' in found)) return;
      const { service, port } = found;
      dependencies.push({
        owner,
        field: at.field(),
        service,
        port,
        disabledBy: enforcement.disabledBy,
        base: {
          id: `${keyOf(owner.metadata)}/${entry.name}`,
          name: entry.name,
          namespace: owner.metadata.namespace,
          serviceDependency: owner.metadata.name,
          criticality: entry.criticality ?? 'Required',
          enforcement: enforcement.value,
          service: { namespace: service.namespace, name: service.name, port: port.port, ports: tcpPorts(service) },
          host: null,
          authority: authorityOf(service, port.port, index.clusterDomain),
          protocol: protocolOf(port),
          destinations: service.clusterIPs.map((address) => ({ address, port: port.port })),
          balancing: balancingOf(service),
          endpointsKey: endpointsKey(service.namespace, service.name, port.port),
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

type Found = { problems: Problem[] } | { service: WorldService; port: WorldServicePort; problems: Problem[] };

function findPort(index: WorldIndex, owner: ServiceDependency, entry: ServiceDependencyEntry, at: EntryPlace): Found {
  const name = keyOf({ namespace: entry.service.namespace ?? owner.metadata.namespace, name: entry.service.name });
  const service = index.services.get(name);
  if (service === undefined) return { problems: [problem('ServiceNotFound', at.below('.service'), { service: name })] };
  if (service.type === 'ExternalName') {
    return { problems: [problem('ExternalName', at.below('.service.name'), { service: name })] };
  }
  const wanted = entry.service.port;
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

function tcpPorts(service: WorldService): number[] {
  const numbers = service.ports.filter((port) => port.protocol === 'TCP').map((port) => port.port);
  return [...new Set(numbers)].sort((a, b) => a - b).slice(0, PLAN_LIMITS.portsPerService);
}

function authorityOf(service: WorldService, port: number, clusterDomain: string): string {
  const host = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
  return port === 80 ? host : `${host}:${port}`;
}
