import { expect, it } from 'vitest';
import { parseServiceDependency } from '../../crds/parse.ts';
import type { TlsSummary } from '../distribute/tls-reports.ts';
import { tlsProblems } from './tls.ts';

const parsed = parseServiceDependency({
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ServiceDependency',
  metadata: { name: 'checkout', namespace: 'shop' },
  spec: {
    consumer: { selector: {} },
    dependsOn: [
      { name: 'stripe', host: { name: 'api.stripe.com', port: 443, tls: {} } },
      { name: 'partner', host: { name: 'api.partner.example', port: 80, tls: { port: 443 } } },
    ],
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
const { model } = parsed;

const summary = (changes: Partial<TlsSummary>): TlsSummary => ({
  dependencyId: 'shop/checkout/partner',
  of: 'certificates',
  message: 'Secret client has no key tls.key; create it',
  sidecars: 3,
  totalSidecars: 12,
  ...changes,
});

it('says of missing certificates that a reference leads nowhere, and of a host that fails beside it', () => {
  expect(tlsProblems(model, [summary({}), summary({ of: 'handshake', message: 'expired', sidecars: 12 })])).toEqual([
    {
      kind: 'ServiceDependency',
      object: { namespace: 'shop', name: 'checkout' },
      field: 'spec.dependsOn[1].host.tls',
      condition: 'ResolvedRefs',
      severity: 'Error',
      reason: 'InvalidCertificate',
      message: 'in 3 of 12 sidecars: Secret client has no key tls.key; create it',
    },
    {
      kind: 'ServiceDependency',
      object: { namespace: 'shop', name: 'checkout' },
      field: 'spec.dependsOn[1].host.tls',
      condition: 'ResolvedRefs',
      severity: 'Warning',
      reason: 'TlsFails',
      message: 'in 12 of 12 sidecars no connection is made: expired',
    },
  ]);
});

it('says nothing of the entries of others, or of those that are gone', () => {
  const others = ['shop/other/partner', 'shop/checkout/gone', 'shop/checkout/partner/x'];
  expect(others.flatMap((dependencyId) => tlsProblems(model, [summary({ dependencyId })]))).toEqual([]);
});
