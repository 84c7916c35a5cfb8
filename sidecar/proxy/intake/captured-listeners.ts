// The listeners to which the kernel redirects the connections of the application (capture `iptables`), and where each was made to.
import type { Logger } from '../../../runtime/log.ts';
import type { Accepted } from '../sockets/listen.ts';
import type { Listening, Network } from '../sockets/network.ts';
import { isLoopback, placeOf } from './own-addresses.ts';
import type { TunnelTarget } from './tunnel.ts';

export interface CapturedListenersOptions {
  /** Loopback, unless a test says otherwise; that of IPv6 is listened at beside it. */
  bindHost: string;
  port: number;
  /** Reads where a redirected connection was made to; null in other modes of capture. */
  originalDestination: ((fd: number, family: 4 | 6) => TunnelTarget | null) | null;
  onConnection: (accepted: Accepted, original: TunnelTarget) => void;
  network: Network;
  log: Logger;
}

export class CapturedListeners {
  readonly #options: CapturedListenersOptions;
  readonly #open: Listening[] = [];

  constructor(options: CapturedListenersOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { bindHost, log, network, port } = this.#options;
    this.#open.push(await network.listen(bindHost, port, log, (accepted) => this.#accept(accepted, 4)));
    if (bindHost !== '127.0.0.1') return;
    try {
      this.#open.push(await network.listen('::1', port, log, (accepted) => this.#accept(accepted, 6)));
    } catch (error) {
      log.info({ err: error }, 'IPv6 loopback is not there: only IPv4 is captured');
    }
  }

  close(): void {
    for (const server of this.#open) server.close();
  }

  /** A connection to this place would come back here. */
  has(place: string): boolean {
    const { bindHost, port } = this.#options;
    return place === placeOf(bindHost, port) || place === placeOf('::1', port);
  }

  #accept(accepted: Accepted, family: 4 | 6): void {
    const { log, onConnection, originalDestination, port } = this.#options;
    const original = originalDestination?.(accepted.fd, family) ?? null;
    // Without a redirection the destination is this listener itself: forwarding would never end.
    if (!original || (original.port === port && isLoopback(original.address))) {
      log.warn({ original }, 'a connection without an original destination was refused');
      accepted.stream().destroy();
      return;
    }
    onConnection(accepted, original);
  }
}
