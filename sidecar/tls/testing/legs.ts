// Legs of TLS in the place of plain ones, for tests that are about something else: a dependency with a host that TLS is spoken to, and what
// that host needs.
import type { Socket } from 'node:net';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { CertificateSource } from '../certificate-files.ts';
import { type Pair, TestAuthority } from './certificates.ts';
import { MemoryCertificates } from './memory-certificates.ts';
import { secured } from './tls-upstream.ts';

export interface TlsLegs {
  /** Of the plan of the dependency. Its endpoints are those that the test gives it. */
  changes: Pick<DependencyPlan, 'host'>;
  /** Of the sidecar. */
  certificates: CertificateSource;
  /** Of the host. */
  pair: Pair;
  /** Makes TLS of a connection that the host has accepted. */
  wrap: (accepted: Socket) => Socket;
}

export async function tlsLegs(): Promise<TlsLegs> {
  const name = 'api.partner.example';
  const authority = await TestAuthority.create();
  const pair = await authority.host([name]);
  const tls = {
    port: 443,
    serverName: name,
    authorities: [{ kind: 'ConfigMap' as const, name: 'partners' }],
    clientCertificate: null,
  };
  return {
    changes: { host: { name, port: 80, tls } },
    certificates: new MemoryCertificates({ 'configmap/partners/ca.crt': authority.cert }),
    pair,
    wrap: secured(pair),
  };
}
