// One open stream. It is pulled, never pushed: while the reader takes what it is given, the next frame is whatever brings it from what it
// was last sent to what is true now. A slow reader therefore skips versions; it holds one frame in its socket and nothing anywhere else.

/** The writing half of a response. `write` returns false when the reader is behind; `onDrain` says when it has caught up. */
export interface Sink {
  write(frame: Buffer): boolean;
  /** Writes a last frame and closes. */
  end(frame: Buffer): void;
  /** Cuts the connection. */
  destroy(): void;
}

/** What a stream has to say. `next` returns the next frame and counts it as sent; undefined: nothing is due. */
export interface Source {
  next(): Buffer | undefined;
}

const HEARTBEAT = Buffer.from('{"kind":"heartbeat"}\n');

export class Stream {
  readonly #sink: Sink;
  readonly #source: Source;
  readonly #nowMs: () => number;
  readonly #openedAtMs: number;
  #blockedSinceMs: number | undefined;
  #closed = false;

  constructor(sink: Sink, source: Source, nowMs: () => number) {
    this.#sink = sink;
    this.#source = source;
    this.#nowMs = nowMs;
    this.#openedAtMs = nowMs();
  }

  wasOpenAt(ms: number): boolean {
    return this.#openedAtMs <= ms;
  }

  /** Sends what is due until the reader is behind. To be called whenever something may be due. */
  pump(): void {
    while (!this.#closed && this.#blockedSinceMs === undefined) {
      const frame = this.#source.next();
      if (!frame) return;
      this.#write(frame);
    }
  }

  /** The reader caught up. */
  drained(): void {
    this.#blockedSinceMs = undefined;
    this.pump();
  }

  /** Says that we are alive; to a reader that is behind, nothing is added. */
  heartbeat(): void {
    if (!this.#closed && this.#blockedSinceMs === undefined) this.#write(HEARTBEAT);
  }

  /** The reader is behind. */
  get isBlocked(): boolean {
    return this.#blockedSinceMs !== undefined;
  }

  /** How long the reader has taken nothing, in milliseconds; 0 when it is not behind. */
  blockedForMs(): number {
    return this.#blockedSinceMs === undefined ? 0 : this.#nowMs() - this.#blockedSinceMs;
  }

  end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sink.end(Buffer.from(`${JSON.stringify({ kind: 'end', reason })}\n`));
  }

  cut(): void {
    this.#closed = true;
    this.#sink.destroy();
  }

  #write(frame: Buffer): void {
    if (!this.#sink.write(frame)) this.#blockedSinceMs = this.#nowMs();
  }
}
