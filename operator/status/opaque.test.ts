import { describe, expect, it } from 'vitest';
import { serviceDependencyStatus } from '../../crds/service-dependency.ts';
import { compile } from '../compile/compile.ts';
import { pod, service, serviceDependency, world } from '../compile/testing.ts';
import type { OpaqueSummary } from '../distribute/opaque.ts';
import { statusOf } from './conditions.ts';

const T1 = '2026-03-01T10:00:00Z';
const STRIPE = 'shop/checkout/stripe';

const objects = [
  service('database', { ports: [{ name: 'tcp-main', port: 5432 }] }),
  service('mail', { ports: [{ port: 25 }] }),
  service('payments'),
  serviceDependency('checkout', {
    dependsOn: [
      { name: 'database', service: { name: 'database', port: 5432 } },
      { name: 'mail', service: { name: 'mail', port: 25 } },
      { name: 'payments', service: { name: 'payments', port: 8080 } },
      { name: 'stripe', host: { name: 'api.stripe.com', port: 443 } },
    ],
  }),
  pod('checkout-1'),
];

function statusWith(opaque: readonly OpaqueSummary[]) {
  const manifests = world(objects);
  const [model] = manifests.serviceDependencies;
  if (model === undefined) throw new Error('no ServiceDependency');
  const { namespace, name, generation } = model.metadata;
  const applied = { applied: 3, of: 3, nacks: [], appliedPods: ['checkout-1'], locallyDisabled: [] };
  const reports = { applied: new Map([['shop/checkout', applied]]), circuits: [], exclusions: [], tls: [], opaque };
  const subject = { kind: 'ServiceDependency' as const, namespace, name, generation, content: { model }, status: {} };
  const made = statusOf(subject, compile(manifests), reports, T1);
  expect(serviceDependencyStatus.safeParse(JSON.parse(JSON.stringify(made))).success).toBe(true);
  return made;
}

const found = (dependencyId: string, more: Partial<OpaqueSummary> = {}): OpaqueSummary => ({
  dependencyId,
  protocol: 'Tls',
  alsoHttp: false,
  sidecars: 3,
  totalSidecars: 3,
  ...more,
});

describe('where only policies of connections act', () => {
  it('is said of what the port declares, before any connection was made', () => {
    const { opaqueDependencies, summary } = statusWith([]);
    expect(opaqueDependencies).toEqual([{ dependency: 'database', port: 5432, protocol: 'Opaque', declared: true }]);
    expect(summary).toBe('4/4 resolved · 3/3 sidecars · database:5432 is opaque');
  });

  it('is said of what sidecars found, in how many, and in the condition', () => {
    const { conditions, opaqueDependencies, summary } = statusWith([
      found('shop/checkout/database'),
      found('shop/checkout/mail', { protocol: 'ServerFirst', sidecars: 1 }),
      found(STRIPE),
      found('shop/other/stripe'),
    ]);
    expect(summary).toBe(
      '4/4 resolved · 3/3 sidecars · database:5432 is TLS, mail:25 is opaque, its server speaks first in 1 of 3, stripe:443 is TLS',
    );
    expect(opaqueDependencies?.at(-1)).toEqual({
      dependency: 'stripe',
      port: 443,
      protocol: 'Tls',
      declared: false,
      sidecars: 3,
      totalSidecars: 3,
    });
    const programmed = conditions?.find(({ type }) => type === 'Programmed');
    expect(programmed?.status).toBe('True');
    expect(programmed?.message).toContain('stripe:443 is TLS: only policies of connections act there (docs/tcp.md)');
  });

  it('is not said of connections that speak HTTP beside the others', () => {
    const { opaqueDependencies, summary } = statusWith([found(STRIPE, { alsoHttp: true, sidecars: 2 })]);
    expect(summary).toContain('stripe:443 is TLS, beside HTTP, in 2 of 3');
    expect(opaqueDependencies?.at(-1)?.alsoHttp).toBe(true);
  });
});
