import { array, assert, integer, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { queryNames, readResolvConf } from './resolv-conf.ts';

const IN_A_POD = `search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
`;

describe('readResolvConf', () => {
  it('reads what the kubelet writes', () => {
    expect(readResolvConf(IN_A_POD)).toEqual({
      search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      ndots: 5,
    });
  });

  it.each([
    ['nothing', '', [], 1],
    ['a comment and a domain', '# search a\ndomain example.com\n', ['example.com'], 1],
    ['the last of several', 'domain a\nsearch b. c\n', ['b', 'c'], 1],
    ['options on one line', 'options timeout:1 ndots:2 edns0', [], 2],
    ['ndots beyond its bound', 'options ndots:99', [], 15],
    ['ndots that is none', 'options ndots:x ndots:-1', [], 1],
  ])('%s', (_name, text, search, ndots) => {
    expect(readResolvConf(text)).toEqual({ search, ndots });
  });
});

describe('queryNames', () => {
  const inAPod = readResolvConf(IN_A_POD);

  it.each([
    [
      'payments',
      ['payments.shop.svc.cluster.local', 'payments.svc.cluster.local', 'payments.cluster.local', 'payments'],
    ],
    [
      'payments.billing.svc',
      [
        'payments.billing.svc.shop.svc.cluster.local',
        'payments.billing.svc.svc.cluster.local',
        'payments.billing.svc.cluster.local',
        'payments.billing.svc',
      ],
    ],
    ['api.example.com.', ['api.example.com']],
  ])('%s in a pod', (name, names) => {
    expect(queryNames(name, inAPod)).toEqual(names);
  });

  it('asks for a name of many dots as it stands first', () => {
    expect(queryNames('a.b', { search: ['c'], ndots: 1 })).toEqual(['a.b', 'a.b.c']);
  });

  it('never asks for what is no name, and always ends', () => {
    assert(
      property(
        string({ maxLength: 300 }),
        array(string({ maxLength: 300 })),
        integer({ min: 0, max: 20 }),
        (name, lines, ndots) => {
          const conf = readResolvConf(`${lines.join('\n')}\noptions ndots:${ndots}`);
          const names = queryNames(name, conf);
          expect(names.length).toBeLessThanOrEqual(33);
          for (const each of names) expect(each.length).toSatisfy((length: number) => length > 0 && length <= 253);
        },
      ),
    );
  });
});
