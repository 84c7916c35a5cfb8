import { describe, expect, it } from 'vitest';
import { type Account, violations } from './judge.ts';

const FIRST = { connection: 0, method: 'POST', target: '/first', length: 5, id: 'a', complete: true };
const SEEN = { method: 'POST', target: '/first', length: 5, id: 'a', complete: true };
const ANSWER = { status: 200, seen: '/first', reason: '' };
const account = (changes: Partial<Account>): string[] =>
  violations({
    forwarded: [FIRST],
    broken: [],
    seen: [SEEN],
    answersEarly: false,
    answers: [ANSWER],
    nonsense: [],
    ...changes,
  });

describe('the two accounts', () => {
  it('are equal', () => {
    expect(account({})).toEqual([]);
    expect(account({ forwarded: [], seen: [], answers: [{ status: 400, seen: null, reason: 'malformed' }] })).toEqual(
      [],
    );
  });

  it.each<[string, Partial<Account>, string]>([
    ['a request that was slipped in', { seen: [SEEN, { ...SEEN, target: '/smuggled', id: '' }] }, 'did not forward'],
    ['a request that was slipped in and refused', { seen: [SEEN, { ...SEEN, id: '', complete: false }] }, 'refused 1'],
    ['a request that was seen twice', { seen: [SEEN, SEEN] }, 'did not forward'],
    ['another method', { seen: [{ ...SEEN, method: 'GET' }] }, 'the server saw GET'],
    ['another target', { seen: [{ ...SEEN, target: '/' }] }, 'the server saw POST / with'],
    ['another length', { seen: [{ ...SEEN, length: 4 }] }, 'with 4 bytes'],
    ['a part for the whole', { forwarded: [{ ...FIRST, complete: false }] }, 'cut off'],
    ['an answer to nothing that was seen', { seen: [] }, 'never saw it whole'],
    ['an answer that belongs to another', { answers: [{ ...ANSWER, seen: '/other' }] }, 'answered as /other'],
    ['an answer too many', { answers: [ANSWER, ANSWER] }, 'belongs to no request'],
    ['a wait for more', { answers: [{ status: 504, seen: null, reason: 'deadline' }] }, 'waits for more'],
    ['bytes that are no request', { broken: ['x'] }, 'no request'],
    ['bytes that are no answer', { nonsense: ['"x" for a status line'] }, 'the application got'],
  ])('differ by %s', (_name, changes, sentence) => {
    expect(account(changes).join('; ')).toContain(sentence);
  });

  it('may differ in the content that a server did not wait for', () => {
    const cut = { forwarded: [{ ...FIRST, complete: false, length: 3 }] };
    expect(account({ ...cut, answersEarly: true })).toEqual([]);
  });
});
