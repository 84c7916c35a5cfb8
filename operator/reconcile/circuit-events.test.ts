import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { serviceDependency, world } from '../compile/testing.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import type { OwnObject } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';

function circuit(over: Partial<CircuitSummary> = {}): CircuitSummary {
  return {
    dependencyId: 'shop/checkout/payments',
    stateKey: 'circuitBreaker:base',
    state: 'Open',
    sidecars: 1,
    totalSidecars: 12,
    sinceUnixMs: 1_700_000_000_000,
    failingSinceUnixMs: 1_700_000_000_000,
    nextProbeUnixMs: 1_700_000_030_000,
    reopenings: 0,
    reason: '5 consecutive failures (last: ConnectFailure)',
    ...over,
  };
}

function setUp(status?: unknown) {
  const clock = new ManualClock();
  const told: { atMs: number; text: string }[] = [];
  let now: readonly CircuitSummary[] = [];
  const known = world([serviceDependency('checkout')]);
  const [model] = known.serviceDependencies;
  if (model === undefined) throw new Error('no model');
  const object: OwnObject = {
    kind: 'ServiceDependency',
    namespace: 'shop',
    name: 'checkout',
    uid: 'uid-1',
    generation: 1,
    content: { model },
    status,
  };
  const events = new CircuitEvents({
    source: { world: () => known, own: (key) => (key === 'ServiceDependency/shop/checkout' ? object : undefined) },
    circuits: () => now,
    events: {
      record: ({ type, reason, regarding, note }) => {
        expect(regarding.uid).toBe('uid-1');
        told.push({ atMs: clock.monotonicMs(), text: `${type} ${reason}: ${note}` });
      },
    },
    clock,
  });
  return {
    clock,
    told,
    events,
    see: (...circuits: readonly CircuitSummary[]): void => {
      now = circuits;
      events.compare();
    },
    reasons: () => told.map(({ text }) => / (\w+):/.exec(text)?.[1]),
  };
}

test('tells of all sidecars together that a circuit opened, why and where to look, and what becomes of it', async () => {
  const { clock, told, see } = setUp();
  see(circuit());
  await clock.advance(400);
  see(circuit({ sidecars: 3 }));
  expect(told).toEqual([]);
  await clock.advance(600);
  expect(told.map(({ text }) => text)).toEqual([
    'Warning CircuitOpened: The circuit of shop/checkout/payments opened in 3 of 12 sidecars: 5 consecutive failures (last: ConnectFailure). ' +
      'Its calls are answered 503 circuit-open until probes succeed. Look at Service shop/payments, its endpoints, its pods and their logs; ' +
      'status.circuits says when it is probed next.',
  ]);
  see(circuit({ sidecars: 2 }), circuit({ state: 'HalfOpen' }));
  expect(told).toHaveLength(1);
  see(circuit({ sidecars: 3, state: 'HalfOpen' }));
  expect(told.at(-1)?.text).toBe(
    'Normal CircuitHalfOpen: The circuit of shop/checkout/payments is half-open in 3 of 12 sidecars: calls are let through as probes, and close it when they succeed.',
  );
  see(circuit({ reason: 'a probe failed (Reset)' }));
  expect(told.at(-1)?.text).toMatch(
    /^Warning CircuitOpened: .* opened again in 1 of 12 sidecars: a probe failed \(Reset\)\. /,
  );
  await clock.advance(59_000);
  see();
  expect(told.at(-1)?.text).toBe(
    'Normal CircuitClosed: The circuit of shop/checkout/payments is closed in all sidecars after 61 s: its calls pass again.',
  );
  expect(told).toHaveLength(4);
});

test('tells that a policy forces a circuit, over whatever it was, and that it no longer does', async () => {
  const { clock, told, see } = setUp();
  const forced = { reason: 'the policy forces it open', reopenings: 0 };
  see(circuit(), circuit({ ...forced, state: 'ForcedOpen', sidecars: 2 }));
  await clock.advance(900);
  see(circuit({ ...forced, state: 'ForcedOpen', sidecars: 12 }));
  await clock.advance(1_000);
  expect(told.map(({ text }) => text)).toEqual([
    'Warning CircuitForcedOpen: The circuit of shop/checkout/payments is forced open by its policy in 12 of 12 sidecars. ' +
      'Its calls are answered 503 circuit-open until circuitBreaker.force is removed or Closed.',
  ]);
  see(circuit({ state: 'ForcedClosed', sidecars: 12 }), circuit({ state: 'HalfOpen' }));
  await clock.advance(1_000);
  expect(told.at(-1)?.text).toBe(
    'Normal CircuitForcedClosed: The circuit of shop/checkout/payments is forced closed by its policy in 12 of 12 sidecars. ' +
      'Its calls pass, and no failure opens it until circuitBreaker.force is removed.',
  );
  see();
  expect(told.at(-1)?.text).toBe(
    'Normal CircuitClosed: The circuit of shop/checkout/payments is no longer forced in any sidecar: its calls decide again.',
  );
  expect(told).toHaveLength(3);
});

test('knows after a restart from the status that a circuit was forced', async () => {
  const { clock, told, see } = setUp({
    circuits: [
      { dependency: 'payments', rule: 'base', state: 'HalfOpen' },
      { dependency: 'payments', rule: 'base', state: 'ForcedOpen' },
    ],
  });
  see(circuit({ state: 'ForcedOpen' }));
  await clock.advance(20_000);
  expect(told).toEqual([]);
  see();
  expect(told[0]?.text).toContain('is no longer forced in any sidecar');
});

test('keeps quiet about a circuit in shadow', async () => {
  const { clock, told, see } = setUp();
  see(circuit({ stateKey: 'shadow.circuitBreaker:base' }));
  await clock.advance(60_000);
  expect(told).toEqual([]);
});

test('names the rule where it is not the base', async () => {
  const { clock, told, see } = setUp();
  see(circuit({ stateKey: 'circuitBreaker:shop/payments/charge', reason: '' }));
  await clock.advance(1_000);
  expect(told[0]?.text).toContain(
    'The circuit of shop/checkout/payments (shop/payments/charge) opened in 1 of 12 sidecars. Its',
  );
});

test('an opening that is over before it is told was one all the same', async () => {
  const { clock, reasons, see } = setUp();
  see(circuit());
  see();
  await clock.advance(10_000);
  expect(reasons()).toEqual(['CircuitOpened', 'CircuitClosed']);
});

test('says nothing of circuits whose object is gone, nor of one that was only ever half-open', async () => {
  const { clock, told, see } = setUp();
  see(circuit({ dependencyId: 'shop/gone/payments' }), circuit({ state: 'HalfOpen', stateKey: 'circuitBreaker:x' }));
  await clock.advance(5_000);
  see();
  await clock.advance(5_000);
  expect(told).toEqual([]);
});

test('a circuit that flaps does not flood, and its last state is told', async () => {
  const { clock, told, see, reasons, events } = setUp();
  for (let second = 0; second < 600; second += 1) {
    see(...(second % 2 === 0 ? [circuit()] : []));
    await clock.advance(1_000);
  }
  const minutes = 10;
  expect(told.length).toBeGreaterThan(6);
  expect(told.length).toBeLessThanOrEqual(6 + minutes);
  expect(told.at(-1)?.text).toContain('It changes faster than Events tell');
  see(circuit());
  await clock.advance(120_000);
  expect(reasons().at(-1)).toBe('CircuitOpened');
  see();
  await clock.advance(60_000);
  expect(reasons().at(-1)).toBe('CircuitClosed');
  events.stop();
  expect(clock.timers).toBe(0);
});

test('probes that fail for hours leave room to tell the end at once', async () => {
  const { clock, reasons, see, told } = setUp();
  see(circuit());
  await clock.advance(2_000);
  for (let round = 0; round < 100; round += 1) {
    see(circuit({ state: 'HalfOpen' }));
    await clock.advance(500);
    see(circuit({ reason: 'a probe failed (ConnectFailure)' }));
    await clock.advance(4_500);
  }
  const before = told.length;
  expect(before).toBeLessThanOrEqual(6 + 9);
  see();
  expect(told).toHaveLength(before + 1);
  expect(reasons().at(-1)).toBe('CircuitClosed');
});

test('whatever happens, the last state is told in the end, and Events alternate', async () => {
  const state = fc.constantFrom('Open' as const, 'HalfOpen' as const, 'Closed' as const);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(state, fc.integer({ min: 0, max: 90_000 })), { maxLength: 60, size: 'max' }),
      async (steps) => {
        const { clock, see, reasons } = setUp();
        let seenOpen = false;
        for (const [next, waitMs] of steps) {
          see(...(next === 'Closed' ? [] : [circuit({ state: next })]));
          seenOpen ||= next === 'Open';
          await clock.advance(waitMs);
        }
        await clock.advance(600_000);
        const last = steps.at(-1)?.[0] ?? 'Closed';
        const expected = { Open: 'CircuitOpened', HalfOpen: 'CircuitHalfOpen', Closed: 'CircuitClosed' }[last];
        const all = reasons();
        if (seenOpen && !(last === 'HalfOpen' && all.at(-1) === 'CircuitClosed')) expect(all.at(-1)).toBe(expected);
        for (const [index, reason] of all.entries()) if (index > 0) expect(reason).not.toBe(all[index - 1]);
        expect(clock.timers).toBe(0);
      },
    ),
  );
});

const status = { circuits: [{ dependency: 'payments', rule: 'charge', state: 'Open', sidecars: 1 }] };

test('an operator that starts again does not tell again what its status says', async () => {
  const { clock, told, see, reasons } = setUp(status);
  see();
  await clock.advance(5_000);
  see(circuit({ stateKey: 'circuitBreaker:shop/payments/charge' }));
  await clock.advance(60_000);
  expect(told).toEqual([]);
  see();
  expect(reasons()).toEqual(['CircuitClosed']);
});

test('… and tells what ended while it was away, once the sidecars had time to come back', async () => {
  const { clock, told, see, events } = setUp(status);
  see();
  await clock.advance(9_000);
  expect(told).toEqual([]);
  await clock.advance(1_000);
  expect(told.map(({ text }) => text)).toEqual([
    'Normal CircuitClosed: The circuit of shop/checkout/payments (charge) is closed in all sidecars: its calls pass again.',
  ]);
  events.stop();
  expect(clock.timers).toBe(0);
});

test.each([['x'], [null], [{ circuits: 'x' }], [{ circuits: [null, { dependency: 1 }, { state: 'Open' }] }]])(
  'a status that somebody else wrote, %j, says nothing',
  async (written) => {
    const { clock, reasons, see } = setUp(written);
    see(circuit());
    await clock.advance(1_000);
    expect(reasons()).toEqual(['CircuitOpened']);
  },
);
