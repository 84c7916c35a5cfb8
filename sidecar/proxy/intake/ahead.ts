// A connection to where the application wanted to go, made while it is silent and nobody knows what it speaks: a server that speaks first
// must not wait for an application that waits for it.
import type { ByteStream, ByteStreamOwner } from '../sockets/byte-stream.ts';
import type { Network } from '../sockets/network.ts';
import type { TunnelTarget, TunnelTargets } from './tunnel.ts';

export interface Ahead {
  /**
   * Connects. False: it is not known yet where to. `onSpoke`: the dependency spoke or ended, or is not to be reached, so that the bytes are
   * to be passed on whatever they are; not called inside.
   */
  begin(onSpoke: () => void): boolean;
  /** The application turned out to speak HTTP: as if nothing had been begun. */
  drop(): void;
}

/** A connection that was made, or is on its way, and what its peer sent first. */
export interface Dialled {
  readonly target: TunnelTarget;
  readonly stream: ByteStream;
  readonly first: readonly Buffer[];
}

/** Without policies. */
export class DialAhead implements Ahead, ByteStreamOwner {
  /** Null: nothing was dialled, or it was dropped. */
  #stream: ByteStream | null = null;
  #target: TunnelTarget | null = null;
  readonly #first: Buffer[] = [];
  readonly #network: Pick<Network, 'dialStream'>;
  readonly #targets: TunnelTargets;
  #onSpoke: () => void = () => {};

  constructor(network: Pick<Network, 'dialStream'>, targets: TunnelTargets) {
    this.#network = network;
    this.#targets = targets;
  }

  begin(onSpoke: () => void): boolean {
    const target = this.#targets.first;
    // Where it is to be asked for, it may be known in a moment.
    if (!target) return this.#targets.others === null;
    this.#onSpoke = onSpoke;
    this.#target = target;
    this.#stream = this.#network.dialStream(target.address, target.port);
    this.#stream.owner = this;
    return true;
  }

  /** A server that speaks first, or has ended: not one that waits for requests. */
  get spoke(): boolean {
    return this.#first.length > 0 || this.#stream?.hasEnded === true;
  }

  /** For whoever goes on with it. */
  take(): Dialled | null {
    const stream = this.#stream;
    const target = this.#target;
    if (!stream || !target) return null;
    if (!stream.connecting) stream.pause();
    return { target, stream, first: this.#first };
  }

  drop(): void {
    this.#stream?.destroy();
    this.#stream = null;
  }

  streamConnected(stream: ByteStream): void {
    stream.resume();
  }

  streamArrived(stream: ByteStream, buffer: Buffer, bytes: number): void {
    stream.pause();
    this.#first.push(Buffer.from(buffer.subarray(0, bytes)));
    this.#onSpoke();
  }

  streamEnded(): void {
    this.#onSpoke();
  }

  streamDrained(): void {}

  /** A dial that fails ends in a tunnel that fails: one place resets the application. */
  streamClosed(): void {
    this.#onSpoke();
  }
}
