// A connection of libuv as a stream of bytes. Reads go into the buffer of all connections (read-buffer.ts), and what is written is either sent within
// the call or copied, so that the buffer is free again. It closes by itself once both directions have ended and all was handed over: the second end
// needs no shutdown then, for a close says the same.
import { getSystemErrorName } from 'node:util';
import { type ByteStream, type ByteStreamOwner, NOBODY } from './byte-stream.ts';
import type { NodeHandles, OperationRequest, TcpHandle } from './node-handles.ts';
import { readBufferFor } from './read-buffer.ts';
import { giveBackWriteBuffer, TEXT_LIMIT_BYTES, takeWriteBuffer } from './write-buffer.ts';

const END_OF_FILE = -4095;
/** Until there is a second write nothing waits for an acknowledgement, so that nothing is delayed. */
const DELAYS_FROM_WRITE = 1;

const readBuffer = readBufferFor(false);

/** A handle or a request of libuv, and whose it is: what it calls back finds its stream here. */
type Owned<Kind> = Kind & { stream?: HandleStream };
/** `bytes`: what it writes, from where it lies; libuv knows only where that is, and would not keep it from the collector. */
type WriteOperation = Owned<OperationRequest> & { bytes?: Buffer };

export class HandleStream implements ByteStream {
  owner: ByteStreamOwner = NOBODY;
  isClosed = false;
  hasEnded = false;
  connecting = false;
  readonly #handles: NodeHandles;
  readonly #handle: TcpHandle;
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

  resume(): void {
    if (!this.isClosed && !this.hasEnded) this.#handle.readStart();
  }

  pause(): void {
    if (!this.isClosed) this.#handle.readStop();
  }

  pass(buffer: Buffer, bytes: number): boolean {
    if (this.isClosed) return false;
    if (this.#writes === DELAYS_FROM_WRITE) this.#handle.setNoDelay(true);
    this.#writes++;
    const request = this.#takeRequest();
    let error: number;
    let copy: Buffer | undefined;
    if (bytes <= TEXT_LIMIT_BYTES) {
      error = this.#handle.writeLatin1String(request, buffer.latin1Slice(0, bytes));
    } else {
      copy = takeWriteBuffer(bytes);
      buffer.copy(copy, 0, 0, bytes);
      error = this.#handle.writeBuffer(request, copy);
      if (error === 0 && !this.#handles.lastWriteGoesOn()) giveBackWriteBuffer(copy);
    }
    if (error !== 0) {
      this.#failLater(error);
      return false;
    }
    if (this.#handles.lastWriteGoesOn()) {
      this.#waitingWrites++;
      request.stream = this;
      if (copy) request.bytes = copy;
      spareRequest = null;
    }
    return this.#waitingWrites === 0;
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
    this.isClosed = true;
    this.#handle.close();
  }

  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.connecting || this.#handle.reset() !== 0) this.#handle.close();
  }

  probeAfter(delayMs: number): void {
    if (!this.isClosed) this.#handle.setKeepAlive(true, Math.trunc(delayMs / 1000));
  }

  /** Of libuv: there are bytes, the end, or an error. */
  read(): void {
    const bytes = this.#handles.bytesRead();
    if (this.isClosed || bytes === 0) return;
    if (bytes > 0) {
      this.owner.streamArrived(this, readBuffer, bytes);
    } else if (bytes === END_OF_FILE) {
      this.hasEnded = true;
      this.owner.streamEnded(this);
      this.closeInOrder();
    } else {
      this.#fail(bytes);
    }
  }

  /** Of libuv: the dial is over. */
  dialled(status: number): void {
    if (this.isClosed) return;
    this.connecting = false;
    if (status === 0) this.owner.streamConnected(this);
    else this.#fail(status);
  }

  /** Of libuv: a write that went on is over. */
  written(status: number): void {
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

function onRead(this: Owned<TcpHandle>): void {
  this.stream?.read();
}

function onConnect(this: Owned<OperationRequest>, status: number): void {
  this.stream?.dialled(status);
}

function onWritten(this: Owned<OperationRequest>, status: number): void {
  this.stream?.written(status);
}

function closeInOrder(stream: HandleStream): void {
  stream.closeInOrder();
}

function ignore(): void {}
