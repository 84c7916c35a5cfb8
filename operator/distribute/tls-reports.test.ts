import { expect, it } from 'vitest';
import { circuitReport } from '../../plan/wire.ts';
import { Sessions } from './acknowledgements.ts';
import type { PlanSnapshot } from './snapshots.ts';

const plan: PlanSnapshot = {
  workloadId: 'shop/checkout',
  version: 'v1',
  frame: Buffer.alloc(0),
  publishedAtMs: 0,
  circuits: new Map(),
  exclusions: new Map(),
  tlsHosts: new Set(['shop/checkout/partner']),
  endpointKeys: [],
};
const planOf = () => plan;
const pod = (nth: number) => ({ namespace: 'shop', name: `checkout-${nth}`, uid: `uid-${nth}` });
const trouble = (certificates: string[], handshake = '', dependency = 'shop/checkout/partner') => ({
  dependency,
  certificates,
  handshake,
});

it('adds up what sidecars say of each host, and trusts none beyond its plan', () => {
  const sessions = new Sessions();
  for (let nth = 0; nth < 3; nth++) sessions.opened(pod(nth), plan.workloadId, 'plan', 0);
  const report = (nth: number, ...tls: ReturnType<typeof trouble>[]) =>
    sessions.report(pod(nth), plan, { circuits: [], tls }, 0);
  expect(report(0, trouble(['no key\u0007\nhere', 'no key here'], 'expired'))).toBe(true);
  expect(report(0, trouble(['no key here', 'no key here'], 'expired'))).toBe(false);
  report(1, trouble(['no key here']), trouble(['mine'], '', 'other/workload/partner'));
  expect(sessions.tls(planOf)).toEqual([
    {
      dependencyId: 'shop/checkout/partner',
      of: 'certificates',
      message: 'no key here',
      sidecars: 2,
      totalSidecars: 3,
    },
    { dependencyId: 'shop/checkout/partner', of: 'handshake', message: 'expired', sidecars: 1, totalSidecars: 3 },
  ]);
  expect(sessions.tls(() => ({ ...plan, tlsHosts: new Set() }))).toEqual([]);
  expect(report(0)).toBe(true);
  report(1);
  expect(sessions.tls(planOf)).toEqual([]);
});

it('takes a report without it, as earlier sidecars send it, and none beyond its bounds', () => {
  expect(circuitReport.safeParse({ circuits: [] }).success).toBe(true);
  expect(circuitReport.safeParse({ circuits: [], tls: [trouble(['x'])] }).success).toBe(true);
  expect(circuitReport.safeParse({ circuits: [], tls: [trouble(Array.from({ length: 11 }, () => 'x'))] }).success).toBe(
    false,
  );
  expect(circuitReport.safeParse({ circuits: [], tls: [trouble(['x'.repeat(513)])] }).success).toBe(false);
});
