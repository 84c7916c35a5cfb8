// Which answers a fallback in shadow would keep. By the rules and bounds of the enforced one, but of an answer nothing is kept but that it is
// there, how old and how large it is; no byte of it.
import { ageOnArrivalMs, keptFields, selectingFields } from '../keepable.ts';
import type { AnswerWatch, LastGood } from '../last-good.ts';

const NO_BODY = Buffer.alloc(0);

/** Measures an answer as it passes by. */
export class MeasuredAnswer implements AnswerWatch {
  readonly #store: LastGood;
  readonly #target: string;
  readonly #requestFields: string;
  readonly #names: readonly string[];
  readonly #fieldBytes: number;
  readonly #bornMs: number;
  #bodyBytes = 0;
  #over = false;

  constructor(store: LastGood, target: string, requestFields: string, responseFields: string, nowMs: number) {
    this.#store = store;
    this.#target = target;
    this.#requestFields = requestFields;
    this.#names = selectingFields(responseFields, store.spec.keyHeaders);
    this.#fieldBytes = keptFields(responseFields).length;
    this.#bornMs = nowMs - ageOnArrivalMs(responseFields);
  }

  add(_buffer: Buffer, start: number, end: number): boolean {
    this.#bodyBytes += end - start;
    if (this.#bodyBytes > this.#store.spec.maxAnswerBytes) this.#over = true;
    return !this.#over;
  }

  commit(): void {
    if (this.#over) return;
    this.#over = true;
    const answer = { fields: '', body: NO_BODY, bornMs: this.#bornMs };
    const sizes = { fields: this.#fieldBytes, body: this.#bodyBytes };
    this.#store.keep(this.#target, this.#requestFields, this.#names, answer, sizes);
  }

  discard(): void {
    this.#over = true;
  }
}

/** What is enforced keeps an answer, and what is in shadow measures it. */
export class KeptAndMeasured implements AnswerWatch {
  readonly #kept: AnswerWatch;
  readonly #measured: AnswerWatch;
  #isKept = true;
  #isMeasured = true;

  constructor(kept: AnswerWatch, measured: AnswerWatch) {
    this.#kept = kept;
    this.#measured = measured;
  }

  add(buffer: Buffer, start: number, end: number): boolean {
    this.#isKept &&= this.#kept.add(buffer, start, end);
    this.#isMeasured &&= this.#measured.add(buffer, start, end);
    return this.#isKept || this.#isMeasured;
  }

  commit(): void {
    if (this.#isKept) this.#kept.commit();
    if (this.#isMeasured) this.#measured.commit();
  }

  discard(): void {
    this.#kept.discard();
    this.#measured.discard();
  }
}
