import { expect, it } from 'vitest';
import { MAX_TLS_HOSTS, readTlsHosts, type TlsHost, writeTlsHosts } from './tls-hosts.ts';

const many = (count: number): TlsHost[] =>
  Array.from({ length: count }, (_, at) => ({ name: `h${at}.test`, port: at + 1 }));

it.each([[[]], [[{ name: 'api.stripe.com', port: 80 }]], [many(MAX_TLS_HOSTS)]])('what is written is read', (hosts) =>
  expect(readTlsHosts(writeTlsHosts(hosts))).toEqual(hosts),
);

it('is never longer than what the environment of a process takes', () => {
  const longest = Array.from({ length: MAX_TLS_HOSTS }, () => ({ name: 'a'.repeat(253), port: 65_535 }));
  expect(writeTlsHosts(longest).length).toBeLessThan(128 * 1024);
});

it.each([
  'api.stripe.com',
  'api.stripe.com:0',
  'api.stripe.com:65536',
  ':80',
  'a b:80',
  'a:80,',
  'a:80, b:80',
  `${'a'.repeat(254)}:80`,
  writeTlsHosts(many(MAX_TLS_HOSTS + 1)),
])('%j is none', (text) => expect(readTlsHosts(text)).toBeNull());
