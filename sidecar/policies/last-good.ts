// The last good answers of a dependency, kept to be given again while it fails.
//
// Semantics: an answer is found by what selects it (target, and the request fields it depends on: RFC 9111, 4.1), newest first; a newer
// answer takes the place of every older one that the same request would find. It is as old as it was when it came plus the time since; past
// `maxAgeMs` it is gone. Bytes are bounded for each store and for all stores of the process together; what was not used for longest goes
// first. An answer that is too large changes nothing.
import type { LastGoodPlan } from '../../plan/policies/fallback.ts';
import { fieldValue } from '../http1/field-value.ts';
import { ageOnArrivalMs, keptFields, selectingFields } from './keepable.ts';

/** A bound that several stores share. */
export interface BytePool {
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** What keeping an answer costs beside its text and its body. */
export const ANSWER_OVERHEAD_BYTES = 512;
/** Answers to one target that differ by the fields they depend on. */
export const MAX_VARIANTS = 32;
/** What a client may choose freely must not fill a store with keys. */
const MAX_KEY_LENGTH = 8_192;

export interface GoodAnswer {
  /** The end-to-end field lines, each with CR LF before it; no framing. */
  readonly fields: string;
  readonly body: Buffer;
  /** When it was, or would have been, of age zero; monotonic milliseconds. */
  readonly bornMs: number;
}

/** Of an answer, in bytes. */
export interface AnswerSizes {
  readonly fields: number;
  readonly body: number;
}

interface Kept extends GoodAnswer {
  readonly target: string;
  readonly names: readonly string[];
  readonly values: readonly (string | null)[];
  readonly cost: number;
  older: Kept | null;
  newer: Kept | null;
}

export class LastGood {
  #spec: LastGoodPlan;
  readonly #pool: BytePool;
  readonly #byTarget = new Map<string, Kept[]>();
  #leastUsed: Kept | null = null;
  #mostUsed: Kept | null = null;
  #bytes = 0;
  #answers = 0;
  #closed = false;

  constructor(spec: LastGoodPlan, pool: BytePool) {
    this.#spec = spec;
    this.#pool = pool;
  }

  get spec(): LastGoodPlan {
    return this.#spec;
  }

  /** What all answers cost. */
  get bytes(): number {
    return this.#bytes;
  }

  get answers(): number {
    return this.#answers;
  }

  /** Targets that there are answers to: what is kept of a target goes with its last answer. */
  get targets(): number {
    return this.#byTarget.size;
  }

  /** Changed numbers hold from now on. Other rules of whose an answer is make what was kept by the old ones unusable. */
  update(spec: LastGoodPlan): void {
    const before = this.#spec;
    this.#spec = spec;
    const sameKey = before.keyHeaders.join() === spec.keyHeaders.join();
    if (before.audience !== spec.audience || !sameKey) this.clear();
    while (this.#bytes > spec.maxBytes && this.#leastUsed) this.#remove(this.#leastUsed);
  }

  /** The answer that would have been given to this request, or null. Counts as a use. */
  find(target: string, requestFields: string, nowMs: number): GoodAnswer | null {
    const variants = this.#byTarget.get(target);
    if (!variants) return null;
    for (let index = variants.length - 1; index >= 0; index -= 1) {
      const kept = variants[index];
      if (!kept || !selects(kept, requestFields)) continue;
      if (nowMs - kept.bornMs > this.#spec.maxAgeMs) {
        this.#remove(kept);
        return null;
      }
      this.#unlink(kept);
      this.#linkMostUsed(kept);
      return kept;
    }
    return null;
  }

  /**
   * Keeps an answer whose fields depend on `names` of the request; false: it has no room. `sizes`: what it counts for; other than its own
   * where only that it is there is kept of it.
   */
  keep(
    target: string,
    requestFields: string,
    names: readonly string[],
    answer: GoodAnswer,
    sizes: AnswerSizes = { fields: answer.fields.length, body: answer.body.length },
  ): boolean {
    const values = names.map((name) => fieldValue(requestFields, name));
    const keyLength = target.length + values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    const cost = ANSWER_OVERHEAD_BYTES + keyLength + sizes.fields + sizes.body;
    const { maxBytes, maxAnswerBytes } = this.#spec;
    if (this.#closed) return false;
    if (keyLength > MAX_KEY_LENGTH || sizes.body > maxAnswerBytes || cost > maxBytes) return false;
    this.#forgetFor(target, requestFields);
    if (!this.#makeRoom(cost)) return false;
    this.#add({
      target: ownCopy(target),
      names,
      values: values.map((value) => value && ownCopy(value)),
      fields: ownCopy(answer.fields),
      body: answer.body,
      bornMs: answer.bornMs,
      cost,
      older: null,
      newer: null,
    });
    return true;
  }

  /** Lets go of what is too old to be given. */
  sweep(nowMs: number): void {
    for (let kept = this.#leastUsed; kept; ) {
      const { newer } = kept;
      if (nowMs - kept.bornMs > this.#spec.maxAgeMs) this.#remove(kept);
      kept = newer;
    }
  }

  clear(): void {
    while (this.#leastUsed) this.#remove(this.#leastUsed);
  }

  /** Nobody asks any more: an answer that is still on its way is not kept. */
  close(): void {
    this.#closed = true;
    this.clear();
  }

  /** What the same request would have found is no longer the last. */
  #forgetFor(target: string, requestFields: string): void {
    for (const kept of this.#byTarget.get(target)?.slice() ?? []) {
      if (selects(kept, requestFields)) this.#remove(kept);
    }
  }

  #add(kept: Kept): void {
    this.#bytes += kept.cost;
    this.#answers += 1;
    this.#linkMostUsed(kept);
    const variants = this.#byTarget.get(kept.target);
    if (!variants) {
      this.#byTarget.set(kept.target, [kept]);
      return;
    }
    const [oldest] = variants;
    variants.push(kept);
    if (variants.length > MAX_VARIANTS && oldest) this.#remove(oldest);
  }

  /** Takes `cost` out of the pool. */
  #makeRoom(cost: number): boolean {
    while (this.#bytes + cost > this.#spec.maxBytes && this.#leastUsed) this.#remove(this.#leastUsed);
    if (this.#pool.take(cost)) return true;
    // The answers of other stores are not ours to throw away, and our own not for nothing.
    if (this.#bytes < cost) return false;
    while (this.#leastUsed) {
      this.#remove(this.#leastUsed);
      if (this.#pool.take(cost)) return true;
    }
    return false;
  }

  #remove(kept: Kept): void {
    this.#unlink(kept);
    this.#bytes -= kept.cost;
    this.#answers -= 1;
    this.#pool.give(kept.cost);
    const variants = this.#byTarget.get(kept.target);
    if (!variants) return;
    variants.splice(variants.indexOf(kept), 1);
    if (variants.length === 0) this.#byTarget.delete(kept.target);
  }

  #linkMostUsed(kept: Kept): void {
    kept.older = this.#mostUsed;
    kept.newer = null;
    if (this.#mostUsed) this.#mostUsed.newer = kept;
    else this.#leastUsed = kept;
    this.#mostUsed = kept;
  }

  #unlink(kept: Kept): void {
    if (kept.older) kept.older.newer = kept.newer;
    else this.#leastUsed = kept.newer;
    if (kept.newer) kept.newer.older = kept.older;
    else this.#mostUsed = kept.older;
    kept.older = null;
    kept.newer = null;
  }
}

/** A text that was cut out of a head keeps the whole head in memory; its copy does not. */
function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').latin1Slice();
}

function selects(kept: Kept, requestFields: string): boolean {
  for (let index = 0; index < kept.names.length; index += 1) {
    if (fieldValue(requestFields, kept.names[index] ?? '') !== kept.values[index]) return false;
  }
  return true;
}

/** What is told of an answer as it passes by. */
export interface AnswerWatch {
  /** Bytes of its body. False: it wants no more, and is over. */
  add(buffer: Buffer, start: number, end: number): boolean;
  /** The answer is whole. */
  commit(): void;
  discard(): void;
}

const NO_BODY: Buffer = Buffer.alloc(0);

/** An answer as it passes by, until it is whole. What it holds counts against the pool from the first byte on. */
export class Recording implements AnswerWatch {
  readonly #store: LastGood;
  readonly #pool: BytePool;
  readonly #target: string;
  readonly #requestFields: string;
  readonly #names: readonly string[];
  readonly #fields: string;
  readonly #bornMs: number;
  /** One buffer, however many pieces the answer comes in: whoever sends it a byte at a time would else be held at a hundred times its size. */
  #body = NO_BODY;
  #bytes = 0;

  constructor(
    store: LastGood,
    pool: BytePool,
    target: string,
    requestFields: string,
    responseFields: string,
    nowMs: number,
  ) {
    this.#store = store;
    this.#pool = pool;
    this.#target = target;
    this.#requestFields = requestFields;
    this.#names = selectingFields(responseFields, store.spec.keyHeaders);
    this.#fields = keptFields(responseFields);
    this.#bornMs = nowMs - ageOnArrivalMs(responseFields);
  }

  /** False: it is too large, and the recording is over. */
  add(buffer: Buffer, start: number, end: number): boolean {
    const bytes = this.#bytes + end - start;
    if (!this.#hasRoomFor(bytes)) {
      this.discard();
      return false;
    }
    buffer.copy(this.#body, this.#bytes, start, end);
    this.#bytes = bytes;
    return true;
  }

  commit(): void {
    const body = this.#bytes === this.#body.length ? this.#body : exactly(this.#body, this.#bytes);
    this.discard();
    const answer = { fields: this.#fields, body, bornMs: this.#bornMs };
    this.#store.keep(this.#target, this.#requestFields, this.#names, answer);
  }

  discard(): void {
    this.#pool.give(this.#body.length);
    this.#body = NO_BODY;
    this.#bytes = 0;
  }

  /** Doubles what it has, so that an answer is copied once more and not once for each piece. */
  #hasRoomFor(bytes: number): boolean {
    const { maxAnswerBytes } = this.#store.spec;
    const { length } = this.#body;
    if (bytes > maxAnswerBytes) return false;
    if (bytes <= length) return true;
    const room = Math.min(Math.max(bytes, length * 2), maxAnswerBytes);
    if (!this.#pool.take(room - length)) return false;
    this.#body = exactly(this.#body, room);
    return true;
  }
}

/** A copy of so many bytes of its own memory, never a piece of the shared one that small buffers are cut from. */
function exactly(body: Buffer, bytes: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes);
  body.copy(copy, 0, 0, Math.min(body.length, bytes));
  return copy;
}
