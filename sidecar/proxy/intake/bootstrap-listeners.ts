// The listeners that a pod's bootstrap asks for: host names or environment of the application lead to them from its first moment, so they
// are open before anything is known of a plan, and stay open whatever a plan says.
import type { Bootstrap, BootstrapEntry } from '../../../plan/bootstrap.ts';
import { endpointsKey, hostKey } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { Accepted } from '../sockets/listen.ts';
import type { Listening, Network } from '../sockets/network.ts';
import { placeOf } from './own-addresses.ts';

/** What a listener stands for. */
export interface ListenerTarget {
  entry: BootstrapEntry;
  port: number;
  /** As `endpointsKey` of the dependency, if one is declared for it. */
  key: string;
}

export interface ListenerView {
  /** "127.77.0.1:8080" */
  listen: string;
  /** "billing/payments:8080", or "host:api.example.com:443" */
  target: string;
  /** Why it does not listen; empty where it does. */
  problem: string;
}

export interface BootstrapListenersOptions {
  bootstrap: Bootstrap;
  onConnection: (accepted: Accepted, target: ListenerTarget) => void;
  network: Network;
  log: Logger;
}

/** Each is a file descriptor of this process. */
const MAX_LISTENERS = 4_096;

interface Listener {
  target: ListenerTarget;
  server: Listening | null;
  problem: string;
}

export class BootstrapListeners {
  readonly #options: BootstrapListenersOptions;
  /** By address and port. What could not be opened stays in it: trying again and again would not make the port free. */
  readonly #listeners = new Map<string, Listener>();
  #opening: Promise<void> = Promise.resolve();
  #closed = false;
  /** Those that the bound left out. */
  #left = 0;

  constructor(options: BootstrapListenersOptions) {
    this.#options = options;
  }

  /** Opens what the bootstrap asks for; never rejects. */
  open(): Promise<void> {
    const { entries } = this.#options.bootstrap;
    return this.#enqueue(entries.flatMap((entry) => entry.ports.map(({ listen, port }) => ({ entry, listen, port }))));
  }

  /** Under capture `loopback` a name leads here for all ports of its Service, those that it got after the pod was born included. */
  openPortsOf(dependencies: readonly DependencyPlan[]): Promise<void> {
    const { capture, entries } = this.#options.bootstrap;
    if (capture !== 'loopback') return this.#opening;
    const portsOf = new Map<string, Set<number>>();
    for (const { service } of dependencies) {
      if (!service) continue;
      const key = `${service.namespace}/${service.name}`;
      const ports = portsOf.get(key) ?? new Set();
      for (const port of service.ports) ports.add(port);
      portsOf.set(key, ports);
    }
    return this.#enqueue(
      entries.flatMap((entry) => {
        const ports = entry.service ? portsOf.get(`${entry.service.namespace}/${entry.service.name}`) : undefined;
        return Array.from(ports ?? [], (port) => ({ entry, listen: port, port }));
      }),
    );
  }

  has(place: string): boolean {
    return this.#listeners.has(place);
  }

  view(): ListenerView[] {
    return Array.from(this.#listeners, ([place, { target, problem }]) => ({
      listen: place.replace(' ', ':'),
      target: target.key,
      problem,
    }));
  }

  close(): void {
    this.#closed = true;
    for (const { server } of this.#listeners.values()) server?.close();
  }

  #enqueue(wanted: readonly { entry: BootstrapEntry; listen: number; port: number }[]): Promise<void> {
    this.#opening = this.#opening.then(async () => {
      for (const { entry, listen, port } of wanted) {
        if (this.#closed) return;
        if (!this.#listeners.has(placeOf(entry.address, listen))) await this.#openOne(entry, listen, port);
      }
    });
    return this.#opening;
  }

  async #openOne(entry: BootstrapEntry, listen: number, port: number): Promise<void> {
    const { onConnection, network, log } = this.#options;
    const target: ListenerTarget = { entry, port, key: keyOf(entry, port) };
    const listener: Listener = { target, server: null, problem: '' };
    const fields = { address: entry.address, port: listen, target: target.key };
    if (this.#listeners.size >= MAX_LISTENERS) {
      if (this.#left++ === 0)
        log.error(
          fields,
          `more than ${MAX_LISTENERS} listeners are not opened: connections to this port, and to all after it, are refused`,
        );
      return;
    }
    this.#listeners.set(placeOf(entry.address, listen), listener);
    try {
      listener.server = await network.listen(entry.address, listen, log, (accepted) => onConnection(accepted, target));
      if (this.#closed) listener.server.close();
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException;
      listener.problem = code || message;
      log.error(
        { ...fields, problem: listener.problem },
        PROBLEMS[code] ?? 'the sidecar cannot listen here: connections to this port are refused',
      );
    }
  }
}

const PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'another process of this pod listens on this port on all addresses: calls of this name and port reach that process instead of the Service',
  EACCES:
    'ports below 1024 are not open to this user: the node must set net.ipv4.ip_unprivileged_port_start to 0 for the pod, which containerd does',
};

function keyOf({ service, host }: BootstrapEntry, port: number): string {
  return service ? endpointsKey(service.namespace, service.name, port) : hostKey(host ?? '', port);
}
