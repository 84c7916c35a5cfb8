// What only the replica that leads does: begun when it wins the lead, ended when it may not write any more, begun again where it leads on.
import type { Leadership } from './elector.ts';

export interface Duty {
  start(): void;
  /** Resolves when nothing of it is under way any more. */
  stop(): Promise<void>;
}

export class Duties {
  readonly name = 'duties of the leader';
  readonly #leadership: Leadership;
  readonly #duty: Duty;
  #isWanted = false;
  #isRunning = false;
  #aligning: Promise<void> = Promise.resolve();
  #stopListening: () => void = () => undefined;

  constructor(leadership: Leadership, duty: Duty) {
    this.#leadership = leadership;
    this.#duty = duty;
  }

  start(): Promise<void> {
    this.#isWanted = true;
    this.#stopListening = this.#leadership.onChange(() => void this.#align());
    return this.#align();
  }

  stop(): Promise<void> {
    this.#isWanted = false;
    this.#stopListening();
    return this.#align();
  }

  /** One after the other: a start must not overtake the stop before it. */
  #align(): Promise<void> {
    this.#aligning = this.#aligning.then(async () => {
      const shouldRun = this.#isWanted && this.#leadership.role === 'Leading';
      if (shouldRun === this.#isRunning) return;
      this.#isRunning = shouldRun;
      if (shouldRun) this.#duty.start();
      else await this.#duty.stop();
    });
    return this.#aligning;
  }
}
