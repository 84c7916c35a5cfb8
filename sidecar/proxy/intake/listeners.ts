// Where the sidecar listens. The mode of capture says how connections of the application come to it, and so which listeners there are: those that the
// kernel redirects to, those that a pod's bootstrap asks for, or in standalone mode one for each dependency of the plan.
import type { Bootstrap } from '../../../plan/bootstrap.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { CaptureMode } from '../../config.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { Network } from '../sockets/network.ts';
import type { Arrivals } from './arrivals.ts';
import { BootstrapListeners, type ListenerView } from './bootstrap-listeners.ts';
import { CapturedListeners, type CapturedListenersOptions } from './captured-listeners.ts';
import { DependencyListeners } from './dependency-listeners.ts';

export interface ListenersOptions {
  capture: CaptureMode;
  /** Null: there is none, under capture `iptables` and in standalone mode. */
  bootstrap: Bootstrap | null;
  /** Of the listeners that the bootstrap does not name. */
  bindHost: string;
  /** Where redirected connections arrive (capture `iptables`). */
  outboundPort: number;
  originalDestination: CapturedListenersOptions['originalDestination'];
  /** In standalone mode: the port that a dependency, by its name, had before a restart. */
  portBefore?: ((dependency: string) => number | undefined) | undefined;
  /** Those of the plan in force. */
  dependencies: ReadonlyMap<string, DependencyRuntime>;
  /** Whoever takes what comes. */
  arrivals: Pick<Arrivals, 'captured' | 'dedicated' | 'listened'>;
  network: Network;
  log: Logger;
}

export class Listeners {
  readonly #options: ListenersOptions;
  /** Null in the other modes of capture. */
  readonly #captured: CapturedListeners | null;
  readonly #ofBootstrap: BootstrapListeners | null;
  /** Null where anything but the plan says where to listen. */
  readonly #ofDependencies: DependencyListeners | null;
  #listening = false;

  constructor(options: ListenersOptions) {
    this.#options = options;
    const { arrivals, bindHost, bootstrap, capture, dependencies, log, network, originalDestination } = options;
    const { outboundPort: port, portBefore } = options;
    this.#captured =
      capture === 'iptables'
        ? new CapturedListeners({
            bindHost,
            port,
            originalDestination,
            onConnection: (accepted, original) => arrivals.captured(accepted, original),
            network,
            log,
          })
        : null;
    this.#ofBootstrap = bootstrap
      ? new BootstrapListeners({
          bootstrap,
          onConnection: (accepted, target) => arrivals.listened(accepted, target),
          network,
          log,
        })
      : null;
    this.#ofDependencies = isStandalone(options)
      ? new DependencyListeners({
          bindHost,
          portBefore,
          dependencies,
          onConnection: (accepted, dependency) => arrivals.dedicated(accepted, dependency),
          network,
          log,
        })
      : null;
  }

  /** From now on. Rejects where it cannot listen at a place without which it is of no use. */
  async open(): Promise<void> {
    this.#listening = true;
    if (this.#captured) {
      await this.#captured.open();
      return;
    }
    await this.#ofBootstrap?.open();
    await this.#follow();
  }

  /** The plan has changed. What cannot be opened now is said in the log. */
  follow(): void {
    if (!this.#listening) return;
    this.#follow().catch((error: unknown) => this.#options.log.error({ err: error }, 'listener did not open'));
  }

  async #follow(): Promise<void> {
    const { dependencies } = this.#options;
    await this.#ofDependencies?.open();
    await this.#ofBootstrap?.openPortsOf(Array.from(dependencies.values(), ({ plan }) => plan));
  }

  /** A dependency is no longer declared. */
  forget(id: string): void {
    this.#ofDependencies?.close(id);
  }

  close(): void {
    this.#listening = false;
    this.#captured?.close();
    this.#ofBootstrap?.close();
    this.#ofDependencies?.closeAll();
  }

  /** A connection to this place (`placeOf`) would come back here. */
  has(place: string): boolean {
    if (this.#captured) return this.#captured.has(place);
    return this.#ofBootstrap?.has(place) === true || this.#ofDependencies?.has(place) === true;
  }

  /** Where each dependency is called in standalone mode, by its name. */
  addresses(): Record<string, string> {
    return this.#ofDependencies?.addresses() ?? {};
  }

  /** Of those that the bootstrap asks for. */
  view(): ListenerView[] {
    return this.#ofBootstrap?.view() ?? [];
  }

  /** How many of these could not be opened. */
  get failed(): number {
    return this.view().filter(({ problem }) => problem !== '').length;
  }
}

/** Nobody but the plan says where to listen, and nothing is behind a ClusterIP. */
export function isStandalone({ bootstrap, capture }: Pick<ListenersOptions, 'bootstrap' | 'capture'>): boolean {
  return capture === 'explicit' && bootstrap === null;
}
