// Which authorities the operator's certificate may come from: the bundle that the pod was born with, and the newest one that the operator
// sent over a stream that was already trusted.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const MAX_CERTIFICATES = 64;

/** The certificates of a PEM bundle; throws with a reason where one is unreadable or there is none. */
export function parseBundle(pem: string): string[] {
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error('the bundle holds no PEM certificate');
  if (certificates.length > MAX_CERTIFICATES)
    throw new Error(`the bundle holds more than ${MAX_CERTIFICATES} certificates`);
  for (const [index, certificate] of certificates.entries()) {
    try {
      void new X509Certificate(certificate).subject;
    } catch (error) {
      throw new Error(`certificate ${index + 1} of the bundle cannot be read`, { cause: error });
    }
  }
  return certificates;
}

export class Trust {
  readonly #caBundle: string | null;
  readonly #caFile: string | null;
  #later: string | null = null;

  constructor(caBundle: string | null, caFile: string | null) {
    this.#caBundle = caBundle;
    this.#caFile = caFile;
  }

  /** Takes a bundle that the operator sent; throws when it is unusable, and then nothing changes. True: it is a new one. */
  accept(bundle: string): boolean {
    parseBundle(bundle);
    if (bundle === this.#later) return false;
    this.#later = bundle;
    return true;
  }

  /** All trusted certificates, PEM; the file is read again each time, for it may be replaced. Throws when it cannot be read. */
  authorities(): string[] {
    const bundles = [];
    if (this.#caBundle !== null) bundles.push(this.#caBundle);
    if (this.#caFile !== null) bundles.push(readFileSync(this.#caFile, 'utf8'));
    if (this.#later !== null) bundles.push(this.#later);
    return bundles;
  }
}
