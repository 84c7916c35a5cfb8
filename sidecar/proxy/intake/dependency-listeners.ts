// Listeners at free ports, one for each dependency of the plan (capture `explicit` of standalone mode).
import type { Logger } from '../../../runtime/log.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { Accepted } from '../sockets/listen.ts';
import type { Listening, Network } from '../sockets/network.ts';

export interface DependencyListenersOptions {
  bindHost: string;
  /** The port that a dependency, by its name, had before a restart. It gets it again where that is free. */
  portBefore?: ((dependency: string) => number | undefined) | undefined;
  dependencies: ReadonlyMap<string, DependencyRuntime>;
  onConnection: (accepted: Accepted, dependency: DependencyRuntime) => void;
  network: Network;
  log: Logger;
}

export class DependencyListeners {
  readonly #options: DependencyListenersOptions;
  readonly #open = new Map<string, { server: Listening; port: number }>();
  #opening: Promise<void> = Promise.resolve();

  constructor(options: DependencyListenersOptions) {
    this.#options = options;
  }

  /** One after the other: two plans in a row must not open two listeners for one dependency. */
  open(): Promise<void> {
    this.#opening = this.#opening.catch(() => undefined).then(() => this.#openMissing());
    return this.#opening;
  }

  close(id: string): void {
    this.#open.get(id)?.server.close();
    this.#open.delete(id);
  }

  closeAll(): void {
    for (const id of this.#open.keys()) this.close(id);
  }

  addresses(): Record<string, string> {
    const { bindHost, dependencies } = this.#options;
    const addresses: Record<string, string> = {};
    for (const [id, { port }] of this.#open) {
      const dependency = dependencies.get(id);
      if (dependency) addresses[dependency.label] = `${bindHost}:${port}`;
    }
    return addresses;
  }

  has(place: string): boolean {
    for (const { port } of this.#open.values()) if (place === `${this.#options.bindHost} ${port}`) return true;
    return false;
  }

  async #openMissing(): Promise<void> {
    const { bindHost, portBefore, dependencies, onConnection, network, log } = this.#options;
    for (const [id, dependency] of dependencies) {
      if (this.#open.has(id) || dependency.removed) continue;
      const before = portBefore?.(dependency.label) ?? 0;
      const accept = (accepted: Accepted) => onConnection(accepted, dependency);
      const server = await network.listen(bindHost, before, log, accept).catch((error: unknown) => {
        if (before === 0) throw error;
        return network.listen(bindHost, 0, log, accept);
      });
      if (dependency.removed) {
        server.close();
        continue;
      }
      const address = server.address();
      this.#open.set(id, { server, port: typeof address === 'object' && address ? address.port : 0 });
    }
  }
}
