// Certificates of a folder of manifests, laid out for the sidecars as the kubelet would mount them: by namespace, for nobody but their user.
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export class CertificateFolder {
  readonly #folder: string;
  #written: ReadonlyMap<string, string> = new Map();
  #writing: Promise<void> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** For the sidecars of one namespace. */
  of(namespace: string): string {
    return join(this.#folder, namespace);
  }

  /** By "<namespace>/<path>". One call after the other; a sidecar sees a file as it was or as it is. */
  write(wanted: ReadonlyMap<string, string>): Promise<void> {
    this.#writing = this.#writing.catch(() => undefined).then(() => this.#write(wanted));
    return this.#writing;
  }

  async #write(wanted: ReadonlyMap<string, string>): Promise<void> {
    const before = this.#written;
    // What fails is tried again whole the next time.
    this.#written = new Map();
    for (const path of before.keys()) if (!wanted.has(path)) await rm(join(this.#folder, path), { force: true });
    for (const [path, text] of wanted) {
      if (before.get(path) === text) continue;
      const file = join(this.#folder, path);
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
    }
    this.#written = new Map(wanted);
  }
}
