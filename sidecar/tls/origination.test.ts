import { expect, it } from 'vitest';
import type { TlsPlan } from '../../plan/certificates.ts';
import { silentLogger } from '../../runtime/log.ts';
import { TlsOrigination } from './origination.ts';
import { TestAuthority } from './testing/certificates.ts';
import { MemoryCertificates } from './testing/memory-certificates.ts';

const PLAN: TlsPlan = {
  port: 443,
  serverName: 'api.partner.example',
  authorities: [{ kind: 'ConfigMap', name: 'partners' }],
  clientCertificate: null,
};

async function origination() {
  const authority = await TestAuthority.create();
  const certificates = new MemoryCertificates({ 'configmap/partners/ca.crt': authority.cert });
  const tls = new TlsOrigination('shop/checkout/partner', PLAN, {
    certificates,
    unixMs: () => Date.now(),
    log: silentLogger,
    onProblem: () => {},
    onHandshake: () => {},
  });
  return { tls, certificates, authority };
}

it('connections of other settings are used no more, also where what the new ones name is not there yet', async () => {
  const { tls, certificates, authority } = await origination();
  const before = tls.generation;
  tls.update({ ...PLAN, authorities: [{ kind: 'ConfigMap', name: 'others' }] });
  expect(tls.problem.certificates).toEqual([expect.stringContaining('ConfigMap others does not exist')]);
  expect(tls.generation).toBeGreaterThan(before);
  const without = tls.generation;
  certificates.set({ 'configmap/others/ca.crt': authority.cert });
  tls.refresh();
  expect(tls.problem.certificates).toEqual([]);
  expect(tls.generation).toBeGreaterThan(without);
});

it('connections stay in use while the settings are the same, and nothing better has come', async () => {
  const { tls, certificates } = await origination();
  const before = tls.generation;
  tls.update({ ...PLAN });
  certificates.set({ 'configmap/partners/ca.crt': 'nonsense' });
  tls.refresh();
  expect([tls.problem.certificates.length, tls.generation]).toEqual([1, before]);
});
