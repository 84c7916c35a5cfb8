import { describe, expect, it } from 'vitest';
import { type BenchCase, CASES } from './cases.ts';
import { type LoadSummary, whyVoid } from './load.ts';

const [get] = CASES as [BenchCase, ...BenchCase[]];

describe('a slice of load', () => {
  const good: LoadSummary = {
    requests: 73_821,
    durationMicros: 3_000_071,
    bytes: 91_741_000,
    p50Micros: 1190,
    p99Micros: 4021,
    socketErrors: 0,
    timeouts: 0,
    badStatuses: 0,
  };

  it('counts where every answer was right', () => {
    expect(whyVoid(good, get)).toBeUndefined();
  });

  it.each([
    [{ badStatuses: 3 }, '3 of 73821 answers had a status of 400 or more'],
    [{ socketErrors: 1 }, '1 connections failed'],
    [{ timeouts: 2 }, '2 requests took longer'],
    [{ requests: 0, bytes: 0 }, 'no request'],
    [{ bytes: 73_821 * 200 }, 'answers had 200 bytes instead of 1024'],
  ])('is void with %j', (wrong, reason) => {
    expect(whyVoid({ ...good, ...wrong }, get)).toContain(reason);
  });
});
