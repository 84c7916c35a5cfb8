// Capture `loopback`: each declared Service and host gets an address of its own in 127.77/16, its names lead there by host aliases, and
// the sidecar listens there on the Service's own ports. What would harm the application is left out, with a reason: an address taken on
// 127.77.x.y keeps a program from binding the same port of 0.0.0.0, and a name that leads here leads here for all of its ports.
import { createHash } from 'node:crypto';
import { BOOTSTRAP_LIMITS, type BootstrapEntry, type LeftOutReason } from '../../plan/bootstrap.ts';
import { tcpPorts } from '../compile/resolve.ts';
import type { WorldService } from '../compile/world.ts';
import { groupBy } from '../compile/world-index.ts';
import { type Declared, destinationOf, isThere, portOf } from './declared.ts';
import type { Pod } from './pod.ts';

/** Names that are the pod's own in its hosts file, whatever Service bears them. */
const OWN_NAMES = ['localhost', 'ip6-localhost', 'ip6-loopback', 'ip6-localnet', 'ip6-mcastprefix'] as const;
const MORE_OWN_NAMES = ['ip6-allnodes', 'ip6-allrouters'] as const;
/**
 * A name leads here for every port, and of a host nobody says which it has: a call to one that nobody listens on would be refused. So the
 * sidecar takes the two that web clients use beside those that are declared.
 */
const USUAL_HOST_PORTS = [80, 443] as const;
export const UNPRIVILEGED_PORT_START = 'net.ipv4.ip_unprivileged_port_start';

export interface LeftOut {
  /** "<namespace>/<service>", or the name of a host. */
  destination: string;
  reason: LeftOutReason;
  /** What is the matter and what to change, for people. */
  message: string;
  port?: number;
}

/** For people. */
export function describeLeftOut({ destination, reason, message }: LeftOut): string {
  return `calls to ${destination} pass by the sidecar (${reason}): ${message}`;
}

export interface LoopbackContext {
  pod: Pod;
  /** Of the pod. */
  namespace: string;
  clusterDomain: string;
  /** In words; undefined: nobody. */
  userOf: (port: number) => string | undefined;
}

export interface Alias {
  ip: string;
  hostnames: string[];
}

export interface Captured {
  entry: BootstrapEntry;
  alias: Alias;
}

/** By destination, in order. */
export function captureByLoopback(
  declared: readonly Declared[],
  context: LoopbackContext,
): { captured: readonly Captured[]; leftOut: readonly LeftOut[] } {
  const names = new Names(context.pod);
  const addresses = new Addresses(context.pod);
  const captured: Captured[] = [];
  const leftOut: LeftOut[] = [];
  // Names of Services come before names of hosts: what DNS answers from the cluster is no host.
  const groups = [...groupBy(declared, destinationOf)].sort(([a], [b]) => byDestination(a, b));
  for (const [destination, entries] of groups) {
    const found = examine(destination, entries, context, names);
    if ('reason' in found) leftOut.push(found);
    else {
      const address = addresses.take(destination);
      const hostnames = names.take(found.hostnames);
      captured.push({ entry: { address, ...found.entry }, alias: { ip: address, hostnames } });
    }
  }
  return { captured, leftOut };
}

type Found = LeftOut | { entry: Omit<BootstrapEntry, 'address'>; hostnames: readonly string[] };

function examine(destination: string, entries: readonly Declared[], context: LoopbackContext, names: Names): Found {
  const [first] = entries;
  const found = first?.service
    ? examineService(destination, entries, first.service.service, context)
    : examineHost(destination, entries, context);
  if ('reason' in found) return found;
  const taken = found.hostnames.find((name) => names.has(name));
  if (taken === undefined) return found;
  return {
    destination,
    reason: 'NameTaken',
    message: `the host aliases of the pod lead ${taken} elsewhere; remove them, or use capture iptables or explicit`,
  };
}

function examineService(
  destination: string,
  entries: readonly Declared[],
  service: WorldService | undefined,
  context: LoopbackContext,
): Found {
  const leave = (reason: LeftOutReason, message: string, port?: number): LeftOut => ({
    destination,
    reason,
    message,
    ...(port === undefined ? {} : { port }),
  });
  if (!isThere(service)) {
    return leave('NotThere', 'the Service does not exist yet; create it, then restart the pod');
  }
  if (service.type === 'ExternalName') {
    return leave('ExternalName', 'the Service is an alias without address; declare what it stands for');
  }
  if (service.headless) {
    return leave('Headless', 'the Service has no ClusterIP; give it one, or use capture iptables or explicit');
  }
  const other = service.ports.find(({ protocol }) => protocol !== 'TCP');
  if (other) {
    return leave(
      'NotOnlyTcp',
      `port ${other.port} of the Service is ${other.protocol}, which nobody would answer here; move it to a Service of its own, or use capture iptables or explicit`,
      other.port,
    );
  }
  if (!entries.some((entry) => entry.service && portOf(entry.service))) {
    return leave('NotThere', 'the Service has no such port yet; add it, then restart the pod');
  }
  const ports = tcpPorts(service);
  return (
    unusable(destination, ports, context) ?? {
      entry: {
        service: { namespace: service.namespace, name: service.name },
        host: null,
        clusterIPs: service.clusterIPs.slice(0, 2),
        ports: ports.map((port) => ({ listen: port, port })),
      },
      hostnames: hostnamesOf(service, context),
    }
  );
}

function examineHost(name: string, entries: readonly Declared[], context: LoopbackContext): Found {
  const declared = entries.flatMap(({ host }) => (host ? [host.port] : []));
  const usual = USUAL_HOST_PORTS.filter((port) => unusable(name, [port], context) === undefined);
  const ports = [...new Set([...declared, ...usual])].sort((a, b) => a - b);
  return (
    unusable(name, declared, context) ?? {
      entry: { service: null, host: name, clusterIPs: [], ports: ports.map((port) => ({ listen: port, port })) },
      hostnames: [name],
    }
  );
}

/** Why the sidecar cannot or must not listen on all of these ports. */
function unusable(
  destination: string,
  ports: readonly number[],
  { pod, userOf }: LoopbackContext,
): LeftOut | undefined {
  if (ports.length > BOOTSTRAP_LIMITS.portsPerEntry) {
    const message = `it has more than ${BOOTSTRAP_LIMITS.portsPerEntry} ports; split the Service, or use capture iptables or explicit`;
    return { destination, reason: 'NoRoom', message };
  }
  const used = ports.find((port) => userOf(port) !== undefined);
  if (used !== undefined) {
    const message = `port ${used} is used by ${userOf(used)}, which could not bind it any more; ${wayOut(destination)}`;
    return { destination, reason: 'PortInUse', message, port: used };
  }
  const start = unprivilegedPortStart(pod);
  const privileged = ports.find((port) => port < start);
  if (privileged === undefined) return undefined;
  const message = `port ${privileged} is below the ${UNPRIVILEGED_PORT_START} that the pod sets; set it to 0, or ${wayOut(destination)}`;
  return { destination, reason: 'PrivilegedPort', message, port: privileged };
}

const isService = (destination: string) => destination.includes('/');

function wayOut(destination: string): string {
  const other = 'use capture iptables or explicit';
  return isService(destination) ? `give the Service another port, or ${other}` : other;
}

/** What the user sets; 0, which injection sets where it is needed, where nobody does. */
function unprivilegedPortStart(pod: Pod): number {
  const set = (pod.spec?.securityContext?.sysctls ?? []).find(({ name }) => name === UNPRIVILEGED_PORT_START);
  const value = Number(set?.value ?? 0);
  // What is no number the kubelet refuses.
  return Number.isFinite(value) ? value : 0;
}

/** Every name that a resolver would look up for the Service, but for those that end with a dot. */
function hostnamesOf(service: WorldService, { pod, namespace, clusterDomain }: LoopbackContext): string[] {
  const qualified = `${service.name}.${service.namespace}`;
  const names = [qualified, `${qualified}.svc`, `${qualified}.svc.${clusterDomain}`];
  const own: readonly (string | undefined)[] = [
    ...OWN_NAMES,
    ...MORE_OWN_NAMES,
    pod.spec?.hostname,
    pod.metadata?.name,
  ];
  return service.namespace === namespace && !own.includes(service.name) ? [service.name, ...names] : names;
}

/** Those that lead somewhere already. */
class Names {
  readonly #taken: Set<string>;

  constructor(pod: Pod) {
    const aliases = (pod.spec?.hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []);
    this.#taken = new Set(aliases.map((name) => name.toLowerCase()));
  }

  has(name: string): boolean {
    return this.#taken.has(name);
  }

  take(names: readonly string[]): string[] {
    for (const name of names) this.#taken.add(name);
    return [...names];
  }
}

/** 127.77.0.1 to 127.77.255.254: by the name of what it stands for, so that it is the same in most pods; the next free one where taken. */
class Addresses {
  readonly #taken: Set<string>;

  constructor(pod: Pod) {
    this.#taken = new Set((pod.spec?.hostAliases ?? []).map(({ ip }) => ip));
  }

  take(destination: string): string {
    const first = createHash('sha256').update(destination).digest().readUInt16BE(0);
    for (let step = 0; ; step++) {
      const number = 1 + ((first + step) % 65_534);
      const address = `127.77.${number >> 8}.${number & 255}`;
      if (this.#taken.has(address)) continue;
      this.#taken.add(address);
      return address;
    }
  }
}

function byDestination(a: string, b: string): number {
  const rank = (destination: string) => (isService(destination) ? 0 : 1);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
