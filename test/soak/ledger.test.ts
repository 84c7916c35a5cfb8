import { describe, expect, it } from 'vitest';
import { Ledger } from './ledger.ts';

describe('the ledger', () => {
  it('counts what ended once, and finds nothing wrong in it', () => {
    const ledger = new Ledger();
    const id = ledger.begin('HTTP/1.1', true, 0);
    ledger.executed(id);
    ledger.end(id, 'right');
    expect([ledger.finished, ledger.open, ledger.violations]).toEqual([1, 0, []]);
    expect([...ledger.outcomes]).toEqual([['HTTP/1.1 right', 1]]);
  });

  it.each<[string, (ledger: Ledger, id: string) => void, RegExp]>([
    ['an end too many', (ledger, id) => [1, 2].forEach(() => ledger.end(id, 'broken')), /ended a second time/],
    ['a run too many', (ledger, id) => [1, 2].forEach(() => ledger.executed(id)), /ran 2 times/],
    ['an answer to what never ran', (ledger, id) => ledger.end(id, 'right'), /never ran/],
    ['a wrong answer', (ledger, id) => ledger.end(id, 'wrong: 3 bytes'), /wrong: 3 bytes/],
    ['no end', (ledger) => ledger.overdue(10_000, 10_000), /no end for 10 s/],
  ])('finds %s', (_name, act, message) => {
    const ledger = new Ledger();
    act(ledger, ledger.begin('gRPC', true, 0));
    expect(ledger.violations).toHaveLength(1);
    expect(ledger.violations[0]).toMatch(message);
  });

  it('lets run twice what may', () => {
    const ledger = new Ledger();
    const id = ledger.begin('HTTP/2', false, 0);
    ledger.executed(id);
    ledger.executed(id);
    ledger.end(id, 'right');
    expect(ledger.violations).toEqual([]);
  });
});
