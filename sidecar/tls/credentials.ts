// What files of certificates hold, read and checked. Pure: text in, credentials and what is wrong with them out. Nothing of a private key
// ever leaves here but into a secure context; problems name objects and keys, never what these hold.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import {
  CA_KEY,
  CERTIFICATE_KEY,
  type CertificateFile,
  type CertificateObject,
  PRIVATE_KEY_KEY,
  type TlsPlan,
} from '../../plan/certificates.ts';

/** The text of a file; null: it is not there. */
export type ReadCertificate = (file: CertificateFile) => string | null;

export interface Authorities {
  /** PEM of each. */
  ca: readonly string[];
  /** When the first of them expires, Unix milliseconds. */
  expiresUnixMs: number;
}

export interface ClientCertificate {
  /** PEM, with what is to be sent between it and its authority. */
  cert: string;
  key: string;
  /** Of the certificate itself. */
  expiresUnixMs: number;
}

export interface Credentials {
  /** Null: those of the public web. */
  authorities: Authorities | null;
  /** Null: none is named. */
  client: ClientCertificate | null;
}

export interface ReadCredentials {
  /** Null: a part is missing, and there is none of before. */
  credentials: Credentials | null;
  /** What is wrong now, and how to mend it; of what is kept of before, too. */
  problems: readonly string[];
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** `before`: what was good the last time for the same plan; it stays in force where nothing better came. */
export function readCredentials(
  plan: TlsPlan,
  read: ReadCertificate,
  before: Credentials | null,
  nowUnixMs: number,
): ReadCredentials {
  const problems: string[] = [];
  const authorities = plan.authorities.length === 0 ? null : readAuthorities(plan.authorities, read, problems);
  const client = plan.clientCertificate === null ? null : readClient(plan.clientCertificate, read, problems);
  const keptAuthorities = authorities === undefined ? before?.authorities : authorities;
  const keptClient = client === undefined ? before?.client : client;
  if (keptAuthorities === undefined || keptClient === undefined) return { credentials: null, problems };
  if (keptClient !== null && keptClient.expiresUnixMs <= nowUnixMs) {
    const since = new Date(keptClient.expiresUnixMs).toISOString();
    problems.push(`the certificate in Secret ${plan.clientCertificate} expired at ${since}; renew it`);
  }
  return { credentials: { authorities: keptAuthorities, client: keptClient }, problems };
}

const describe = ({ kind, name }: CertificateObject) => `${kind} ${name}`;

/** Undefined: not one certificate is there. A bundle that is missing only makes fewer hosts trusted. */
function readAuthorities(
  objects: readonly CertificateObject[],
  read: ReadCertificate,
  problems: string[],
): Authorities | undefined {
  const ca: string[] = [];
  let expiresUnixMs = Number.POSITIVE_INFINITY;
  for (const object of objects) {
    const text = read({ object, key: CA_KEY });
    if (text === null) {
      problems.push(
        `${describe(object)} does not exist or has no key ${CA_KEY}; create it in the namespace of the pods`,
      );
      continue;
    }
    const found = (text.match(PEM) ?? []).map(parseCertificate);
    const good = found.filter((one) => one !== null);
    if (good.length === 0 || good.length < found.length)
      problems.push(`${CA_KEY} of ${describe(object)} does not hold certificates in PEM alone; correct it`);
    for (const { pem, notAfterUnixMs } of good) {
      ca.push(pem);
      expiresUnixMs = Math.min(expiresUnixMs, notAfterUnixMs);
    }
  }
  return ca.length === 0 ? undefined : { ca, expiresUnixMs };
}

/** Undefined: there is no pair that belongs together. */
function readClient(name: string, read: ReadCertificate, problems: string[]): ClientCertificate | undefined {
  const object: CertificateObject = { kind: 'Secret', name };
  const cert = read({ object, key: CERTIFICATE_KEY });
  const key = read({ object, key: PRIVATE_KEY_KEY });
  if (cert === null || key === null) {
    const lacking = cert === null ? CERTIFICATE_KEY : PRIVATE_KEY_KEY;
    problems.push(`Secret ${name} does not exist or has no key ${lacking}; create it in the namespace of the pods`);
    return undefined;
  }
  const [leaf = null] = (cert.match(PEM) ?? []).map(parseCertificate);
  const privateKey = parseKey(key);
  if (leaf === null) problems.push(`${CERTIFICATE_KEY} of Secret ${name} holds no certificate in PEM; correct it`);
  else if (privateKey === null)
    problems.push(`${PRIVATE_KEY_KEY} of Secret ${name} holds no private key in PEM without a passphrase; correct it`);
  else if (!leaf.certificate.checkPrivateKey(privateKey))
    problems.push(
      `${PRIVATE_KEY_KEY} of Secret ${name} is not the key of its ${CERTIFICATE_KEY}; write both of one pair`,
    );
  else return { cert, key, expiresUnixMs: leaf.notAfterUnixMs };
  return undefined;
}

interface Parsed {
  pem: string;
  certificate: X509Certificate;
  notAfterUnixMs: number;
}

function parseCertificate(pem: string): Parsed | null {
  try {
    const certificate = new X509Certificate(pem);
    return { pem, certificate, notAfterUnixMs: Date.parse(certificate.validTo) };
  } catch {
    return null;
  }
}

function parseKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
  }
}
