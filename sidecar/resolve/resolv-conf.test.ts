import { array, assert, constantFrom, integer, oneof, property, string } from 'fast-check';
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

  it('asks for the name itself and for its completions, never for what is no name, and always ends', () => {
    const label = constantFrom('a', 'payments', 'svc', 'x'.repeat(63), '');
    const name = array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
    const line = oneof(
      { weight: 3, arbitrary: array(name, { maxLength: 40, size: 'max' }).map((names) => `search ${names.join(' ')}`) },
      { weight: 1, arbitrary: name.map((each) => `domain ${each}`) },
      { weight: 1, arbitrary: integer({ min: 0, max: 20 }).map((ndots) => `options ndots:${ndots}`) },
      { weight: 1, arbitrary: string({ maxLength: 300, size: 'max' }) },
    );
    const most = { names: 0, completions: 0, characters: 0 };
    assert(
      property(name, array(line), (asked, lines) => {
        const conf = readResolvConf(lines.join('\n'));
        const names = queryNames(asked, conf);
        expect(conf.search.length).toBeLessThanOrEqual(32);
        expect(conf.ndots).toBeLessThanOrEqual(15);
        for (const each of names) expect(each.length).toSatisfy((length: number) => length > 0 && length <= 253);
        if (asked.endsWith('.')) expect(names).toEqual(asked === '.' || asked.length > 254 ? [] : [asked.slice(0, -1)]);
        else {
          const completed = conf.search.map((suffix) => `${asked}.${suffix}`);
          const all = asked.split('.').length - 1 >= conf.ndots ? [asked, ...completed] : [...completed, asked];
          expect(names).toEqual(all.filter((each) => each !== '' && each.length <= 253));
        }
        most.names = Math.max(most.names, names.length);
        most.completions = Math.max(most.completions, conf.search.length);
        most.characters = Math.max(most.characters, ...names.map(({ length }) => length));
      }),
      { numRuns: 200 },
    );
    // The bounds were met.
    expect(most.completions).toBe(32);
    expect(most.characters).toBeGreaterThan(190);
  });
});
