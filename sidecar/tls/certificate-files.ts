// The files that hold certificates, where the kubelet (or standalone mode) puts them. They are few and small, and change a few times in a
// year: read whole, again and again, since no notice of a file system tells reliably of the symbolic links that the kubelet swaps.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type CertificateFile, pathOfCertificate } from '../../plan/certificates.ts';
import type { Clock } from '../../runtime/clock.ts';

/** The kubelet takes a minute itself. */
const LOOK_EVERY_MS = 5_000;
const MAX_BYTES = 1024 * 1024;

/** Where certificates come from; what is read is the text at the last look. */
export interface CertificateSource {
  /** Null: it is not there, or cannot be read. */
  read(file: CertificateFile): string | null;
  /** Called when a file that was read has changed. */
  onChange(listener: () => void): void;
  /** Nobody reads any others again, unless he says so here: what they held is not to stay in memory. */
  keepOnly(files: readonly CertificateFile[]): void;
}

export interface CertificateFilesOptions {
  /** Null: none were given to this sidecar. */
  directory: string | null;
  clock: Clock;
}

export class CertificateFiles implements CertificateSource {
  readonly #options: CertificateFilesOptions;
  /** By path, those that were asked for and are still wanted. */
  readonly #texts = new Map<string, string | null>();
  #listener: () => void = () => {};
  #cancel: (() => void) | null = null;

  constructor(options: CertificateFilesOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.directory === null) return;
    this.#cancel = this.#options.clock.after(LOOK_EVERY_MS, () => {
      this.look();
      this.start();
    });
  }

  close(): void {
    this.#cancel?.();
  }

  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  read(file: CertificateFile): string | null {
    const path = pathOfCertificate(file);
    const known = this.#texts.get(path);
    if (known !== undefined) return known;
    const text = this.#readNow(path);
    this.#texts.set(path, text);
    return text;
  }

  keepOnly(files: readonly CertificateFile[]): void {
    const wanted = new Set(files.map(pathOfCertificate));
    for (const path of this.#texts.keys()) if (!wanted.has(path)) this.#texts.delete(path);
  }

  /** Reads all of them anew. */
  look(): void {
    let changed = false;
    for (const [path, before] of this.#texts) {
      const text = this.#readNow(path);
      if (text === before) continue;
      this.#texts.set(path, text);
      changed = true;
    }
    if (changed) this.#listener();
  }

  #readNow(path: string): string | null {
    const { directory } = this.#options;
    if (directory === null) return null;
    try {
      const file = join(directory, path);
      return statSync(file).size > MAX_BYTES ? null : readFileSync(file, 'utf8');
    } catch {
      return null;
    }
  }
}
