// The certificates and kubeconfigs of a throw-away cluster: one CA, one certificate for each component.
import { generateKeyPair as generateRsa, type webcrypto as WebCrypto, webcrypto } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
// @peculiar/x509 resolves its parts by decorators, which need this one first.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

type KeyPair = { publicKey: WebCrypto.CryptoKey; privateKey: WebCrypto.CryptoKey };

const newKeys = async (): Promise<KeyPair> => await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

async function privateKeyPem(key: WebCrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

export interface Subject {
  /** Certificate and key are written to `<file>.crt` and `<file>.key`. */
  file: string;
  commonName: string;
  organization?: string;
  addresses?: readonly string[];
  names?: readonly string[];
}

export class ClusterAuthority {
  readonly #directory: string;
  readonly #keys: KeyPair;
  readonly #certificate: x509.X509Certificate;

  private constructor(directory: string, keys: KeyPair, certificate: x509.X509Certificate) {
    this.#directory = directory;
    this.#keys = keys;
    this.#certificate = certificate;
  }

  /** Makes a CA and writes `ca.crt` and `ca.key`. */
  static async create(directory: string): Promise<ClusterAuthority> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=cluster-ca',
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 3650 * DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    await writeFile(join(directory, 'ca.crt'), certificate.toString('pem'));
    await writeFile(join(directory, 'ca.key'), await privateKeyPem(keys.privateKey), { mode: 0o600 });
    return new ClusterAuthority(directory, keys, certificate);
  }

  async issue(subject: Subject): Promise<void> {
    const keys = await newKeys();
    const names: x509.JsonGeneralName[] = [
      ...(subject.addresses ?? []).map((value) => ({ type: 'ip' as const, value })),
      ...(subject.names ?? []).map((value) => ({ type: 'dns' as const, value })),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${subject.commonName}${subject.organization === undefined ? '' : `,O=${subject.organization}`}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 3650 * DAY_MS),
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ],
    });
    await writeFile(join(this.#directory, `${subject.file}.crt`), certificate.toString('pem'));
    await writeFile(join(this.#directory, `${subject.file}.key`), await privateKeyPem(keys.privateKey), {
      mode: 0o600,
    });
  }
}

/** The key pair that signs service account tokens: `sa.key`, `sa.pub`. */
export async function writeServiceAccountKeys(directory: string): Promise<void> {
  const { publicKey, privateKey } = await promisify(generateRsa)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  await writeFile(join(directory, 'sa.pub'), publicKey);
  await writeFile(join(directory, 'sa.key'), privateKey, { mode: 0o600 });
}

/** Writes `<user>.kubeconfig`, which presents `<user>.crt`. */
export async function writeKubeconfig(directory: string, user: string, server: string): Promise<void> {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'breakwater-test',
    contexts: [{ name: 'breakwater-test', context: { cluster: 'breakwater-test', user } }],
    clusters: [{ name: 'breakwater-test', cluster: { server, 'certificate-authority': join(directory, 'ca.crt') } }],
    users: [
      {
        name: user,
        user: { 'client-certificate': join(directory, `${user}.crt`), 'client-key': join(directory, `${user}.key`) },
      },
    ],
  };
  await writeFile(join(directory, `${user}.kubeconfig`), JSON.stringify(config), { mode: 0o600 });
}
