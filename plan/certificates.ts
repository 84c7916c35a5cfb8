// Certificates for TLS that the sidecar originates. A plan names the objects that hold them and never holds one: they reach the sidecar as
// files, which the kubelet mounts (or standalone mode writes) and renews. Here is where which key of which object lies.
import * as z from 'zod';

/** The name of an object becomes part of a path. */
const objectName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/);

/** Of a Secret or ConfigMap in the namespace of the pod. */
export const certificateObject = z.object({ kind: z.enum(['ConfigMap', 'Secret']), name: objectName });
export type CertificateObject = z.infer<typeof certificateObject>;

export const CA_KEY = 'ca.crt';
export const CERTIFICATE_KEY = 'tls.crt';
export const PRIVATE_KEY_KEY = 'tls.key';

export type CertificateKey = typeof CA_KEY | typeof CERTIFICATE_KEY | typeof PRIVATE_KEY_KEY;

export const tlsPlan = z.object({
  /** Where the host speaks TLS. */
  port: z.number().int().min(1).max(65_535),
  /** Sent as SNI, and verified. */
  serverName: z.string().max(253),
  /** Objects whose `ca.crt` names the authorities, all of them together; empty: those of the public web. */
  authorities: z.array(certificateObject).max(8),
  /** Name of the Secret whose `tls.crt` and `tls.key` are shown to a host that asks; null: none. */
  clientCertificate: objectName.nullable(),
});
export type TlsPlan = z.infer<typeof tlsPlan>;

export interface CertificateFile {
  object: CertificateObject;
  key: CertificateKey;
}

/** What a sidecar needs for it, each once. */
export function certificateFiles({ authorities, clientCertificate }: TlsPlan): CertificateFile[] {
  const files: CertificateFile[] = authorities.map((object) => ({ object, key: CA_KEY }));
  if (clientCertificate === null) return files;
  const object: CertificateObject = { kind: 'Secret', name: clientCertificate };
  return [...files, { object, key: CERTIFICATE_KEY }, { object, key: PRIVATE_KEY_KEY }];
}

/** "secret/partner-client/tls.crt": its place below the directory of certificates. */
export function pathOfCertificate({ object, key }: CertificateFile): string {
  return `${object.kind.toLowerCase()}/${object.name}/${key}`;
}
