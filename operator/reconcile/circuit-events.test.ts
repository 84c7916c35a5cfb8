import { expect, test } from 'vitest';
import type { CircuitSummary } from '../distribute/acknowledgements.ts';
import type { WorldSource } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';

function circuit(over: Partial<CircuitSummary> = {}): CircuitSummary {
  return {
    dependencyId: 'shop/checkout/payments',
    stateKey: 'circuitBreaker:base',
    state: 'Open',
    sidecars: 1,
    totalSidecars: 12,
    sinceUnixMs: 1,
    failingSinceUnixMs: 1,
    nextProbeUnixMs: 30_001,
    reopenings: 0,
    reason: '5 failures in a row',
    ...over,
  };
}

function setUp() {
  const told: string[] = [];
  let now: CircuitSummary[] = [];
  const own = (key: string) => (key === 'ServiceDependency/shop/checkout' ? { uid: 'uid-1' } : undefined);
  const events = new CircuitEvents({ own } as WorldSource, () => now, {
    record: ({ type, reason, regarding, note }) => told.push(`${type} ${reason} ${regarding.uid} ${note}`),
  });
  return {
    told,
    see: (...circuits: CircuitSummary[]): void => {
      now = circuits;
      events.compare();
    },
  };
}

test('tells when a circuit opens anywhere first, and when nobody holds it open any more', () => {
  const { told, see } = setUp();
  see(circuit());
  see(circuit({ sidecars: 2 }));
  see(circuit({ state: 'HalfOpen' }));
  see(circuit({ sidecars: 1 }), circuit({ state: 'HalfOpen' }));
  expect(told).toEqual([
    'Warning CircuitOpened uid-1 The circuit of payments opened: 5 failures in a row. Its calls are refused until the service answers again.',
  ]);
  see();
  expect(told.at(-1)).toBe('Normal CircuitClosed uid-1 No sidecar holds the circuit of payments open any more.');
  see(circuit());
  expect(told).toHaveLength(3);
});

test('names the rule where it is not the base', () => {
  const { told, see } = setUp();
  see(circuit({ stateKey: 'circuitBreaker:shop/payments/charge', reason: '' }));
  expect(told[0]).toContain('The circuit of payments (shop/payments/charge) opened. Its calls');
});

test('says nothing of circuits whose object is gone, nor of one that was only ever half open', () => {
  const { told, see } = setUp();
  see(circuit({ dependencyId: 'shop/gone/payments' }), circuit({ state: 'HalfOpen', stateKey: 'circuitBreaker:x' }));
  see();
  expect(told).toEqual([]);
});
