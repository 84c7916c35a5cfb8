import { array, assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import {
  type DnsAnswer,
  MAX_ADDRESSES,
  NameState,
  NEGATIVE_GRACE_MS,
  TTL_CEILING_MS,
  TTL_FLOOR_MS,
} from './name-state.ts';

const none = () => 0;
const found = (ttlMs: number, ...addresses: string[]): DnsAnswer => ({ kind: 'addresses', addresses, ttlMs });
const gone: DnsAnswer = { kind: 'no-address', detail: 'NXDOMAIN' };
const failed: DnsAnswer = { kind: 'failure', detail: 'SERVFAIL' };

describe('when the next query is due', () => {
  it.each([
    ['at once', null, 0],
    ['after the TTL', found(30_000, '10.0.0.1'), 30_000],
    ['never sooner than the floor', found(0, '10.0.0.1'), TTL_FLOOR_MS],
    ['never later than the ceiling', found(86_400_000, '10.0.0.1'), TTL_CEILING_MS],
    ['soon after a failure', failed, 1_000],
    ['soon after no address', gone, 1_000],
  ])('%s', (_name, answer, expectedMs) => {
    const state = new NameState(100, none);
    if (answer) state.take(answer, 100);
    expect(state.nextAtMs).toBe(100 + expectedMs);
  });

  it('ever later while it fails, up to a bound, and soon again after a success', () => {
    const state = new NameState(0, none);
    const delays = Array.from({ length: 8 }, () => {
      state.take(failed, 0);
      return state.nextAtMs;
    });
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    state.take(found(5_000, '10.0.0.1'), 0);
    state.take(failed, 0);
    expect(state.nextAtMs).toBe(1_000);
  });
});

describe('what is known', () => {
  it('is nothing before the first answer, and stays nothing while DNS fails', () => {
    const state = new NameState(0, none);
    expect(state.take(failed, 0)).toBe(false);
    expect([state.addresses, state.problem]).toEqual([null, 'SERVFAIL']);
  });

  it('outlives every failure of DNS', () => {
    const state = new NameState(0, none);
    state.take(found(5_000, '10.0.0.1'), 0);
    expect(state.take(failed, 86_400_000)).toBe(false);
    expect(state.addresses).toEqual(['10.0.0.1']);
    expect(state.problem).toBe('SERVFAIL');
  });

  it('outlives an empty answer for a bounded time', () => {
    const state = new NameState(0, none);
    state.take(found(5_000, '10.0.0.1'), 0);
    expect(state.take(gone, 10_000)).toBe(false);
    expect(state.take(failed, 20_000)).toBe(false);
    expect(state.take(gone, 10_000 + NEGATIVE_GRACE_MS - 1)).toBe(false);
    expect(state.addresses).toEqual(['10.0.0.1']);
    expect(state.take(gone, 10_000 + NEGATIVE_GRACE_MS)).toBe(true);
    expect(state.addresses).toEqual([]);
  });

  it('is that there is none where DNS says so at first', () => {
    const state = new NameState(0, none);
    expect(state.take(gone, 0)).toBe(true);
    expect(state.addresses).toEqual([]);
    expect(state.take(gone, 5_000)).toBe(false);
    expect(state.take(found(5_000, '10.0.0.1'), 6_000)).toBe(true);
  });

  it('does not change when the answer only comes in another order', () => {
    const state = new NameState(0, none);
    state.take(found(5_000, '10.0.0.2', '10.0.0.1', '10.0.0.2'), 0);
    const { addresses } = state;
    expect(state.take(found(5_000, '10.0.0.1', '10.0.0.2'), 5_000)).toBe(false);
    expect(state.addresses).toBe(addresses);
  });

  it('is bounded', () => {
    const state = new NameState(0, none);
    state.take(found(5_000, ...Array.from({ length: 1_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)), 0);
    expect(state.addresses).toHaveLength(MAX_ADDRESSES);
  });
});

it('whatever comes: the next query lies ahead, within bounds, and addresses go only after the grace', () => {
  const answers = oneof(
    record({
      kind: constantFrom('addresses' as const),
      addresses: array(constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3'), { minLength: 1 }),
      ttlMs: integer({ min: 0, max: 2 ** 31 }),
    }),
    constantFrom(gone, failed),
  );
  assert(
    property(
      array(record({ answer: answers, afterMs: integer({ min: 0, max: 400_000 }) }), { maxLength: 60, size: 'max' }),
      integer(),
      (steps, seed) => {
        const state = new NameState(0, seededRandom(seed));
        let nowMs = 0;
        let lastFoundMs = Number.NEGATIVE_INFINITY;
        for (const { answer, afterMs } of steps) {
          nowMs += afterMs;
          const before = JSON.stringify(state.addresses);
          const changed = state.take(answer, nowMs);
          expect(changed).toBe(JSON.stringify(state.addresses) !== before);
          if (answer.kind === 'addresses') lastFoundMs = nowMs;
          if (nowMs - lastFoundMs < NEGATIVE_GRACE_MS) expect(state.addresses?.length).toBeGreaterThan(0);
          const delayMs = state.nextAtMs - nowMs;
          expect(delayMs).toBeGreaterThanOrEqual(1_000);
          expect(delayMs).toBeLessThanOrEqual(TTL_CEILING_MS * 1.1);
        }
      },
    ),
  );
});
