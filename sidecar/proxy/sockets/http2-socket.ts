// The socket of a connection of HTTP/2: what came goes into the connection, what that has to say is written once in each turn.
import type { Socket } from 'node:net';
import { Http2Connection } from '../../http2/connection.ts';
import type { ConnectionOwner } from '../../http2/connection-owner.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import type { Output } from '../../http2/frame-writer.ts';
import { Outbox } from './outbox.ts';
import { readShared } from './read-buffer.ts';
import { beginTurn, endTurn, type Writer, writeAtEndOfTurn } from './write-turn.ts';

/**
 * A peer that does not take what was written is not read either, from here on: answers without content have no window, and it could ask for as many
 * as it likes.
 */
const MAX_UNREAD_BYTES = 1_048_576;

export class Http2Socket implements Output, Writer {
  readonly connection: Http2Connection;
  readonly #socket: Socket;
  readonly #out: Outbox;
  #toWrite = false;
  #paused = false;

  /** Connected. `isServer`: the peer opens the streams. */
  constructor(socket: Socket, isServer: boolean, streamWindow: number, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#out = new Outbox(socket);
    this.connection = new Http2Connection(isServer, streamWindow, this, owner);
    readShared(socket, (buffer, bytes) => this.receive(buffer, bytes));
    socket.on('data', (chunk: Buffer) => this.receive(chunk, chunk.length));
    socket.on('drain', () => this.#drained());
  }

  /** The bytes are gone after this call. */
  receive(buffer: Buffer, bytes: number): void {
    beginTurn();
    try {
      this.connection.receive(buffer, 0, bytes);
    } finally {
      endTurn();
    }
  }

  text(text: string): void {
    this.#out.text(text);
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    this.#out.bytes(buffer, start, end);
  }

  get blocked(): boolean {
    return this.#out.blocked;
  }

  /** Of the connection: there is something to write. */
  wrote(): void {
    if (this.#toWrite) return;
    this.#toWrite = true;
    writeAtEndOfTurn(this);
  }

  writeOut(): void {
    this.#toWrite = false;
    this.connection.writer.finishWriting();
    this.#out.flush();
    if (!this.#paused && this.#socket.writableLength > MAX_UNREAD_BYTES) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  #drained(): void {
    if (this.#paused) {
      this.#paused = false;
      this.#socket.resume();
    }
    beginTurn();
    try {
      this.connection.drained();
    } finally {
      endTurn();
    }
  }

  /** Nothing is said any more, and what comes is not looked at; whoever holds the socket closes it. */
  finish(): void {
    this.connection.end(ErrorCode.NoError);
    this.writeOut();
    this.#socket.end();
    this.#socket.resume();
  }

  /** As `finish`, but it is closed as well, and what was said leaves only if the peer takes it now. */
  end(): void {
    this.connection.end(ErrorCode.Cancel);
    this.writeOut();
    if (this.#socket.writableNeedDrain) this.#socket.destroy();
    else this.#socket.destroySoon();
  }
}
