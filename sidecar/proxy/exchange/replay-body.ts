// What was sent of a request body, kept so that another attempt can send it again: up to 64 KiB for a request, and a cap for all
// requests together. Beyond either the body streams on and the request is not repeated any more.

export const REPLAY_LIMIT_BYTES = 65_536;
export const REPLAY_POOL_BYTES = 16 * 1024 * 1024;
/** What keeping a part costs beside its bytes: a body that comes in single bytes is not to cost a hundred times what is counted. */
const PART_BYTES = 128;
/**
 * A body that comes at once and is no larger is kept in a place that the next one is kept in again. Memory of its own outlives its request until the old
 * generation is collected, which is seldom: calls of gRPC, of which each is kept, would hold tens of MB that nobody uses.
 */
const PLACE_BYTES = 1_024;

/** The cap for all requests of a process. */
export class ReplayPool {
  readonly #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  take(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}

export class ReplayBody {
  readonly #pool: ReplayPool;
  /** Good until `clear`. */
  readonly parts: Buffer[] = [];
  trailers = '';
  /** All that was sent so far is here. */
  complete = true;
  #keeping = false;
  #place: Buffer | null = null;
  #bytes = 0;
  /** Of the request, kept or not. */
  #seen = 0;
  /** Out of the pool. */
  #taken = 0;

  constructor(pool: ReplayPool) {
    this.#pool = pool;
  }

  get used(): boolean {
    return this.#keeping;
  }

  /** What was sent so far is so little that it could be sent again, where a policy would keep it. */
  get fits(): boolean {
    return this.#seen <= REPLAY_LIMIT_BYTES;
  }

  /** `keep`: the request has a body and may run twice. */
  begin(keep: boolean): void {
    this.#keeping = keep;
    this.complete = true;
    this.trailers = '';
    this.#seen = 0;
  }

  add(buffer: Buffer, start: number, end: number): void {
    const bytes = end - start;
    this.#seen += bytes;
    if (!this.complete) return;
    const cost = bytes + PART_BYTES;
    if (!this.#keeping || this.#bytes + bytes > REPLAY_LIMIT_BYTES || !this.#pool.take(cost)) {
      this.clear();
      this.complete = false;
      return;
    }
    this.#bytes += bytes;
    this.#taken += cost;
    this.parts.push(
      this.parts.length === 0 && bytes <= PLACE_BYTES ? this.#placed(buffer, start, end) : copied(buffer, start, end),
    );
  }

  #placed(buffer: Buffer, start: number, end: number): Buffer {
    this.#place ??= Buffer.allocUnsafe(PLACE_BYTES);
    return this.#place.subarray(0, buffer.copy(this.#place, 0, start, end));
  }

  end(trailers: string): void {
    this.trailers = trailers;
  }

  clear(): void {
    if (this.#taken > 0) this.#pool.give(this.#taken);
    this.#bytes = 0;
    this.#taken = 0;
    this.parts.length = 0;
    this.#keeping = false;
  }
}

function copied(buffer: Buffer, start: number, end: number): Buffer {
  return Buffer.from(buffer.subarray(start, end));
}
