// A connection of libuv as a stream of bytes. Reads go into the buffer of all connections (read-buffer.ts), and what is written is either sent within
// the call or copied, so that the buffer is free again. While more comes than fits there, it has a buffer of its own (bulk-buffers.ts). It closes by
// itself once both directions have ended and all was handed over: the second end needs no shutdown then, for a close says the same.
import { getSystemErrorName } from 'node:util';
import {
  type BulkReader,
  giveBackBulkBuffer,
  isBulkBuffer,
  isBulkBufferLent,
  lendBulkBuffer,
  returnBulkBuffer,
  takeBulkBuffer,
} from './bulk-buffers.ts';
import { type ByteStream, type ByteStreamOwner, NOBODY } from './byte-stream.ts';
import type { NodeHandles, OperationRequest, TcpHandle } from './node-handles.ts';
import { readBufferFor } from './read-buffer.ts';
import { giveBackWriteBuffer, TEXT_LIMIT_BYTES, takeWriteBuffer } from './write-buffer.ts';

const END_OF_FILE = -4095;
/** Until there is a second write nothing waits for an acknowledgement, so that nothing is delayed. */
const DELAYS_FROM_WRITE = 1;

/** In a row: libuv reads one connection up to 32 times before it turns to others, which is to stay a matter of few milliseconds. */
const MAX_BULK_READS = 4;

const readBuffer = readBufferFor(false);

/** A handle or a request of libuv, and whose it is: what it calls back finds its stream here. */
type Owned<Kind> = Kind & { stream?: HandleStream };
/** `bytes`: what it writes, from where it lies; libuv knows only where that is, and would not keep it from the collector. `bulk`: what that is part of. */
type WriteOperation = Owned<OperationRequest> & { bytes?: Buffer; bulk?: Buffer };

export class HandleStream implements ByteStream, BulkReader {
  owner: ByteStreamOwner = NOBODY;
  isClosed = false;
  hasEnded = false;
  connecting = false;
  readonly #handles: NodeHandles;
  readonly #handle: TcpHandle;
  #buffer = readBuffer;
  #readsBulk = false;
  /** Since a read left room. */
  #bulkReads = 0;
  #reading = false;
  /** What was written and has not been handed over. */
  #waitingWrites = 0;
  #writes = 0;
  #sentEnd = false;

  /** Connected already, or to be dialled. */
  constructor(handles: NodeHandles, handle: TcpHandle) {
    this.#handles = handles;
    this.#handle = handle;
    (handle as Owned<TcpHandle>).stream = this;
    handle.onread = onRead;
    handle.useUserBuffer(readBuffer);
  }

  /** `address`: of that family. The owner is told of the result later, whatever it is. */
  static dial(handles: NodeHandles, address: string, family: 4 | 6, port: number): HandleStream {
    const handle = handles.newTcp();
    const stream = new HandleStream(handles, handle);
    stream.connecting = true;
    const request: Owned<OperationRequest> = new handles.ConnectRequest();
    request.stream = stream;
    request.oncomplete = onConnect;
    const error = family === 4 ? handle.connect(request, address, port) : handle.connect6(request, address, port);
    if (error !== 0) stream.#failLater(error);
    return stream;
  }

  readFor(to: ByteStream): void {
    this.#readsBulk = to instanceof HandleStream;
  }

  resume(): void {
    if (this.#reading || this.isClosed || this.hasEnded) return;
    this.#reading = true;
    this.#handle.readStart();
  }

  pause(): void {
    if (!this.#reading || this.isClosed) return;
    this.#reading = false;
    this.#handle.readStop();
  }

  pass(buffer: Buffer, bytes: number): boolean {
    if (this.isClosed) return false;
    if (this.#writes === DELAYS_FROM_WRITE) this.#handle.setNoDelay(true);
    this.#writes++;
    const request = this.#takeRequest();
    const error =
      bytes <= TEXT_LIMIT_BYTES ? this.#writeText(request, buffer, bytes) : this.#write(request, buffer, bytes);
    if (error !== 0) {
      this.#failLater(error);
      return false;
    }
    return this.#waitingWrites === 0;
  }

  #writeText(request: WriteOperation, buffer: Buffer, bytes: number): number {
    const error = this.#handle.writeLatin1String(request, buffer.latin1Slice(0, bytes));
    if (error === 0 && this.#handles.lastWriteGoesOn()) this.#goesOn(request);
    return error;
  }

  #write(request: WriteOperation, buffer: Buffer, bytes: number): number {
    const isBulk = isBulkBuffer(buffer);
    const from = isBulk ? buffer.subarray(0, bytes) : takeWriteBuffer(bytes);
    if (!isBulk) buffer.copy(from, 0, 0, bytes);
    const error = this.#handle.writeBuffer(request, from);
    if (error !== 0) return error;
    if (!this.#handles.lastWriteGoesOn()) {
      if (!isBulk) giveBackWriteBuffer(from);
      return 0;
    }
    request.bytes = from;
    if (isBulk) {
      lendBulkBuffer(buffer);
      request.bulk = buffer;
    }
    this.#goesOn(request);
    return 0;
  }

  #goesOn(request: WriteOperation): void {
    this.#waitingWrites++;
    request.stream = this;
    spareRequest = null;
  }

  /** One that finished at once was never used. */
  #takeRequest(): WriteOperation {
    if (spareRequest) return spareRequest;
    const request: WriteOperation = new this.#handles.WriteRequest();
    request.oncomplete = onWritten;
    spareRequest = request;
    return request;
  }

  end(): void {
    if (this.isClosed || this.#sentEnd) return;
    this.#sentEnd = true;
    // Else it is sent behind the last of them: a handle that waits for its shutdown can not be reset.
    if (this.#waitingWrites > 0) return;
    if (this.hasEnded) process.nextTick(closeInOrder, this);
    else this.#shutDown();
  }

  #shutDown(): void {
    const request = new this.#handles.ShutdownRequest();
    request.oncomplete = ignore;
    // What fails here was closed by the peer, which the next read tells.
    this.#handle.shutdown(request);
  }

  destroy(): void {
    if (this.isClosed) return;
    this.#markClosed();
    this.#handle.close();
  }

  #markClosed(): void {
    this.isClosed = true;
    if (this.#buffer !== readBuffer) giveBackBulkBuffer(this.#buffer);
  }

  reset(): void {
    if (this.isClosed) return;
    this.#markClosed();
    if (this.connecting || this.#handle.reset() !== 0) this.#handle.close();
  }

  probeAfter(delayMs: number): void {
    if (!this.isClosed) this.#handle.setKeepAlive(true, Math.trunc(delayMs / 1000));
  }

  /** Of libuv: there are bytes, the end, or an error. What comes next is read into what is returned, if anything is. */
  read(): Buffer | undefined {
    const bytes = this.#handles.bytesRead();
    if (this.isClosed || bytes === 0) return undefined;
    if (bytes > 0) {
      this.owner.streamArrived(this, this.#buffer, bytes);
      return this.#nextBuffer(bytes);
    }
    if (bytes !== END_OF_FILE) {
      this.#fail(bytes);
      return undefined;
    }
    this.hasEnded = true;
    this.owner.streamEnded(this);
    this.closeInOrder();
    return this.#nextBuffer(0);
  }

  #nextBuffer(bytes: number): Buffer | undefined {
    if (this.isClosed) return undefined;
    const fills = bytes === this.#buffer.length;
    if (!fills) this.#bulkReads = 0;
    const goesOn = fills && this.#reading && this.#bulkReads < MAX_BULK_READS;
    if (this.#buffer === readBuffer) {
      const bulk = goesOn && this.#readsBulk ? takeBulkBuffer(this) : null;
      if (bulk === null) return undefined;
      this.#buffer = bulk;
      return bulk;
    }
    this.#bulkReads++;
    if (goesOn && !isBulkBufferLent(this.#buffer)) return undefined;
    giveBackBulkBuffer(this.#buffer);
    this.#buffer = readBuffer;
    return readBuffer;
  }

  loseBulkBuffer(): void {
    this.#buffer = readBuffer;
    this.#handle.useUserBuffer(readBuffer);
  }

  /** Of libuv: the dial is over. */
  dialled(status: number): void {
    if (this.isClosed) return;
    this.connecting = false;
    if (status === 0) this.owner.streamConnected(this);
    else this.#fail(status);
  }

  /** Of libuv: a write that went on is over. `bulk`: what it wrote from. */
  written(status: number, bulk: Buffer | undefined): void {
    if (bulk) returnBulkBuffer(bulk);
    this.#waitingWrites--;
    if (this.isClosed) return;
    if (status !== 0) {
      this.#fail(status);
    } else if (this.#waitingWrites === 0) {
      if (this.#sentEnd && !this.hasEnded) this.#shutDown();
      this.closeInOrder();
      if (!this.isClosed) this.owner.streamDrained(this);
    }
  }

  /** If there is nothing to wait for. */
  closeInOrder(): void {
    if (this.isClosed || !this.hasEnded || !this.#sentEnd || this.#waitingWrites > 0) return;
    this.destroy();
    this.owner.streamClosed(this, null);
  }

  #failLater(error: number): void {
    process.nextTick(() => this.#fail(error));
  }

  #fail(error: number): void {
    if (this.isClosed) return;
    this.destroy();
    this.owner.streamClosed(this, getSystemErrorName(error));
  }
}

let spareRequest: WriteOperation | null = null;

function onRead(this: Owned<TcpHandle>): Buffer | undefined {
  return this.stream?.read();
}

function onConnect(this: Owned<OperationRequest>, status: number): void {
  this.stream?.dialled(status);
}

function onWritten(this: WriteOperation, status: number): void {
  this.stream?.written(status, this.bulk);
}

function closeInOrder(stream: HandleStream): void {
  stream.closeInOrder();
}

function ignore(): void {}
