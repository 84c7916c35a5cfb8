import { describe, expect, test } from 'vitest';
import {
  type Authority,
  dueForRenewal,
  issuingAuthority,
  LIFETIMES,
  nextStep,
  type PartialState,
  type Serving,
} from './decide.ts';

const DAY_MS = 86_400_000;
const NAMES = ['breakwater-operator.breakwater-system.svc', 'localhost', '127.0.0.1'];

const authority = (id: string, notBeforeUnixMs: number): Authority => ({
  id,
  certificate: id,
  privateKey: id,
  notBeforeUnixMs,
  notAfterUnixMs: notBeforeUnixMs + LIFETIMES.authorityMs,
});
const serving = (issuer: string, notBeforeUnixMs: number): Serving => ({
  ...authority('s', notBeforeUnixMs),
  notAfterUnixMs: notBeforeUnixMs + LIFETIMES.servingMs,
  issuer,
  names: [...NAMES],
});

describe('what is due', () => {
  const start = 1_700_000_000_000;
  const complete = (over: Partial<PartialState> = {}): PartialState => ({
    authorities: [authority('a', start)],
    serving: serving('a', start),
    ...over,
  });

  test('nothing, while everything is fresh', () => {
    expect(nextStep(complete(), NAMES, start + DAY_MS)).toBeUndefined();
  });

  test('first an authority, then what it signs', () => {
    expect(nextStep({ authorities: [], serving: undefined }, NAMES, start)).toMatchObject({ kind: 'AddAuthority' });
    expect(nextStep(complete({ serving: undefined }), NAMES, start)).toMatchObject({
      kind: 'IssueServing',
      issuer: 'a',
    });
  });

  test('renewal from two thirds of the life on', () => {
    expect(dueForRenewal(serving('a', start), 2 / 3, start + 60 * DAY_MS - 1)).toBe(false);
    expect(nextStep(complete(), NAMES, start + 60 * DAY_MS - 1)).toBeUndefined();
    expect(nextStep(complete(), NAMES, start + 60 * DAY_MS)).toMatchObject({ kind: 'IssueServing' });
  });

  test('other names, in any number', () => {
    expect(nextStep(complete(), NAMES.slice(1), start)).toMatchObject({
      kind: 'IssueServing',
      because: 'its names changed',
    });
  });

  test('a new authority is announced for a week before it signs', () => {
    const later = start + LIFETIMES.authorityMs * 0.4;
    const old = authority('a', start);
    const young = authority('b', later - LIFETIMES.backdateMs);
    expect(nextStep(complete({ serving: serving('a', later) }), NAMES, later)).toMatchObject({ kind: 'AddAuthority' });
    const both = complete({ authorities: [young, old], serving: serving('a', later) });
    expect(nextStep(both, NAMES, later + LIFETIMES.overlapMs - 1)).toBeUndefined();
    expect(nextStep(both, NAMES, later + LIFETIMES.overlapMs)).toMatchObject({ kind: 'IssueServing', issuer: 'b' });
  });

  test('an authority leaves the bundle only when it expired', () => {
    const end = start + LIFETIMES.authorityMs;
    const young = authority('b', end - 100 * DAY_MS);
    const both = complete({ authorities: [young, authority('a', start)], serving: serving('b', end - DAY_MS) });
    expect(nextStep(both, NAMES, end - 1)).toBeUndefined();
    expect(nextStep(both, NAMES, end)).toMatchObject({ kind: 'DropAuthority', id: 'a' });
  });

  test('after a long sleep the only valid one signs, announced or not', () => {
    const end = start + LIFETIMES.authorityMs;
    const young = authority('b', end - 1000);
    expect(issuingAuthority([young, authority('a', start)], end)).toBe(young);
    expect(issuingAuthority([authority('a', start)], end)).toBeUndefined();
  });
});
