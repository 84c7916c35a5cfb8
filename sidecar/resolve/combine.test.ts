import { describe, expect, it } from 'vitest';
import { combineFamilies, reachableFamilies } from './combine.ts';
import type { DnsAnswer } from './name-state.ts';

const v4: DnsAnswer = { kind: 'addresses', addresses: ['10.0.0.1'], ttlMs: 1 };
const v6: DnsAnswer = { kind: 'addresses', addresses: ['fd00::1'], ttlMs: 1 };
const none: DnsAnswer = { kind: 'no-address', detail: '' };
const failure: DnsAnswer = { kind: 'failure', detail: '' };

describe('combineFamilies', () => {
  it.each([
    ['the preferred family', v4, v6, true, v4],
    ['the other family where the preferred has no address', none, v6, false, v6],
    ['no address where neither has one', none, none, false, none],
    ['a failure where the other failed, and it might have been there', none, failure, false, failure],
    ['the other family where nothing is known', failure, v6, true, v6],
    ['a failure rather than a change of family', failure, v6, false, failure],
    ['a failure', failure, none, true, failure],
    ['the only family there is', v4, null, true, v4],
  ])('gives %s', (_name, preferred, other, nothingKnown, expected) => {
    expect(combineFamilies(preferred, other, nothingKnown)).toBe(expected);
  });
});

describe('reachableFamilies', () => {
  const lo = [
    { address: '127.0.0.1', internal: true },
    { address: '::1', internal: true },
  ];
  const eth4 = { address: '10.1.0.7', internal: false };
  const eth6 = { address: 'fd00::7', internal: false };
  const link = { address: 'fe80::7', internal: false };
  it.each([
    ['a pod of IPv4', [...lo, eth4, link], '10.1.0.7', [4]],
    ['a pod of IPv6', [...lo, eth6, link], 'fd00::7', [6]],
    ['a pod of both', [...lo, eth4, eth6], '10.1.0.7', [4, 6]],
    ['a pod of both that is known by IPv6', [...lo, eth4, eth6], 'fd00::7', [6, 4]],
    ['a machine without a network', lo, '', [4, 6]],
    ['nothing at all', [], '', [4]],
  ])('of %s', (_name, addresses, podIp, families) => {
    expect(reachableFamilies(addresses, podIp)).toEqual(families);
  });
});
