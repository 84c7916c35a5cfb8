// Real queries by c-ares, answered by a server of the test.
import type { LookupAddress } from 'node:dns';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createDnsQuery, type DnsQuery } from './dns-query.ts';
import { createLookup } from './lookup.ts';
import type { DnsAnswer } from './name-state.ts';
import { TestDns, type Zone } from './test-dns.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function start(zone: Zone): Promise<{ dns: TestDns; query: DnsQuery }> {
  const dns = await TestDns.start(zone);
  open.push(dns);
  // The final dot keeps the search list of the machine out.
  const query = createDnsQuery({ servers: [dns.server], podIp: '127.0.0.1', clock: systemClock, log: silentLogger });
  return { dns, query };
}

describe('a query', () => {
  it('gives the addresses and the shortest TTL', async () => {
    const { dns, query } = await start({ 'api.test': ['192.0.2.1', '192.0.2.2'] });
    dns.ttlSeconds = 17;
    const answer = (await query('api.test.', true)) as DnsAnswer & { kind: 'addresses' };
    expect([...answer.addresses].sort()).toEqual(['192.0.2.1', '192.0.2.2']);
    expect(answer.ttlMs).toBe(17_000);
  });

  it('is not answered from the cache of c-ares', async () => {
    const { dns, query } = await start({ 'api.test': ['192.0.2.1'] });
    await query('api.test.', true);
    dns.zone = { 'api.test': ['192.0.2.2'] };
    expect(await query('api.test.', false)).toMatchObject({ addresses: ['192.0.2.2'] });
  });

  it.each([
    ['a name that does not exist', {}, 'no-address', 'api.test does not exist'],
    ['a name without an address', { 'api.test': [] }, 'no-address', 'api.test has no address'],
    ['a server that fails', { 'api.test': 'servfail' }, 'failure', 'DNS did not answer for api.test: ESERVFAIL'],
  ] as const)('tells %s', async (_name, zone, kind, detail) => {
    const { query } = await start(zone);
    expect(await query('api.test.', true)).toEqual({ kind, detail });
  });

  it('goes on where the addresses of the pod cannot be listed, as in a process that is out of files', async () => {
    const { dns } = await start({ 'api.test': ['192.0.2.1', '2001:db8::1'] });
    let isOut = true;
    const interfaces = () => {
      if (isOut) throw new Error('uv_interface_addresses returned Unknown system error 24');
      return { eth0: [{ address: '2001:db8::9', internal: false }] };
    };
    const options = { servers: [dns.server], clock: systemClock, log: silentLogger, interfaces };
    const query = createDnsQuery({ ...options, podIp: '192.0.2.9' });
    expect(await query('api.test.', false)).toMatchObject({ addresses: ['192.0.2.1'] });
    isOut = false;
    expect(await query('api.test.', false)).toMatchObject({ addresses: ['2001:db8::1'] });
    isOut = true;
    expect(await query('api.test.', false)).toMatchObject({ addresses: ['2001:db8::1'] });
  });

  it('never looks into the hosts file', async () => {
    const { dns, query } = await start({});
    expect(await query('localhost.', true)).toMatchObject({ kind: 'no-address' });
    expect(dns.asked).toContain('localhost A');
  });
});

describe('completions', () => {
  const inAPod = async (zone: Zone): Promise<{ dns: TestDns; query: DnsQuery }> => {
    const dns = await TestDns.start(zone);
    open.push(dns);
    const folder = mkdtempSync(join(tmpdir(), 'breakwater-resolve-'));
    open.push({ close: () => rmSync(folder, { recursive: true }) });
    const resolvConf = join(folder, 'resolv.conf');
    writeFileSync(resolvConf, 'search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n');
    const options = { servers: [dns.server], podIp: '127.0.0.1', resolvConf, clock: systemClock, log: silentLogger };
    return { dns, query: createDnsQuery(options) };
  };

  it('are asked for in the order of the application’s resolver', async () => {
    const { dns, query } = await inAPod({ 'payments.billing.svc.cluster.local': ['192.0.2.1'] });
    expect(await query('payments.billing.svc', true)).toMatchObject({ addresses: ['192.0.2.1'] });
    expect(dns.asked.filter((each) => each.endsWith(' A'))).toEqual([
      'payments.billing.svc.shop.svc.cluster.local A',
      'payments.billing.svc.svc.cluster.local A',
      'payments.billing.svc.cluster.local A',
    ]);
  });

  it('that a server cannot tell about do not hide the name itself, nor prove that it is not there', async () => {
    const zone: Zone = { 'api.test.cluster.local': 'servfail', 'api.test': ['192.0.2.1'] };
    const { dns, query } = await inAPod(zone);
    expect(await query('api.test', true)).toMatchObject({ addresses: ['192.0.2.1'] });
    dns.zone = { 'api.test.cluster.local': 'servfail' };
    expect(await query('api.test', false)).toMatchObject({ kind: 'failure' });
  });
});

describe('the look-up for connections of our own', () => {
  const lookUp = (query: DnsQuery) => {
    const lookup = createLookup(query);
    return (name: string) =>
      new Promise<LookupAddress[]>((resolve, reject) => {
        lookup(name, { all: true }, (error, addresses) => {
          if (error) reject(error);
          else resolve(addresses as LookupAddress[]);
        });
      });
  };

  it('keeps what it found while DNS fails, and not when the name is gone', async () => {
    const { dns, query } = await start({ 'operator.test': ['192.0.2.1'] });
    const find = lookUp(query);
    expect(await find('operator.test.')).toEqual([{ address: '192.0.2.1', family: 4 }]);
    dns.zone = { 'operator.test': 'servfail' };
    expect(await find('operator.test.')).toEqual([{ address: '192.0.2.1', family: 4 }]);
    dns.zone = {};
    await expect(find('operator.test.')).rejects.toThrow('operator.test does not exist');
  });

  it('knows localhost without asking', async () => {
    const { dns, query } = await start({});
    expect(await lookUp(query)('localhost')).toEqual([{ address: '127.0.0.1', family: 4 }]);
    expect(dns.asked).toEqual([]);
  });
});
