// Looks into the process of a sidecar from outside: probe-inside.ts is loaded into it, and answers a signal by a file.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Held } from './probe-inside.ts';

const WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 20;

export class Probe {
  readonly #file: string;
  /** That of the sidecar has to have these. */
  readonly environment: Readonly<Record<string, string>>;

  /** `folder`: for the file of the answers. */
  constructor(folder: string) {
    this.#file = join(folder, 'probe.json');
    const inside = pathToFileURL(join(import.meta.dirname, 'probe-inside.ts')).href;
    this.environment = { NODE_OPTIONS: `--import=${inside}`, BREAKWATER_SOAK_PROBE: this.#file };
  }

  /** What the sidecar holds now, after a collection of its garbage. */
  async ask(pid: number): Promise<Held> {
    rmSync(this.#file, { force: true });
    process.kill(pid, 'SIGUSR2');
    for (const endMs = performance.now() + WITHIN_MS; performance.now() < endMs; await sleep(LOOK_EVERY_MS)) {
      try {
        return JSON.parse(readFileSync(this.#file, 'utf8')) as Held;
      } catch {
        // Not written yet.
      }
    }
    throw new Error('the sidecar does not answer its probe');
  }
}
