// Start in order, stop in reverse. One list per process says what runs; a part that fails to start stops those before it.
import type { Logger } from './log.ts';

export interface Part {
  readonly name: string;
  start(): Promise<void> | void;
  stop(): Promise<void> | void;
}

export class Lifecycle {
  readonly #log: Logger;
  readonly #started: Part[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Starts the parts one after the other; on the first failure stops what was started and throws it. */
  async start(parts: readonly Part[]): Promise<void> {
    for (const part of parts) {
      try {
        await part.start();
      } catch (error) {
        await this.stop();
        throw new Error(`${part.name} did not start`, { cause: error });
      }
      this.#started.push(part);
    }
  }

  /** Stops in reverse order; a part that fails to stop is logged and does not keep the others from stopping. */
  async stop(): Promise<void> {
    for (let part = this.#started.pop(); part; part = this.#started.pop()) {
      try {
        await part.stop();
      } catch (error) {
        this.#log.error({ err: error, part: part.name }, 'part did not stop cleanly');
      }
    }
  }
}
