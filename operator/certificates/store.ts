// Where the certificates live: one document with optimistic concurrency, so that processes that start together agree on one authority.

export interface StoredDocument {
  text: string;
  /** Opaque; changes with every write. */
  revision: string;
}

export interface CertificateStore {
  /** For messages: "Secret breakwater/breakwater-certificates". */
  readonly name: string;
  /** Undefined where nothing is stored yet. Rejects where that cannot be known. */
  read(): Promise<StoredDocument | undefined>;
  /**
   * Stores the document if what is there is still what `previous` says (undefined: nothing). False: somebody else was faster, read again.
   * `bundle` is the public part, written beside it for people and tools.
   */
  write(text: string, bundle: string, previous: StoredDocument | undefined): Promise<boolean>;
}
