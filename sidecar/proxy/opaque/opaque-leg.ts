// The connection to the dependency that an opaque connection is to flow over, from its dial to the first byte or end of the dependency: who takes
// it then goes on with it, and has lost nothing.
import type { Socket } from 'node:net';
import type { ConnectFailure } from '../exchange/upstream.ts';
import type { Network } from '../sockets/network.ts';
import { connectFailureOf } from '../upstream/http1-connection.ts';

/** Told of one leg at a time; of a leg that was taken or destroyed nothing any more. */
export interface OpaqueLegOwner {
  legConnected(): void;
  /** The dependency has sent something, or ended its side; nothing of it is read. */
  legMoved(): void;
  /** It was not made. */
  legFailed(failure: ConnectFailure): void;
  /** It was made, and cut before a byte came. */
  legLost(): void;
}

export class OpaqueLeg {
  /** Something of the dependency waits to be read: bytes, or its end. */
  moved = false;
  readonly #socket: Socket;
  readonly #owner: OpaqueLegOwner;
  #connected = false;
  #done = false;

  readonly #onData = (chunk: Buffer): void => {
    this.#socket.pause();
    this.#socket.unshift(chunk);
    this.#move();
  };
  readonly #onEnd = (): void => this.#move();

  constructor(network: Pick<Network, 'dial'>, address: string, port: number, owner: OpaqueLegOwner) {
    this.#owner = owner;
    this.#socket = network.dial(address, port);
    this.#socket.on('connect', () => this.#connect());
    this.#socket.on('error', ({ code }: NodeJS.ErrnoException) => this.#lose(connectFailureOf(code)));
    this.#socket.on('close', () => this.#lose(connectFailureOf(undefined)));
  }

  /** Whoever takes the socket reads on. */
  take(): Socket {
    this.#done = true;
    this.#unwatch();
    return this.#socket;
  }

  /** It was not made in time. */
  giveUp(): void {
    this.#lose('timeout');
  }

  destroy(): void {
    this.#done = true;
    this.#socket.destroy();
  }

  #connect(): void {
    if (this.#done) return;
    this.#connected = true;
    this.#socket.on('data', this.#onData);
    this.#socket.on('end', this.#onEnd);
    this.#owner.legConnected();
  }

  #move(): void {
    this.moved = true;
    this.#unwatch();
    this.#owner.legMoved();
  }

  #unwatch(): void {
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onEnd);
  }

  #lose(failure: ConnectFailure): void {
    if (this.#done) return;
    this.destroy();
    if (this.#connected) this.#owner.legLost();
    else this.#owner.legFailed(failure);
  }
}
