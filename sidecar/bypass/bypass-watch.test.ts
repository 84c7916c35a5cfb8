import net, { type AddressInfo, isIP } from 'node:net';
import { array, assert, constantFrom, nat, oneof, property, string, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DependencyPlan } from '../../plan/plan.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { dependencyPlan } from '../proxy/testing/fixtures.ts';
import { BypassWatch, readKernelTables } from './bypass-watch.ts';
import { readTcpSockets } from './proc-net-tcp.ts';

const HEADING = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
/** As the kernel of a little-endian machine writes it. */
const line = (remote: string, { state = '01', uid = 1000, inode = 4242 } = {}): string =>
  `   7: 0700010A:D431 ${remote} ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000000000000000 20 4 30 10 -1\n`;
const PAYMENTS = '0A00600A:1F90'; // 10.96.0.10:8080
const PAYMENTS_6 = '000000FD000000000000000001000000:1F90'; // fd00::1 port 8080

describe.runIf(new Uint8Array(new Uint16Array([1]).buffer)[0] === 1)('readTcpSockets', () => {
  it.each([
    ['IPv4', PAYMENTS, '10.96.0.10'],
    ['IPv6', PAYMENTS_6, 'fd00::1'],
    ['IPv4 in IPv6', '0000000000000000FFFF00000A00600A:1F90', '10.96.0.10'],
  ])('reads %s', (_name, remote, remoteAddress) => {
    expect(readTcpSockets(HEADING + line(remote))).toEqual([
      { inode: 4242, uid: 1000, remoteAddress, remotePort: 8080 },
    ]);
  });

  it.each([
    ['a listener', line('00000000:0000', { state: '0A' })],
    ['one that only waits for its end', line(PAYMENTS, { state: '06', uid: 0, inode: 0 })],
    ['one without an owner', line(PAYMENTS, { state: '05', uid: 0, inode: 0 })],
    ['half a line', line(PAYMENTS).slice(0, 40)],
  ])('leaves out %s', (_name, text) => {
    expect(readTcpSockets(HEADING + text)).toEqual([]);
  });

  it('takes any text, and makes nothing of it that is no socket', () => {
    const whole = constantFrom(PAYMENTS, PAYMENTS_6, '0000000000000000FFFF00000A00600A:1F90').map((remote) =>
      line(remote),
    );
    const odd = constantFrom('', ' ', '\n', '0', 'F', ':', 'x', '99999999999999999999', HEADING);
    const damaged = tuple(whole, nat(), nat({ max: 3 }), odd).map(([text, at, removed, inserted]) => {
      const index = at % text.length;
      return text.slice(0, index) + inserted + text.slice(index + removed);
    });
    let found = 0;
    assert(
      property(array(oneof(whole, damaged, string()), { maxLength: 8 }), (texts) => {
        const sockets = readTcpSockets(texts.join(''));
        expect(sockets.length).toBeLessThanOrEqual(texts.length);
        for (const { inode, uid, remoteAddress, remotePort } of sockets) {
          expect(isIP(remoteAddress)).not.toBe(0);
          expect([remotePort & 0xff_ff, inode > 0, uid >= 0]).toEqual([remotePort, true, true]);
        }
        found += sockets.length;
      }),
    );
    expect(found).toBeGreaterThan(20);
  });
});

function watch(tables: { text: string | Error }, declared: readonly DependencyPlan[] | null) {
  const clock = new ManualClock();
  const counted: string[] = [];
  const named: string[] = [];
  const watching = new BypassWatch({
    dependencies: () => declared,
    readTables: () =>
      typeof tables.text === 'string' ? Promise.resolve([HEADING + tables.text]) : Promise.reject(tables.text),
    ownUid: 14_750,
    clock,
    log: silentLogger,
    countBypassed: (dependency, by) => (by === 0 ? named : counted).push(dependency),
  });
  watching.start();
  return { clock, counted, named, watching };
}

describe('BypassWatch', () => {
  const payments = dependencyPlan({}, { destinations: [{ address: '10.96.0.10', port: 8080 }] });

  it('has a series of each dependency from its first look, at zero', async () => {
    const { clock, counted, named } = watch({ text: '' }, [payments]);
    await clock.advance(30_000);
    // At each look, since it goes with a time in which no plan names it.
    expect({ counted, named }).toEqual({ counted: [], named: ['payments', 'payments', 'payments'] });
  });

  it('counts each connection to a declared Service once, as long as it lives', async () => {
    const tables = { text: line(PAYMENTS) };
    const { clock, counted, watching } = watch(tables, [payments]);
    await clock.advance(30_000);
    expect(counted).toEqual(['payments']);
    tables.text = line(PAYMENTS) + line(PAYMENTS, { inode: 4243 });
    await clock.advance(10_000);
    tables.text = '';
    await clock.advance(10_000);
    tables.text = line(PAYMENTS);
    await clock.advance(10_000);
    expect(counted).toHaveLength(3);
    expect([...watching.counts()]).toEqual([['payments', 3]]);
  });

  it.each([
    ['the sidecar’s own', line(PAYMENTS, { uid: 14_750 }), [payments]],
    ['those to another port', line('0A00600A:1F91'), [payments]],
    ['those to another address', line('0B00600A:1F90'), [payments]],
    ['any before the first plan', line(PAYMENTS), null],
  ])('does not count %s', async (_name, text, declared) => {
    const { clock, counted } = watch({ text }, declared);
    await clock.advance(10_000);
    expect(counted).toEqual([]);
  });

  it('goes on after a table that could not be read, and ends when it is stopped', async () => {
    const tables: { text: string | Error } = { text: new Error('EACCES') };
    const { clock, counted, watching } = watch(tables, [payments]);
    await clock.advance(10_000);
    tables.text = line(PAYMENTS);
    await clock.advance(10_000);
    expect(counted).toEqual(['payments']);
    watching.stop();
    expect(clock.timers).toBe(0);
  });
});

it.runIf(process.platform === 'linux')('finds real connections in the tables of the kernel', async () => {
  // To several ports, at places of their own in a table that is longer than is read where a machine has just ended tens of thousands.
  const servers = Array.from({ length: 24 }, () => net.createServer((socket) => socket.on('error', () => {})));
  const clients = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
      const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
      await new Promise((resolve) => client.once('connect', resolve));
      return client;
    }),
  );
  const ports = clients.map(({ remotePort }) => remotePort);
  const sockets = (await readKernelTables()).flatMap(readTcpSockets);
  expect(
    sockets.filter(({ remoteAddress, remotePort }) => remoteAddress === '127.0.0.1' && ports.includes(remotePort)),
  ).toContainEqual(expect.objectContaining({ uid: process.getuid?.() }));
  for (const client of clients) client.destroy();
  for (const server of servers) server.close();
});
