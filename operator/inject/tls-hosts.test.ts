import { expect, it } from 'vitest';
import { MAX_TLS_HOSTS } from '../../plan/tls-hosts.ts';
import type { Declared } from './declared.ts';
import { tlsHostsOf } from './tls-hosts.ts';

const TLS = { port: 443, serverName: 'a.test', authorities: [], clientCertificate: null };
const declares = (name: string, port = 80, tls: typeof TLS | undefined = TLS): Declared => ({
  by: 'checkout',
  entry: name,
  service: null,
  host: tls === undefined ? { name, port } : { name, port, tls },
});

it('names each host with tls once, in a certain order, and no other', () => {
  const plain: Declared = { by: 'checkout', entry: 'plain', service: null, host: { name: 'plain.test', port: 80 } };
  const declared = [declares('b.test'), plain, declares('a.test', 8080), declares('b.test'), declares('a.test')];
  expect(tlsHostsOf(declared)).toEqual({
    hosts: [
      { name: 'a.test', port: 80 },
      { name: 'a.test', port: 8080 },
      { name: 'b.test', port: 80 },
    ],
    warnings: [],
  });
});

it('is bounded, and says what it leaves out', () => {
  const { hosts, warnings } = tlsHostsOf(Array.from({ length: MAX_TLS_HOSTS + 3 }, (_, at) => declares(`h${at}.test`)));
  expect(hosts).toHaveLength(MAX_TLS_HOSTS);
  expect(warnings).toEqual([expect.stringContaining('plain text to 3 is not held back')]);
});
