// What a pod declares at admission: the entries of every ServiceDependency that selects it, with the Services that they name. Asked for
// each new pod, so nothing is searched: selectors are arranged by namespace once for each state of the cache.
import type { ServiceDependency, ServiceDependencyEntry } from '../../crds/service-dependency.ts';
import type { TlsPlan } from '../../plan/certificates.ts';
import { tlsPlanOf } from '../compile/resolve.ts';
import { createSelection } from '../compile/selector.ts';
import type { WorldService, WorldServicePort } from '../compile/world.ts';
import { compareAge, groupBy } from '../compile/world-index.ts';

export interface DeclaredService {
  namespace: string;
  name: string;
  /** As written: its number or its name. */
  port: number | string;
  /** Undefined: there is none yet. */
  service: WorldService | undefined;
}

export interface Declared {
  /** Name of the ServiceDependency. */
  by: string;
  entry: string;
  /** Exactly one of the two is not null. */
  service: DeclaredService | null;
  host: DeclaredHost | null;
}

export interface DeclaredHost {
  name: string;
  port: number;
  /** The sidecar speaks TLS to it. */
  tls?: TlsPlan;
}

export interface DeclarationSource {
  /** The same array until something changes. */
  serviceDependencies(): readonly ServiceDependency[];
  /** From a cache. */
  service(namespace: string, name: string): WorldService | undefined;
}

type Selection = ReturnType<typeof createSelection>;

export class Declarations {
  readonly #source: DeclarationSource;
  #known: readonly ServiceDependency[] = [];
  #byNamespace: ReadonlyMap<string, readonly ServiceDependency[]> = new Map();
  readonly #selections = new Map<string, Selection>();

  constructor(source: DeclarationSource) {
    this.#source = source;
  }

  /** Of the ServiceDependencies oldest first, entries as written. */
  of(namespace: string, labels: Readonly<Record<string, string>>): Declared[] {
    const members = this.#selection(namespace)(labels).sort(compareAge);
    return members.flatMap((member) =>
      member.spec.dependsOn.map(({ name: entry, service, host }): Declared => {
        const by = member.metadata.name;
        if (service === undefined) return { by, entry, service: null, host: host ? declaredHost(host) : null };
        const of = { namespace: service.namespace ?? namespace, name: service.name };
        const found = this.#source.service(of.namespace, of.name);
        return { by, entry, service: { ...of, port: service.port, service: found }, host: null };
      }),
    );
  }

  #selection(namespace: string): Selection {
    const present = this.#source.serviceDependencies();
    if (present !== this.#known) {
      this.#known = present;
      this.#byNamespace = groupBy(present, ({ metadata }) => metadata.namespace);
      this.#selections.clear();
    }
    let selection = this.#selections.get(namespace);
    if (selection === undefined) {
      selection = createSelection(this.#byNamespace.get(namespace) ?? []);
      this.#selections.set(namespace, selection);
    }
    return selection;
  }
}

function declaredHost({ name, port, tls }: NonNullable<ServiceDependencyEntry['host']>): DeclaredHost {
  return tls === undefined ? { name, port } : { name, port, tls: tlsPlanOf(name, port, tls) };
}

/** A Service that can be called at an address, or as many as it has pods; one that was just made may have neither yet. */
export function isThere(service: WorldService | undefined): service is WorldService {
  return (
    service !== undefined && (service.headless || service.type === 'ExternalName' || service.clusterIPs.length > 0)
  );
}

/** The TCP port that an entry means; undefined where the Service has none such. */
export function portOf({ service, port }: DeclaredService): WorldServicePort | undefined {
  return service?.ports.find(
    (candidate) =>
      candidate.protocol === 'TCP' && (typeof port === 'number' ? candidate.port : candidate.name) === port,
  );
}

/** Equal for entries that call the same Service or host. */
export function destinationOf({ service, host }: Pick<Declared, 'service' | 'host'>): string {
  return service === null ? (host?.name ?? '') : `${service.namespace}/${service.name}`;
}
