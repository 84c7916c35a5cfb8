// Issues certificates: ECDSA P-256 by WebCrypto, X.509 by @peculiar/x509 (node:crypto reads certificates, it cannot make them).
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as PeculiarCertificate,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import {
  type Authority,
  type CertificateState,
  certificateState,
  LIFETIMES,
  type Lifetimes,
  type Serving,
} from './decide.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

function createKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
}

function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  // Positive and without a leading zero octet, so that every reader prints the same number.
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

/** X.509 counts in whole seconds. */
const wholeSeconds = (unixMs: number) => Math.floor(unixMs / 1000) * 1000;

function validity(nowUnixMs: number, lifeMs: number, { backdateMs }: Lifetimes) {
  const notBeforeUnixMs = wholeSeconds(nowUnixMs - backdateMs);
  return { notBeforeUnixMs, notAfterUnixMs: notBeforeUnixMs + wholeSeconds(lifeMs) };
}

/** A new authority, self-signed; and signed by `previous`, where there is one that is valid. */
export async function createAuthority(
  nowUnixMs: number,
  lifetimes: Lifetimes = LIFETIMES,
  previous?: Authority,
): Promise<Authority> {
  const keys = await createKeys();
  const id = serialNumber();
  const times = validity(nowUnixMs, lifetimes.authorityMs, lifetimes);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: id,
      // The serial number in the name keeps two authorities in one bundle apart for readers that look them up by subject.
      name: `CN=Breakwater authority ${id.slice(0, 8)}`,
      notBefore: new Date(times.notBeforeUnixMs),
      notAfter: new Date(times.notAfterUnixMs),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        // Without a limit of the path: the authorities after it hang below it.
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const authority = { id, certificate: certificate.toString('pem'), privateKey: await privateKeyPem(keys), ...times };
  if (previous === undefined || previous.notAfterUnixMs <= nowUnixMs) return authority;
  return { ...authority, crossSigned: await crossSign(previous, certificate) };
}

/** The key of `authority` certified by the one before it, for as long as both live. */
async function crossSign(previous: Authority, authority: PeculiarCertificate): Promise<string> {
  const issuer = new PeculiarCertificate(previous.certificate);
  const publicKey = await authority.publicKey.export(webcrypto);
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: authority.subject,
      issuer: issuer.subject,
      notBefore: authority.notBefore,
      notAfter: issuer.notAfter < authority.notAfter ? issuer.notAfter : authority.notAfter,
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: await signingKey(previous),
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return certificate.toString('pem');
}

async function signingKey(authority: Authority): Promise<webcrypto.CryptoKey> {
  const der = PemConverter.decodeFirst(authority.privateKey);
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}

/** A serving certificate for these DNS names and addresses, never outliving its authority. */
export async function issueServing(
  authority: Authority,
  names: readonly string[],
  nowUnixMs: number,
  lifetimes: Lifetimes = LIFETIMES,
): Promise<Serving> {
  const keys = await createKeys();
  const id = serialNumber();
  const times = validity(nowUnixMs, lifetimes.servingMs, lifetimes);
  times.notAfterUnixMs = Math.min(times.notAfterUnixMs, authority.notAfterUnixMs);
  const issuer = new PeculiarCertificate(authority.certificate);
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: id,
      subject: 'CN=Breakwater operator',
      issuer: issuer.subject,
      notBefore: new Date(times.notBeforeUnixMs),
      notAfter: new Date(times.notAfterUnixMs),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: await signingKey(authority),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth], false),
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const),
        ),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return {
    id,
    issuer: authority.id,
    names: [...names],
    certificate: certificate.toString('pem'),
    privateKey: await privateKeyPem(keys),
    ...times,
  };
}

export class CertificateStateError extends Error {
  override name = 'CertificateStateError';
}

/**
 * Reads what was stored. Throws CertificateStateError when it is damaged: to replace a damaged authority silently would cut off every
 * sidecar that trusts it, so a person has to decide that.
 */
export function parseState(text: string): CertificateState {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CertificateStateError('the stored certificates are not JSON');
  }
  const result = certificateState.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new CertificateStateError(
      `the stored certificates do not fit at ${issue?.path.join('.')}: ${issue?.message}`,
    );
  }
  const state = result.data;
  for (const one of [...state.authorities, state.serving]) checkPair(one);
  return state;
}

/** The key itself is not compared here: tls.createSecureContext does that, and refuses a pair that does not fit. */
function checkPair(pair: Pick<Authority, 'id' | 'certificate'>): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pair.certificate);
  } catch (error) {
    throw new CertificateStateError(`the stored certificate ${pair.id} cannot be read`, { cause: error });
  }
  if (certificate.serialNumber.toLowerCase() !== pair.id.toLowerCase()) {
    throw new CertificateStateError(
      `the stored certificate ${pair.id} carries the serial number ${certificate.serialNumber}`,
    );
  }
}
