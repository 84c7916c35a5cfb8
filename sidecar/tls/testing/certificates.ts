// Certificates for tests, made on the spot: an authority, and what it issues for hosts and for clients.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface Pair {
  cert: string;
  key: string;
}

export interface Validity {
  notBeforeUnixMs?: number;
  notAfterUnixMs?: number;
}

export class TestAuthority {
  /** PEM. */
  readonly cert: string;
  readonly #name: string;
  readonly #keys: webcrypto.CryptoKeyPair;
  #issued = 0;

  private constructor(cert: string, name: string, keys: webcrypto.CryptoKeyPair) {
    this.cert = cert;
    this.#name = name;
    this.#keys = keys;
  }

  static async create(name = 'Test authority', validity: Validity = {}): Promise<TestAuthority> {
    const keys = await newKeys();
    const cert = await X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: '01',
        name: `CN=${name}`,
        ...dates(validity),
        signingAlgorithm: ALGORITHM,
        keys,
        extensions: [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
        ],
      },
      webcrypto,
    );
    return new TestAuthority(cert.toString('pem'), `CN=${name}`, keys);
  }

  /** For a host of these names. */
  host(names: readonly string[], validity: Validity = {}): Promise<Pair> {
    return this.#issue(`CN=${names[0]}`, ExtendedKeyUsage.serverAuth, validity, [
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
    ]);
  }

  client(name: string, validity: Validity = {}): Promise<Pair> {
    return this.#issue(`CN=${name}`, ExtendedKeyUsage.clientAuth, validity, []);
  }

  async #issue(
    subject: string,
    usage: ExtendedKeyUsage,
    validity: Validity,
    extensions: SubjectAlternativeNameExtension[],
  ): Promise<Pair> {
    const keys = await newKeys();
    this.#issued++;
    const cert = await X509CertificateGenerator.create(
      {
        serialNumber: (0x1000 + this.#issued).toString(16),
        subject,
        issuer: this.#name,
        ...dates(validity),
        signingAlgorithm: ALGORITHM,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new ExtendedKeyUsageExtension([usage], false),
          ...extensions,
        ],
      },
      webcrypto,
    );
    const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    return { cert: cert.toString('pem'), key };
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function dates({ notBeforeUnixMs, notAfterUnixMs }: Validity): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(notBeforeUnixMs ?? now - DAY_MS), notAfter: new Date(notAfterUnixMs ?? now + DAY_MS) };
}
