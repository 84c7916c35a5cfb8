// One end of a simulated TCP connection, with what the data path uses of node:net's Socket, and its manners: bytes that come in pieces,
// a peer that does not read and fills the buffers, half-closed sides, resets that throw away what lies between.
import { EventEmitter } from 'node:events';
import type { OnReadOpts } from 'node:net';
import type { Host } from './host.ts';
import type { Wire } from './wire.ts';
import { tell, type Written } from './written.ts';

/** What a peer may leave unread before the other side cannot hand over more. */
const WINDOW_BYTES = 65_536;
const HIGH_WATER_BYTES = 16_384;
/** So long the kernel believes in a peer of which nothing is heard any more. */
export const KEEP_ALIVE_MS = 100_000;

export const resetError = (): NodeJS.ErrnoException =>
  Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });

let descriptors = 0;

export class SimulatedSocket extends EventEmitter {
  readonly host: Host;
  /** For whoever looks where a redirected connection was made to. */
  readonly _handle: { fd: number };
  connecting = true;
  destroyed = false;
  closed = false;
  readableEnded = false;
  readonly endedWhole = true;
  /** As in UpstreamSocket: writes after the peer stopped reading are not an error. */
  tolerant = false;
  writesFailed = false;
  /** As Node's, to which a connection that node:http2 speaks on must look like one of its streams. */
  readonly readable = true;
  readonly writable = true;
  /** Where it was made to before it was redirected. */
  original: { address: string; port: number } | null = null;
  peer: SimulatedSocket | null = null;
  /** Told of every write before the bytes leave. */
  onWrite: ((bytes: Buffer) => void) | null = null;
  #wire: Wire | null = null;
  readonly #onread: OnReadOpts | null;
  /** As Node's: null until somebody listens. */
  #flowing: boolean | null;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Sent, and not read by the peer yet. */
  #outstandingBytes = 0;
  #sentBytes = 0;
  #lastArrivalMs = 0;
  readonly #received: Buffer[] = [];
  #finQueued = false;
  #finSent = false;
  #finReceived = false;
  #resetReceived = false;
  #fellSilent = false;
  #destroyWhenFlushed = false;
  #needDrain = false;
  #draining = false;
  #corked = false;
  /** What node:http2 writes in one turn leaves in one piece, as `writev` sends it. */
  readonly #heldBack: Buffer[] = [];
  /** To be called when what was written so far is in the hands of the kernel. */
  readonly #onWritten: Written[] = [];
  readonly #onEnded: Written[] = [];

  constructor(host: Host, onread: OnReadOpts | null) {
    super();
    this.host = host;
    this.#onread = onread;
    this.#flowing = onread ? true : null;
    descriptors += 1;
    this._handle = { fd: descriptors };
  }

  get writableLength(): number {
    return this.#waitingBytes;
  }

  get writableNeedDrain(): boolean {
    return this.#needDrain;
  }

  /** The three-way handshake is over. */
  establish(peer: SimulatedSocket, wire: Wire): void {
    this.peer = peer;
    this.#wire = wire;
    this.connecting = false;
  }

  announce(): void {
    if (this.destroyed) return;
    this.emit('connect');
    this.#pump();
    this.#read();
  }

  failToConnect(code: string): void {
    if (this.destroyed) return;
    this.#die(Object.assign(new Error(`connect ${code}`), { code }));
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    super.on(event, listener as (...args: unknown[]) => void);
    if (event === 'data' && this.#flowing === null) this.resume();
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  /** Only writes that are to be told of are held back: the data path makes its own into one. */
  cork(): void {
    this.#corked = true;
  }

  uncork(): void {
    this.#corked = false;
    if (this.#heldBack.length > 0) this.#write(Buffer.concat(this.#heldBack.splice(0)));
  }

  pause(): this {
    this.#flowing = false;
    return this;
  }

  resume(): this {
    this.#flowing = true;
    this.#later(() => this.#read());
    return this;
  }

  /** Puts bytes back, to be read again first. */
  unshift(bytes: Buffer): void {
    this.#received.unshift(Buffer.from(bytes));
  }

  /** As Node's, in which a callback may stand in the place of the encoding. */
  write(data: Buffer | string, how?: BufferEncoding | Written): boolean {
    if (typeof how === 'function') return this.#writeAndTell(Buffer.from(data as Buffer), how);
    return this.#write(data, how);
  }

  #writeAndTell(bytes: Buffer, written: Written): boolean {
    if (this.destroyed || this.#finQueued) {
      written(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      return false;
    }
    this.#onWritten.push(written);
    if (!this.#corked) return this.#write(bytes);
    this.#heldBack.push(bytes);
    return true;
  }

  #write(data: Buffer | string, encoding?: BufferEncoding): boolean {
    if (this.destroyed || this.#finQueued) return false;
    if (this.writesFailed) return true;
    if (this.#resetReceived) return this.#failWrite();
    const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : Buffer.from(data);
    this.onWrite?.(bytes);
    if (bytes.length > 0) {
      this.#waiting.push(bytes);
      this.#waitingBytes += bytes.length;
    }
    this.#pump();
    this.#needDrain = this.#waitingBytes >= HIGH_WATER_BYTES;
    return !this.#needDrain;
  }

  /** The peer is gone, which was not read yet. */
  #failWrite(): boolean {
    if (this.tolerant) this.writesFailed = true;
    else this.#die(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    return this.tolerant;
  }

  end(data?: Buffer | string | Written): this {
    if (typeof data === 'function') this.#onEnded.push(data);
    else if (data !== undefined) this.write(data);
    this.#finQueued = true;
    this.#pump();
    return this;
  }

  destroySoon(): void {
    this.#destroyWhenFlushed = true;
    this.end();
  }

  destroy(): this {
    if (this.destroyed) return this;
    // As Linux does: a connection that is closed with bytes unread is reset, so that the peer learns that they were lost.
    if (this.#received.length > 0) this.#sendReset();
    else this.#sendFin();
    this.#die(null);
    return this;
  }

  resetAndDestroy(): this {
    if (this.destroyed) return this;
    this.#sendReset();
    this.#die(null);
    return this;
  }

  /** A segment has come. */
  arrive(bytes: Buffer): void {
    if (this.destroyed) {
      // Nobody is there to take it.
      this.#sendReset();
      return;
    }
    this.#received.push(bytes);
    this.#read();
  }

  arriveFin(): void {
    if (this.destroyed) return;
    this.#finReceived = true;
    this.#read();
  }

  arriveReset(): void {
    if (this.destroyed) return;
    // As Linux does: what came before the reset can still be read, and only then is it heard of.
    this.#resetReceived = true;
    this.#read();
  }

  /** Whoever does not read has nothing left to read first. */
  #hearReset(): void {
    if (this.#resetReceived && !this.destroyed && this.#received.length === 0) this.#die(resetError());
  }

  /** The peer has read so many bytes. */
  acknowledge(bytes: number): void {
    this.#outstandingBytes -= bytes;
    if (!this.destroyed) this.#pump();
  }

  #later(run: () => void): void {
    this.host.time.after(0, () => this.host.run(run));
  }

  /** Hands over what the window has room for. */
  #pump(): void {
    if (this.connecting || this.destroyed) return;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const room = WINDOW_BYTES - this.#outstandingBytes;
      if (room <= 0) return;
      const whole = next.length <= room;
      const part = whole ? next : next.subarray(0, room);
      if (whole) this.#waiting.shift();
      else this.#waiting[0] = next.subarray(room);
      this.#waitingBytes -= part.length;
      this.#outstandingBytes += part.length;
      this.#transmit(part);
    }
    tell(this.#onWritten, null);
    if (this.#needDrain && !this.#draining) {
      this.#draining = true;
      this.#later(() => this.#drained());
    }
    if (this.#finQueued) {
      this.#sendFin();
      tell(this.#onEnded, null);
    }
    if (this.#destroyWhenFlushed) this.#later(() => this.destroy());
  }

  #drained(): void {
    this.#draining = false;
    if (this.destroyed || this.#waitingBytes > 0) return;
    this.#needDrain = false;
    this.emit('drain');
  }

  #transmit(bytes: Buffer): void {
    const wire = this.#wire;
    if (wire === null) return;
    wire.corrupt?.(bytes);
    for (let start = 0; start < bytes.length; ) {
      const untilSilent = wire.silentAfterBytes - this.#sentBytes;
      if (untilSilent <= 0) {
        this.#fallSilent();
        return;
      }
      const untilReset = wire.resetAfterBytes - this.#sentBytes;
      const size = Math.min(wire.segment(bytes.length - start), bytes.length - start, untilReset, untilSilent);
      const segment = bytes.subarray(start, start + size);
      start += size;
      this.#sentBytes += size;
      if (size > 0) this.#deliver((peer) => peer.arrive(segment));
      if (this.#sentBytes >= wire.resetAfterBytes) {
        this.#deliver((peer) => {
          this.host.run(() => this.arriveReset());
          peer.arriveReset();
        });
        wire.silentAfterBytes = 0;
        return;
      }
    }
  }

  /** In order, after the time that the wire takes. */
  #deliver(take: (peer: SimulatedSocket) => void): void {
    const { peer } = this;
    if (peer === null || this.#wire === null) return;
    const { time } = this.host;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, time.nowMs + this.#wire.latencyMs());
    time.after(this.#lastArrivalMs - time.nowMs, () => peer.host.run(() => take(peer)));
  }

  #sendFin(): void {
    if (this.#finSent || this.connecting) return;
    this.#finSent = true;
    if (!this.#silent()) this.#deliver((peer) => peer.arriveFin());
    this.#closeIfOver();
  }

  /** As Node's sockets, which close by themselves once both sides have ended. */
  #closeIfOver(): void {
    if (this.readableEnded && this.#finSent && !this.destroyed) this.#later(() => this.destroy());
  }

  #sendReset(): void {
    if (this.#silent()) return;
    this.#deliver((peer) => peer.arriveReset());
  }

  /** Nobody tells either side; in the end both kernels give up. */
  #fallSilent(): void {
    if (this.#fellSilent) return;
    this.#fellSilent = true;
    this.host.time.after(KEEP_ALIVE_MS, () => {
      this.arriveReset();
      this.peer?.arriveReset();
    });
  }

  #silent(): boolean {
    if (this.#wire === null) return true;
    const silent = this.#sentBytes >= this.#wire.silentAfterBytes;
    if (silent) this.#fallSilent();
    return silent;
  }

  #read(): void {
    while (this.#flowing && !this.destroyed && !this.connecting) {
      const next = this.#received[0];
      if (next === undefined) break;
      this.#readSome(next);
    }
    this.#hearReset();
    if (!this.#flowing || this.destroyed || !this.#finReceived || this.readableEnded || this.#received.length > 0)
      return;
    this.readableEnded = true;
    this.emit('end');
    this.#closeIfOver();
  }

  #readSome(next: Buffer): void {
    this.#received.shift();
    if (this.#onread === null) {
      this.#acknowledgeRead(next.length);
      this.emit('data', next);
      return;
    }
    const { buffer } = this.#onread;
    const target = (typeof buffer === 'function' ? buffer() : buffer) as Buffer;
    const size = Math.min(next.length, target.length);
    next.copy(target, 0, 0, size);
    if (size < next.length) this.#received.unshift(next.subarray(size));
    this.#acknowledgeRead(size);
    if (!this.#onread.callback(size, target)) this.#flowing = false;
  }

  #acknowledgeRead(bytes: number): void {
    const { peer } = this;
    if (peer === null) return;
    this.host.time.after(0, () => peer.host.run(() => peer.acknowledge(bytes)));
  }

  #die(error: Error | null): void {
    this.destroyed = true;
    this.connecting = false;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#received.length = 0;
    const gone = error ?? Object.assign(new Error('the socket is destroyed'), { code: 'ECANCELED' });
    tell(this.#onWritten, gone);
    tell(this.#onEnded, gone);
    this.#later(() => {
      if (error && this.listenerCount('error') > 0) this.emit('error', error);
      else if (error) throw error;
      this.closed = true;
      this.emit('close', error !== null);
    });
  }
}
