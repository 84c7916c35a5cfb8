// The connection to the dependency that an opaque connection is to flow over, from its dial to the first byte or end of the dependency: who takes
// it then goes on with it, and has lost nothing.
import type { ConnectFailure } from '../exchange/upstream.ts';
import type { ByteStream, ByteStreamOwner } from '../sockets/byte-stream.ts';
import type { Network } from '../sockets/network.ts';
import { connectFailureOf } from '../upstream/http1-connection.ts';

/** Told of one leg at a time; of a leg that was taken or destroyed nothing any more. */
export interface OpaqueLegOwner {
  legConnected(): void;
  /** The dependency has sent something, or ended its side. */
  legMoved(): void;
  /** It was not made. */
  legFailed(failure: ConnectFailure): void;
  /** It was made, and cut before a byte came. */
  legLost(): void;
}

export class OpaqueLeg implements ByteStreamOwner {
  readonly stream: ByteStream;
  readonly #owner: OpaqueLegOwner;
  readonly #first: Buffer[] = [];
  #connected = false;
  #done = false;

  constructor(network: Pick<Network, 'dialStream'>, address: string, port: number, owner: OpaqueLegOwner) {
    this.#owner = owner;
    this.stream = network.dialStream(address, port);
    this.stream.owner = this;
  }

  /** There is something to pass on: bytes, or the end. */
  get moved(): boolean {
    return this.#first.length > 0 || this.stream.hasEnded;
  }

  /** Whoever takes it reads on. What came first is given. */
  take(): readonly Buffer[] {
    this.#done = true;
    return this.#first;
  }

  /** It was not made in time. */
  giveUp(): void {
    this.#lose('timeout');
  }

  destroy(): void {
    this.#done = true;
    this.stream.destroy();
  }

  streamConnected(): void {
    this.#connected = true;
    this.#owner.legConnected();
    if (!this.#done) this.stream.resume();
  }

  streamArrived(stream: ByteStream, buffer: Buffer, bytes: number): void {
    this.#first.push(Buffer.from(buffer.subarray(0, bytes)));
    this.#owner.legMoved();
    if (!this.#done) stream.pause();
  }

  streamEnded(): void {
    this.#owner.legMoved();
  }

  streamDrained(): void {}

  streamClosed(_stream: ByteStream, code: string | null): void {
    this.#lose(connectFailureOf(code ?? undefined));
  }

  #lose(failure: ConnectFailure): void {
    if (this.#done) return;
    this.destroy();
    if (this.#connected) this.#owner.legLost();
    else this.#owner.legFailed(failure);
  }
}
