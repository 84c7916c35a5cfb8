// A socket of Node as a stream of bytes. What Node has read of it already comes first.
//
// When more than a read has come, it is read into the buffer of all connections (read-buffer.ts): a stream of Node allocates 64 KiB for each read, and
// to collect them costs more than all writes. Until then, and on sockets that cannot share, bytes come as 'data': most connections that are short send
// once each way.
import type { Socket } from 'node:net';
import { type ByteStream, type ByteStreamOwner, NOBODY } from './byte-stream.ts';
import { Outbox } from './outbox.ts';
import { readShared } from './read-buffer.ts';

const SHARES_AT_READ = 2;

export class SocketStream implements ByteStream {
  readonly #socket: Socket;
  readonly #out: Outbox;
  #owner: ByteStreamOwner = NOBODY;
  #watches = false;
  #reads = 0;
  #code: string | null = null;

  /** Paused, or read by somebody else until it has an owner. */
  constructor(socket: Socket) {
    this.#socket = socket;
    this.#out = new Outbox(socket);
    // Without a listener an error would end the process.
    socket.on('error', ({ code = 'UNKNOWN' }: NodeJS.ErrnoException) => {
      this.#code = code;
    });
  }

  get owner(): ByteStreamOwner {
    return this.#owner;
  }

  set owner(owner: ByteStreamOwner) {
    this.#owner = owner;
    if (this.#watches) return;
    this.#watches = true;
    this.#watch(this.#socket);
  }

  get connecting(): boolean {
    return this.#socket.connecting;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  get hasEnded(): boolean {
    return this.#socket.readableEnded;
  }

  readFor(): void {}

  resume(): void {
    this.#socket.resume();
  }

  pause(): void {
    this.#socket.pause();
  }

  pass(buffer: Buffer, bytes: number): boolean {
    if (this.#socket.destroyed) return false;
    this.#out.bytes(buffer, 0, bytes);
    return this.#out.flush();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#owner = NOBODY;
    this.#socket.destroy();
  }

  reset(): void {
    this.#owner = NOBODY;
    this.#socket.resetAndDestroy();
  }

  probeAfter(delayMs: number): void {
    this.#socket.setKeepAlive(true, delayMs);
  }

  #watch(socket: Socket): void {
    socket.pause();
    socket.on('connect', () => this.#owner.streamConnected(this));
    socket.on('data', (chunk: Buffer) => this.#arrived(chunk, chunk.length));
    socket.on('end', () => this.#owner.streamEnded(this));
    socket.on('drain', () => this.#owner.streamDrained(this));
    socket.on('close', () => this.#owner.streamClosed(this, this.#code));
  }

  #arrived(buffer: Buffer, bytes: number): void {
    this.#reads++;
    if (this.#reads === SHARES_AT_READ) readShared(this.#socket, (shared, read) => this.#arrived(shared, read));
    this.#owner.streamArrived(this, buffer, bytes);
  }
}
