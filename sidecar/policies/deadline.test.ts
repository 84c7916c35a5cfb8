import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLOCK_SKEW_MS,
  DeadlineEffect,
  deadlineEffect,
  deadlineText,
  earlierDeadline,
  effectiveDeadlineMs,
  parseDeadline,
  STALE_AFTER_MS,
  toldDeadlineUnixMs,
} from './deadline.ts';

const NEVER = Number.POSITIVE_INFINITY;
const UNIX = 1_764_090_000_000;

describe('a received deadline', () => {
  it.each([
    ['1764090000123', 1_764_090_000_123],
    ['0', 0],
    ['', Number.NaN],
    ['-1', Number.NaN],
    ['1.5', Number.NaN],
    ['1e3', Number.NaN],
    ['0x10', Number.NaN],
    [' 1', Number.NaN],
    ['9999999999999999', Number.NaN],
  ])('is read of %j as %j', (text, unixMs) => expect(parseDeadline(text)).toBe(unixMs));

  it.each([
    [-1, -1, -1],
    [5, -1, 5],
    [-1, 5, 5],
    [5, 6, 5],
    [6, 5, 5],
    [0, -1, 0],
    [-1, 0, 0],
    [5, 0, 0],
    [0, 5, 0],
    [Number.NaN, 5, 5],
    [5, Number.NaN, 5],
    [Number.NaN, -1, Number.NaN],
    [-1, Number.NaN, Number.NaN],
  ])('of %j and %j is %j', (one, other, earlier) => expect(earlierDeadline(one, other)).toBe(earlier));

  it.each([
    ['shortens', UNIX + 1_000, 2_000, DeadlineEffect.shortened],
    ['shortens what has no deadline', UNIX + 1_000, NEVER, DeadlineEffect.shortened],
    ['never lengthens', UNIX + 5_000, 2_000, DeadlineEffect.later],
    ['leaves clocks their difference', UNIX + 1_000, 1_000 + CLOCK_SKEW_MS, DeadlineEffect.later],
    ['that has just passed ends the call', UNIX - CLOCK_SKEW_MS, NEVER, DeadlineEffect.shortened],
    ['that passed at most a second ago does too', UNIX - STALE_AFTER_MS, NEVER, DeadlineEffect.shortened],
    ['that passed before that is a copy', UNIX - STALE_AFTER_MS - 1, NEVER, DeadlineEffect.stale],
    ['that is none is none', Number.NaN, NEVER, DeadlineEffect.invalid],
  ])('%s', (_what, receivedUnixMs, ownInMs, effect) =>
    expect(deadlineEffect(receivedUnixMs, 500 + ownInMs, UNIX, 500)).toBe(effect),
  );

  it('only ever shortens, by what is left of it and the difference of clocks', () => {
    const moment = fc.integer({ min: 0, max: 10_000_000 });
    fc.assert(
      fc.property(
        moment,
        moment,
        fc.integer({ min: -5_000, max: 100_000 }),
        fc.nat({ max: 100_000 }),
        (unixMs, nowMs, inMs, ownInMs) => {
          const receivedUnixMs = unixMs + inMs;
          if (receivedUnixMs < 0) return;
          const ownMs = nowMs + ownInMs;
          const effect = deadlineEffect(receivedUnixMs, ownMs, unixMs, nowMs);
          const effectiveMs = effectiveDeadlineMs(receivedUnixMs, unixMs, nowMs);
          expect(effectiveMs).toBe(nowMs + inMs + CLOCK_SKEW_MS);
          expect(effect === DeadlineEffect.shortened).toBe(effectiveMs < ownMs && inMs >= -STALE_AFTER_MS);
        },
      ),
    );
  });

  it('is told on as it is, however many hops it takes: the allowance for clocks does not add up', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: UNIX, max: UNIX + 60_000 }),
        fc.array(fc.nat({ max: 2_000 }), { maxLength: 8 }),
        (first, hops) => {
          let told = first;
          let unixMs = UNIX;
          for (const hopMs of hops) {
            unixMs += hopMs;
            const nowMs = unixMs - 77;
            const endMs = Math.min(nowMs + 3_600_000, effectiveDeadlineMs(told, unixMs, nowMs));
            told = toldDeadlineUnixMs(endMs, told, unixMs, nowMs);
          }
          expect(told).toBe(first);
        },
      ),
    );
  });
});

describe('what an attempt tells', () => {
  it.each([
    ['its own end', 1_500.7, -1, UNIX + 1_000],
    ['what it was told, where that is sooner', 1_500, UNIX + 300, UNIX + 300],
    ['what it was told, be it the first moment of all', 1_500, 0, 0],
    ['no more than its own', 1_500, UNIX + 9_000, UNIX + 1_000],
    ['what it was told, where it has no end of its own', NEVER, UNIX + 300, UNIX + 300],
    ['nothing where nothing ends it', NEVER, -1, -1],
  ])('is %s', (_what, endMs, receivedUnixMs, told) =>
    expect(toldDeadlineUnixMs(endMs, receivedUnixMs, UNIX, 500)).toBe(told),
  );

  it('is written in decimal digits', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat({ max: 5_000 }), fc.integer({ min: UNIX, max: UNIX + 5_000 }), fc.maxSafeNat()),
        (unixMs) => {
          expect(deadlineText(unixMs)).toBe(String(unixMs));
        },
      ),
    );
  });
});
