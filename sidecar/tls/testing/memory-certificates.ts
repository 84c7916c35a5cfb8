import { type CertificateFile, pathOfCertificate } from '../../../plan/certificates.ts';
import type { CertificateSource } from '../certificate-files.ts';
import type { Pair } from './certificates.ts';

/** In the place of the files that the kubelet would mount. */
export class MemoryCertificates implements CertificateSource {
  readonly #texts: Map<string, string>;
  readonly #listeners: (() => void)[] = [];
  /** By path, what is wanted of them since the last plan. */
  kept: readonly string[] = [];

  /** By path: "secret/partner/tls.crt". */
  constructor(texts: Readonly<Record<string, string>> = {}) {
    this.#texts = new Map(Object.entries(texts));
  }

  read(file: CertificateFile): string | null {
    return this.#texts.get(pathOfCertificate(file)) ?? null;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  keepOnly(files: readonly CertificateFile[]): void {
    this.kept = files.map(pathOfCertificate);
  }

  /** `null` takes a file away. All of them change at once. */
  set(texts: Readonly<Record<string, string | null>>): void {
    for (const [path, text] of Object.entries(texts)) {
      if (text === null) this.#texts.delete(path);
      else this.#texts.set(path, text);
    }
    for (const listener of this.#listeners) listener();
  }

  setClient(name: string, { cert, key }: Pair): void {
    this.set({ [`secret/${name}/tls.crt`]: cert, [`secret/${name}/tls.key`]: key });
  }
}
