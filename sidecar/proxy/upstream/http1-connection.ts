// The leg to the dependency over HTTP/1.1: one object per connection, which writes requests and reads responses. It reads into the
// buffer of all connections (read-buffer.ts), so that reading allocates nothing.
import type { OnReadOpts } from 'node:net';
import { ChunkedDecoder, ChunkedEvent, encodeChunkHead } from '../../http1/chunked.ts';
import { MAX_HEAD_BYTES } from '../../http1/limits.ts';
import { parseResponseHead, ResponseHead } from '../../http1/response-head.ts';
import { failureOf, refusesClient } from '../../tls/failures.ts';
import type { TlsOrigination } from '../../tls/origination.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import { lastChunk, requestText } from '../exchange/forwarded-heads.ts';
import type { ConnectFailure, ResponseReceiver, UpstreamLeg } from '../exchange/upstream.ts';
import { Outbox } from '../sockets/outbox.ts';
import { readBufferFor } from '../sockets/read-buffer.ts';
import type { Http1Endpoint } from './http1-endpoint.ts';
import type { UpstreamSocket } from './upstream-socket.ts';

/** An idle connection is kept this long where the server announces nothing. */
export const POOL_IDLE_MS = 3_000;
/** A server's own announcement is taken less this, for the time its FIN is on the way, and never above the limit. */
const KEEP_ALIVE_MARGIN_MS = 2_000;
const KEEP_ALIVE_LIMIT_MS = 60_000;
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');

const Mode = { Head: 0, Length: 1, Chunked: 2, UntilClose: 3, Tunnel: 4, Idle: 5 } as const;

export class Http1Connection implements UpstreamLeg {
  readonly socket: UpstreamSocket;
  receiver: ResponseReceiver | null = null;
  readonly #endpoint: Http1Endpoint;
  readonly #out: Outbox;
  #connected = false;
  /** Something was received. */
  #heard = false;
  readonly #generation: number;
  idleSinceMs = 0;
  /** How long it may lie idle; 0: not to be kept. */
  keepMs = POOL_IDLE_MS;
  #mode: number = Mode.Idle;
  #headRequest = false;
  /** The body of the present request is framed in chunks. */
  #chunkOut = false;
  #remaining = 0;
  #pendingHead: Buffer | null = null;
  #decoder: ChunkedDecoder | null = null;
  #connectFailure: ConnectFailure = 'refused';
  #closed = false;
  /** The peer sends nothing more into a tunnel, in order. */
  #tunnelEnded = false;
  #paused = false;
  readonly #head = new ResponseHead();

  constructor(endpoint: Http1Endpoint, receiver: ResponseReceiver) {
    this.#endpoint = endpoint;
    this.receiver = receiver;
    const { address, port, name, network, tls } = endpoint;
    const onread: OnReadOpts = {
      buffer: readBufferFor(tls !== null),
      callback: (bytes, buffer) => this.#onRead(buffer as Buffer, bytes),
    };
    this.#generation = endpoint.generation;
    this.socket = tls === null ? network.connect(address, port, onread) : tls.connect(name, address, port, onread);
    this.#out = new Outbox(this.socket);
    this.socket.on(tls === null ? 'connect' : 'secureConnect', () => {
      this.#connected = true;
      this.receiver?.onConnected(true);
    });
    this.socket.on('drain', () => this.receiver?.onUpstreamDrain());
    this.socket.on('end', () => this.#onEnd());
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      if (tls !== null) this.#onTlsError(tls, error);
      else if (!this.#connected) this.#connectFailure = connectFailureOf(error.code);
    });
    this.socket.on('close', () => this.#onClose());
  }

  usable(): boolean {
    const { destroyed, writesFailed } = this.socket;
    return this.#mode === Mode.Idle && !destroyed && !writesFailed && this.#generation === this.#endpoint.generation;
  }

  /** What is written arrives nowhere any more; an answer may still come. */
  #writesFailed(): boolean {
    return this.socket.writesFailed || this.socket.destroyed;
  }

  sendHead(receiver: ResponseReceiver, request: OutgoingRequest): void {
    const { head } = request;
    this.receiver = receiver;
    this.#headRequest = head.method === 'HEAD';
    this.#chunkOut = head.chunked;
    this.socket.tolerant = request.hasBody;
    this.#mode = Mode.Head;
    this.#out.text(requestText(request));
  }

  sendData(buffer: Buffer, start: number, end: number): void {
    if (this.#writesFailed()) return;
    if (this.#chunkOut) this.#out.text(encodeChunkHead(end - start));
    this.#out.bytes(buffer, start, end);
    if (this.#chunkOut) this.#out.text('\r\n');
  }

  sendEnd(trailers: string): void {
    if (this.#chunkOut) this.#out.text(lastChunk(trailers));
  }

  flush(): boolean {
    return this.#out.flush();
  }

  becomeTunnel(): void {
    this.#mode = Mode.Tunnel;
  }

  sendTunnelData(buffer: Buffer, start: number, end: number): void {
    this.#out.bytes(buffer, start, end);
  }

  endWriting(): void {
    this.socket.end();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  release(reusable: boolean, nowMs: number): void {
    if (reusable && !this.#writesFailed()) this.#endpoint.giveIdle(this, nowMs);
    else this.destroy();
  }

  finish(): void {
    this.socket.destroySoon();
  }

  giveUpConnecting(): void {
    this.#connectFailure = 'timeout';
    this.destroy();
    this.#onClose();
  }

  destroy(): void {
    this.socket.destroy();
  }

  abort(): void {
    if (this.socket.connecting) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  #onRead(buffer: Buffer, bytes: number): boolean {
    const receiver = this.receiver;
    if (!this.#heard) this.#onFirstRead();
    if (receiver === null || !this.#connected) {
      // Nobody asked: whatever this is, it would be taken for the answer to the next request.
      this.destroy();
      return true;
    }
    if (this.#mode === Mode.Tunnel) return this.#pauseUnless(receiver.onTunnelData(buffer, 0, bytes));
    this.#consume(receiver, buffer, bytes);
    if (this.#mode === Mode.Idle || this.receiver !== receiver) return true;
    return this.#pauseUnless(receiver.onResponseFlush());
  }

  #onFirstRead(): void {
    this.#heard = true;
    this.#endpoint.tls?.answered();
  }

  #onTlsError(tls: TlsOrigination, error: NodeJS.ErrnoException): void {
    const { code = '' } = error;
    // The host was there, and did not take what it was shown: nothing that was sent has reached anybody.
    const isLateRefusal = this.#connected && !this.#heard && refusesClient(code);
    if (this.#connected && !isLateRefusal) return;
    this.#connected = false;
    this.#connectFailure = tlsFailureOf(tls, this.#endpoint.name, error);
  }

  #pauseUnless(flowing: boolean): boolean {
    if (flowing) return true;
    this.#paused = true;
    this.socket.pause();
    return false;
  }

  #consume(receiver: ResponseReceiver, input: Buffer, bytes: number): void {
    let buffer = input;
    let end = bytes;
    let position = 0;
    while (position < end || this.#mode === Mode.Head) {
      if (this.#mode === Mode.Head) {
        if (this.#pendingHead) {
          buffer = Buffer.concat([this.#pendingHead, buffer.subarray(position, end)]);
          end = buffer.length;
          position = 0;
          this.#pendingHead = null;
        }
        const next = this.#consumeHead(receiver, buffer, position, end);
        if (next < 0) return;
        position = next;
        continue;
      }
      position = this.#consumeBody(receiver, buffer, position, end);
      if (position < 0) return;
    }
  }

  /** Position after the head; -1: more is needed, or this response is over. */
  #consumeHead(receiver: ResponseReceiver, buffer: Buffer, start: number, end: number): number {
    if (start >= end) return -1;
    const headEnd = buffer.indexOf(HEAD_END, start);
    if (headEnd < 0 || headEnd + 4 > end) {
      if (end - start > MAX_HEAD_BYTES) {
        receiver.onInvalidResponse();
        return -1;
      }
      this.#pendingHead = Buffer.from(buffer.subarray(start, end));
      return -1;
    }
    const head = this.#head;
    if (headEnd - start > MAX_HEAD_BYTES || parseResponseHead(buffer.latin1Slice(start, headEnd), head) !== 0) {
      receiver.onInvalidResponse();
      return -1;
    }
    if (head.status < 200 && head.status !== 101) {
      receiver.onInformational(head);
      return this.receiver === receiver ? headEnd + 4 : -1;
    }
    this.#beginBody(head);
    if (!receiver.onResponseHead(head) || this.receiver !== receiver) return -1;
    if (this.#mode === Mode.Tunnel) {
      if (headEnd + 4 < end) receiver.onTunnelData(buffer, headEnd + 4, end);
      return -1;
    }
    if (this.#mode === Mode.Idle) {
      this.#finish(receiver, '', headEnd + 4, end);
      return -1;
    }
    return headEnd + 4;
  }

  #beginBody(head: ResponseHead): void {
    this.keepMs = head.keepAlive ? keepMs(head.keepAliveTimeoutMs) : 0;
    this.#remaining = 0;
    if (this.#headRequest || head.status === 204 || head.status === 304 || head.status === 101) {
      this.#mode = Mode.Idle;
    } else if (head.chunked) {
      this.#mode = Mode.Chunked;
      this.#decoder ??= new ChunkedDecoder();
      this.#decoder.reset();
    } else if (head.contentLength >= 0) {
      this.#mode = head.contentLength === 0 ? Mode.Idle : Mode.Length;
      this.#remaining = head.contentLength;
    } else {
      this.#mode = Mode.UntilClose;
      this.keepMs = 0;
    }
  }

  #consumeBody(receiver: ResponseReceiver, buffer: Buffer, start: number, end: number): number {
    if (this.#mode === Mode.Length) {
      const take = Math.min(this.#remaining, end - start);
      receiver.onResponseData(buffer, start, start + take);
      if (this.receiver !== receiver) return -1;
      this.#remaining -= take;
      if (this.#remaining > 0) return start + take;
      this.#finish(receiver, '', start + take, end);
      return -1;
    }
    if (this.#mode === Mode.UntilClose) {
      receiver.onResponseData(buffer, start, end);
      return this.receiver === receiver ? end : -1;
    }
    return this.#consumeChunks(receiver, buffer, start, end);
  }

  #consumeChunks(receiver: ResponseReceiver, buffer: Buffer, start: number, end: number): number {
    const decoder = this.#decoder;
    if (!decoder) return -1;
    decoder.input(buffer, start, end);
    for (;;) {
      const event = decoder.next();
      if (event === ChunkedEvent.Data) {
        receiver.onResponseData(buffer, decoder.dataStart, decoder.dataEnd);
        if (this.receiver !== receiver) return -1;
        continue;
      }
      if (event === ChunkedEvent.NeedMore) return end;
      if (event === ChunkedEvent.Error) receiver.onInvalidResponse();
      else this.#finish(receiver, decoder.trailers, decoder.position, end);
      return -1;
    }
  }

  /** The response is complete. Bytes behind it belong to nothing that was asked: the connection is not used again. */
  #finish(receiver: ResponseReceiver, trailers: string, position: number, end: number): void {
    this.#mode = Mode.Idle;
    if (position < end) this.keepMs = 0;
    receiver.onResponseEnd(trailers);
  }

  #onEnd(): void {
    const receiver = this.receiver;
    if (!this.socket.endedWhole) {
      this.destroy();
      this.#onClose();
      return;
    }
    if (receiver && this.#mode === Mode.Tunnel) {
      this.#tunnelEnded = true;
      receiver.onTunnelEnd();
      return;
    }
    if (receiver && this.#mode === Mode.UntilClose) {
      this.#mode = Mode.Idle;
      receiver.onResponseEnd('');
    }
    this.destroy();
    this.#onClose();
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    const receiver = this.receiver;
    this.receiver = null;
    if (receiver === null) this.#endpoint.forgetIdle(this);
    else if (this.#mode === Mode.Tunnel) receiver.onTunnelClosed(this.#tunnelEnded);
    else receiver.onUpstreamClosed(this.#connected ? null : this.#connectFailure, false);
  }
}

export function connectFailureOf(code: string | undefined): ConnectFailure {
  if (code === 'ETIMEDOUT') return 'timeout';
  return code === 'ECONNREFUSED' || code === 'ECONNRESET' ? 'refused' : 'unreachable';
}

/** Whether it was TCP that failed, or what is above it, which is told to who keeps the state of TLS. */
export function tlsFailureOf(tls: TlsOrigination, endpoint: string, error: NodeJS.ErrnoException): ConnectFailure {
  const { code = '', syscall } = error;
  if (syscall === 'connect') return connectFailureOf(code);
  const failure = failureOf(code);
  tls.handshakeFailed(failure, endpoint, error);
  return failure;
}

function keepMs(announcedMs: number): number {
  if (announcedMs < 0) return POOL_IDLE_MS;
  return Math.min(KEEP_ALIVE_LIMIT_MS, Math.max(0, announcedMs - KEEP_ALIVE_MARGIN_MS));
}
