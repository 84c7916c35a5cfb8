// The local kill switch: this sidecar forwards everything without policies until it is told otherwise. It needs neither operator nor API
// server; a marker in the state directory keeps it over restarts of the container.
import { access, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../runtime/log.ts';

export const MARKER = 'disabled';

/** Whether the marker is there; false where there is no state directory. */
export async function readMarker(stateDirectory: string | null): Promise<boolean> {
  if (stateDirectory === null) return false;
  return access(join(stateDirectory, MARKER)).then(
    () => true,
    () => false,
  );
}

/** Throws what the file system throws. */
export async function writeMarker(stateDirectory: string, disabled: boolean): Promise<void> {
  const path = join(stateDirectory, MARKER);
  if (disabled) {
    await mkdir(stateDirectory, { recursive: true });
    await writeFile(path, 'All policies of this sidecar are switched off: `breakwater enable` ends it.\n', {
      mode: 0o600,
    });
  } else {
    await rm(path, { force: true });
  }
}

export class KillSwitch {
  readonly #stateDirectory: string | null;
  readonly #log: Logger;
  readonly #onChange: (disabled: boolean) => void;
  #disabled = false;
  /** One after the other: of two at a time the file system decides which one lasts. */
  #writing: Promise<unknown> = Promise.resolve();

  /** `onChange` is called with every change, and by `restore` when the switch is thrown. */
  constructor(stateDirectory: string | null, log: Logger, onChange: (disabled: boolean) => void) {
    this.#stateDirectory = stateDirectory;
    this.#log = log;
    this.#onChange = onChange;
  }

  get isDisabled(): boolean {
    return this.#disabled;
  }

  async restore(): Promise<void> {
    if (await readMarker(this.#stateDirectory)) this.#change(true);
  }

  /** Acts at once, then persists. The text says why it will not outlive the process; empty: it will. */
  async set(disabled: boolean): Promise<string> {
    this.#change(disabled);
    const directory = this.#stateDirectory;
    if (directory === null) return 'this sidecar has no state directory';
    const written = this.#writing
      .then(() => writeMarker(directory, disabled))
      .then(
        () => '',
        (error: unknown) => (error as Error).message,
      );
    this.#writing = written;
    return written;
  }

  #change(disabled: boolean): void {
    if (disabled === this.#disabled) return;
    this.#disabled = disabled;
    this.#log.warn(
      { disabled },
      disabled ? 'policies are switched off in this sidecar' : 'policies act again in this sidecar',
    );
    this.#onChange(disabled);
  }
}
