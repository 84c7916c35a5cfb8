// One side of a connection whose bytes are passed on as they are: what that needs of a socket, and no more.
//
// There are two. HandleStream (handle-stream.ts) is a handle of libuv and nothing around it, for connections of which nobody ever wants more.
// SocketStream (socket-stream.ts) is a socket of Node that something else has read from before, or for which handles are not to be had.

/** Told of one stream, or of both of a pair; of a stream that was destroyed or reset nothing any more. Nothing is told inside a call but by `resume`. */
export interface ByteStreamOwner {
  /** It was dialled, and is there. */
  streamConnected(stream: ByteStream): void;
  /** The first `bytes` of the buffer are gone after the call. */
  streamArrived(stream: ByteStream, buffer: Buffer, bytes: number): void;
  /** The peer sends nothing any more, in order. */
  streamEnded(stream: ByteStream): void;
  /** What `pass` could not hand over at once has been handed over. */
  streamDrained(stream: ByteStream): void;
  /** It is closed. `code`: of the error; null: both directions had ended, and all was handed over. */
  streamClosed(stream: ByteStream, code: string | null): void;
}

export interface ByteStream {
  /** Whoever is told from now on. Until there is somebody, nothing is read. */
  owner: ByteStreamOwner;
  readonly connecting: boolean;
  readonly isClosed: boolean;
  /** The peer's end was told. */
  readonly hasEnded: boolean;
  /** All that arrives is passed to that one from now on. */
  readFor(to: ByteStream): void;
  /** Reads, from now on. */
  resume(): void;
  /** What is not read waits in the kernel, and slows the peer down. */
  pause(): void;
  /**
   * Sends the first `bytes` of a buffer, which is the caller's again afterwards, unless it is one of bulk-buffers.ts, which knows. False: the peer reads
   * slower than that; wait for `drained`.
   */
  pass(buffer: Buffer, bytes: number): boolean;
  /** Nothing more is sent. Where the peer has ended as well, this closes it. */
  end(): void;
  /** What was not handed over is lost. */
  destroy(): void;
  /** As `destroy`, and the peer learns of it. */
  reset(): void;
  /** Asks from then on whether the peer is still there, when nothing was heard of it for so long. */
  probeAfter(delayMs: number): void;
}

/** Of a stream that nobody has taken yet. */
export const NOBODY: ByteStreamOwner = {
  streamConnected() {},
  streamArrived() {},
  streamEnded() {},
  streamDrained() {},
  streamClosed() {},
};
