// For tests: certificates that live as long as the process.
import type { CertificateStore, StoredDocument } from './store.ts';

/** A store in memory that counts its writes. */
export class MemoryStore implements CertificateStore {
  readonly name = 'memory';
  writes = 0;
  bundle = '';
  failing: Error | undefined;
  #stored: StoredDocument | undefined;

  clear(): void {
    this.#stored = undefined;
  }

  read(): Promise<StoredDocument | undefined> {
    return this.failing ? Promise.reject(this.failing) : Promise.resolve(this.#stored);
  }

  write(text: string, bundle: string, previous: StoredDocument | undefined): Promise<boolean> {
    if (this.#stored?.revision !== previous?.revision) return Promise.resolve(false);
    this.writes += 1;
    this.#stored = { text, revision: String(this.writes) };
    this.bundle = bundle;
    return Promise.resolve(true);
  }
}
