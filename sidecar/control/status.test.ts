import { expect, it } from 'vitest';
import { statusLines } from './status.ts';

const facts = {
  ready: true,
  reason: 'plan v1 is in force',
  planVersion: 'v1',
  planStreamUp: true,
  endpointsVersion: 'e1',
  endpointsStreamUp: true,
  endpointsConfirmed: true,
  locallyDisabled: false,
  circuits: [
    {
      dependency: 'shop/checkout/payments',
      stateKey: 'base',
      state: 'Closed',
      sinceUnixMs: 0,
      failingSinceUnixMs: null,
      nextProbeUnixMs: null,
      reopenings: 0,
      reason: '',
      enforced: true,
    } as const,
  ],
};

it('tells a healthy sidecar in five lines', () => {
  expect(statusLines(facts, 0)).toEqual([
    'policies:  enabled',
    'readiness: ready: plan v1 is in force',
    'plan:      version v1, stream up',
    'endpoints: version e1, stream up',
    'circuits:  0 of 1 not closed',
  ]);
});

it('tells what is wrong', () => {
  const lines = statusLines(
    {
      ...facts,
      locallyDisabled: true,
      planVersion: null,
      planStreamUp: false,
      endpointsStreamUp: false,
      endpointsConfirmed: false,
      circuits: [
        ...facts.circuits,
        {
          dependency: 'shop/checkout/stock',
          stateKey: 'charge',
          state: 'Open',
          sinceUnixMs: 1_000,
          failingSinceUnixMs: 1_000,
          nextProbeUnixMs: 31_000,
          reopenings: 0,
          enforced: true,
          reason: '5 consecutive failures',
        },
      ],
    },
    13_400,
  );
  expect(lines).toEqual([
    'policies:  DISABLED in this sidecar (`breakwater enable` ends it)',
    'readiness: ready: plan v1 is in force',
    'plan:      none yet, stream DOWN',
    'endpoints: version e1, stream DOWN, from disk and not confirmed yet',
    'circuits:  1 of 2 not closed',
    '  shop/checkout/stock (charge): Open for 12 s: 5 consecutive failures; next probe in 18 s',
  ]);
});
