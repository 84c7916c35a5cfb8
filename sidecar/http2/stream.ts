// One stream of a connection (RFC 9113, 5): what of it has come and is not taken, what of it is to be sent and may not leave yet.
//
// Each direction is held back by itself. Content that comes while its reader pauses is kept, at most as much as the window that it was given;
// content that the peer has no window for, or its connection no room, waits here. Neither stops another stream.
import { ByteQueue } from './byte-queue.ts';
import type { Http2Connection } from './connection.ts';
import { ErrorCode } from './error-code.ts';
import type { FrameWriter } from './frame-writer.ts';

/** Whose a stream is. Nothing is told any more once `StreamOwner` is `NOBODY`, nor after `resetCame`. */
export interface StreamOwner {
  /** A whole field section, names and values in turn: of a server's stream the trailers, of a client's a 1xx, the head or the trailers. */
  fieldsCame(fields: readonly string[], ended: boolean): void;
  /** Content, never nothing; the buffer is read into again after the call. */
  dataCame(buffer: Buffer, start: number, end: number): void;
  /** The end of the content. Not told where `fieldsCame` has said so. */
  endCame(): void;
  /** What waited to be sent has left. */
  drained(): void;
  /** The stream is over, and not in order: the peer has ended it for this reason (an `ErrorCode`), or its connection is gone. */
  resetCame(code: number): void;
}

export const NOBODY: StreamOwner = {
  fieldsCame() {},
  dataCame() {},
  endCame() {},
  drained() {},
  resetCame() {},
};

/** Most streams never keep anything. Nothing is added to it. */
const NOTHING = new ByteQueue();

/** As much may wait to be sent before whoever writes it is to stop. */
const MAX_WAITING_BYTES = 65_536;

export class Http2Stream {
  readonly id: number;
  owner: StreamOwner = NOBODY;
  /** Both sides have ended, or one has reset it: nothing more comes or leaves. */
  isOver = false;
  /** The peer sends nothing more, in order. */
  peerEnded = false;
  /** All was given to it that there is to be sent. */
  #ended = false;
  /** What the peer takes, and what it may send. */
  sendWindow: number;
  receiveWindow: number;
  readonly #connection: Http2Connection;
  readonly #writer: FrameWriter;
  readonly #fullWindow: number;
  /** What is still to come is not wanted, once all that waits has left. */
  #refusesRest = false;
  /** Taken, and not yet given back to the window. */
  #taken = 0;
  #paused = false;
  /** Came while its reader paused. */
  #kept = NOTHING;
  #keptTrailers: readonly string[] | null = null;
  #keptEnd = false;
  /** To be sent. */
  #waiting = NOTHING;
  #waitingTrailers: readonly string[] | null = null;
  #toldBlocked = false;
  /** To the peer and the connection it is over; its reader has not taken all of it. */
  #endedForBoth = false;

  /** `receiveWindow`: what the peer was told that it may send at first. */
  constructor(connection: Http2Connection, id: number, sendWindow: number, receiveWindow: number) {
    this.#connection = connection;
    this.#writer = connection.writer;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.#fullWindow = receiveWindow;
  }

  // ---- what is sent ------------------------------------------------------------------------------------------------------------------

  sendFields(fields: readonly string[], end: boolean): void {
    if (this.isOver || this.#ended) return;
    this.#ended = end;
    this.#writer.sendFields(this, fields, end);
    if (end) this.#closeIfBothEnded();
  }

  /** The bytes are gone after the call. */
  sendData(buffer: Buffer, start: number, end: number): void {
    if (this.isOver || this.#ended) return;
    const from = this.isWaiting ? start : this.#writer.sendContent(this, buffer, start, end);
    if (from === end) return;
    if (this.#waiting === NOTHING) this.#waiting = new ByteQueue();
    this.#waiting.add(buffer, from, end);
    this.#writer.wait(this, end - from);
  }

  /** `trailers` null: none. */
  sendEnd(trailers: readonly string[] | null): void {
    if (this.isOver || this.#ended) return;
    this.#ended = true;
    this.#waitingTrailers = trailers;
    if (!this.isWaiting) this.#sendEnd();
  }

  #sendEnd(): void {
    if (this.#waitingTrailers === null) this.#writer.sendEndOfContent(this);
    else this.#writer.sendFields(this, this.#waitingTrailers, true);
    this.#closeIfBothEnded();
  }

  /** Whoever writes is to stop until `drained`. */
  get blocked(): boolean {
    this.#toldBlocked ||= this.#waiting.bytes >= MAX_WAITING_BYTES;
    return this.#toldBlocked;
  }

  /** What was given to it has not all left. */
  get isWaiting(): boolean {
    return this.#waiting.bytes > 0;
  }

  /** Sends of what waits as much as one frame may hold. */
  sendWaiting(): void {
    const first = this.#waiting.first();
    if (first === null) return;
    const sent = this.#writer.sendContent(this, first, 0, first.length, 1);
    this.#waiting.drop(sent);
    this.#writer.waitsNoMore(sent);
    if (!this.isWaiting && this.#ended) this.#sendEnd();
  }

  /** Of the connection, once what waited has left. */
  tellDrained(): void {
    if (!this.#toldBlocked || this.isWaiting || this.isOver) return;
    this.#toldBlocked = false;
    this.owner.drained();
  }

  // ---- what comes --------------------------------------------------------------------------------------------------------------------

  pause(): void {
    this.#paused = true;
  }

  /** Hands on what was kept, until its reader pauses again. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    while (!this.#paused && !this.isOver) {
      const first = this.#kept.first();
      if (first === null) break;
      this.#kept.drop(first.length);
      this.#connection.kept(-first.length);
      this.#take(first, 0, first.length);
    }
    if (this.#paused || this.#kept.bytes > 0 || !this.#keptEnd) return;
    this.#keptEnd = false;
    const trailers = this.#keptTrailers;
    this.#keptTrailers = null;
    if (trailers) this.owner.fieldsCame(trailers, true);
    else this.owner.endCame();
    this.#closeIfBothEnded();
  }

  /** Of the connection: content came that its windows allow. */
  receive(buffer: Buffer, start: number, end: number): void {
    if (!this.#paused) {
      this.#take(buffer, start, end);
      return;
    }
    if (this.#kept === NOTHING) this.#kept = new ByteQueue();
    this.#kept.add(buffer, start, end);
    this.#connection.kept(end - start);
  }

  #take(buffer: Buffer, start: number, end: number): void {
    this.owner.dataCame(buffer, start, end);
    this.giveBack(end - start);
  }

  /** Of the connection: the peer has ended it without an error. What came of it is all there is, and nothing more of ours is wanted. */
  receiveStop(): void {
    this.#ended = true;
    this.#dropWaiting();
    if (this.peerEnded) this.#closeIfBothEnded();
    else this.receiveEnd();
  }

  /** Of its reader, while it is given content: it cannot be taken now, and comes again after `resume`. */
  putBack(buffer: Buffer, start: number, end: number): void {
    if (this.isOver) return;
    this.#paused = true;
    // Given back by whoever gives it, though it is not taken.
    this.#taken -= end - start;
    if (this.#kept === NOTHING) this.#kept = new ByteQueue();
    this.#kept.addFirst(buffer, start, end);
    this.#connection.kept(end - start);
  }

  /** Of the connection: so many bytes of its window are used up and needed no longer. */
  giveBack(bytes: number): void {
    this.#taken += bytes;
    if (this.isOver || this.peerEnded || this.#taken < this.#fullWindow / 2) return;
    this.receiveWindow += this.#taken;
    this.#connection.widen(this.id, this.#taken);
    this.#taken = 0;
  }

  /** Of the connection: a field section, which ends the stream or not. */
  receiveFields(fields: readonly string[], ended: boolean): void {
    if (ended) this.peerEnded = true;
    if (ended && (this.#paused || this.#kept.bytes > 0)) {
      this.#keptEnd = true;
      this.#keptTrailers = fields;
    } else {
      this.owner.fieldsCame(fields, ended);
    }
    if (ended) this.#closeIfBothEnded();
  }

  /** Of the connection: the peer sends nothing more. */
  receiveEnd(): void {
    this.peerEnded = true;
    if (this.#paused || this.#kept.bytes > 0) this.#keptEnd = true;
    else this.owner.endCame();
    this.#closeIfBothEnded();
  }

  // ---- its end -----------------------------------------------------------------------------------------------------------------------

  /** Ends it for a reason (an `ErrorCode`), which the peer is told. Its owner is told nothing. */
  reset(code: number): void {
    if (this.isOver) return;
    if (!this.#endedForBoth) this.#connection.sendReset(this, code);
    this.end();
  }

  /** What came of it is not what may come: as `reset`, and counted. */
  refuse(code: number): void {
    if (!this.isOver) this.#connection.refuse(this, code);
  }

  /** An answer is whole before its request is: the rest of that is not wanted (RFC 9113, 8.1). What waits still leaves. */
  refuseRest(): void {
    this.#refusesRest = true;
    this.#closeIfBothEnded();
  }

  #closeIfBothEnded(): void {
    if (this.isOver || !this.#ended || this.isWaiting) return;
    if (!this.peerEnded) {
      if (this.#refusesRest) this.reset(ErrorCode.NoError);
    } else if (this.#keptEnd || this.#kept.bytes > 0) {
      // What came and is not taken yet is its reader's, whatever becomes of the connection.
      this.#endedForBoth = true;
      this.#connection.forget(this);
    } else {
      this.end();
    }
  }

  /** Of the connection, and of its own: nothing more comes or leaves. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.#kept.bytes > 0) this.#connection.kept(-this.#kept.bytes);
    this.#kept.clear();
    this.#keptEnd = false;
    this.#dropWaiting();
    this.#connection.forget(this);
  }

  #dropWaiting(): void {
    this.#writer.waitsNoMore(this.#waiting.bytes);
    this.#writer.forget(this);
    this.#waiting.clear();
  }
}
