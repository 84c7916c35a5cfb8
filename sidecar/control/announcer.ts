// In capture `explicit`, tells the parent where each dependency listens: once when ready, and again whenever that changes.
import type { Clock } from '../../runtime/clock.ts';

export interface ReadyMessage {
  ready: true;
  /** "http://127.0.0.1:PORT" */
  admin: string;
  /** Name of the dependency → "127.0.0.1:PORT". */
  dependencies: Record<string, string>;
}

export interface AnnouncerOptions {
  /** Null while the sidecar is not ready. */
  admin(): string | null;
  addresses(): Record<string, string>;
  /** How many dependencies the plan in force has. */
  expected(): number;
  announce(message: ReadyMessage): void;
  clock: Clock;
}

const LOOK_EVERY_MS = 5;
const GIVE_UP_AFTER_MS = 2_000;

export class Announcer {
  readonly #options: AnnouncerOptions;
  #announced = '';
  #cancel: () => void = () => {};

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  /** Something may have changed. Sockets begin to listen shortly after the plan that asks for them: they are waited for, up to a bound. */
  look(): void {
    this.#lookUntil(this.#options.clock.monotonicMs() + GIVE_UP_AFTER_MS);
  }

  close(): void {
    this.#cancel();
  }

  #lookUntil(endMs: number): void {
    this.#cancel();
    const { clock } = this.#options;
    const admin = this.#options.admin();
    if (admin === null) return;
    const dependencies = this.#options.addresses();
    const complete = Object.keys(dependencies).length === this.#options.expected();
    if (!complete && clock.monotonicMs() < endMs) {
      this.#cancel = clock.after(LOOK_EVERY_MS, () => this.#lookUntil(endMs));
      return;
    }
    const message: ReadyMessage = { ready: true, admin, dependencies };
    const text = JSON.stringify(message);
    if (text === this.#announced) return;
    this.#announced = text;
    this.#options.announce(message);
  }
}

/** By IPC where there is a channel, else as one line on standard output. */
export function announceToParent(message: ReadyMessage): void {
  // A parent that is gone is noticed elsewhere.
  if (process.send) process.send(message, undefined, undefined, () => {});
  else process.stdout.write(`${JSON.stringify(message)}\n`);
}
