import { once } from 'node:events';
import { connect, createServer, isIPv6, type Socket } from 'node:net';
import { array, assert, constant, integer, oneof, pre, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSocketAddress, descriptorOf, formatIpv6, loadOriginalDestination } from './original-destination.ts';

describe('decodeSocketAddress', () => {
  it('reads sockaddr_in', () => {
    expect(decodeSocketAddress(Buffer.from('02001f900a60000a0000000000000000', 'hex'))).toEqual({
      address: '10.96.0.10',
      port: 8080,
    });
  });

  it('reads sockaddr_in6', () => {
    const bytes = Buffer.from('0a0001bb00000000fd0000960000000000000000000000010000000000', 'hex');
    expect(decodeSocketAddress(bytes)).toEqual({ address: 'fd00:96::1', port: 443 });
  });

  it('knows no other family', () => {
    expect(decodeSocketAddress(Buffer.alloc(28))).toBeNull();
  });
});

describe('formatIpv6', () => {
  it.each([
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['00000000000000000000ffff0a000001', '10.0.0.1'],
  ])('%s is %s', (hex, text) => {
    expect(formatIpv6(Buffer.from(hex, 'hex'))).toBe(text);
  });

  it('agrees with the WHATWG URL serialiser for every address', () => {
    assert(
      property(
        array(oneof(constant(0), integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 }),
        (groups) => {
          pre(!(groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff));
          const bytes = Buffer.alloc(16);
          for (const [index, group] of groups.entries()) bytes.writeUInt16BE(group, index * 2);
          const text = formatIpv6(bytes);
          expect(isIPv6(text)).toBe(true);
          expect(`[${text}]`).toBe(
            new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]/`).hostname,
          );
        },
      ),
    );
  });
});

describe.runIf(process.platform === 'linux')('loadOriginalDestination', () => {
  it('passes its own test and answers for a connection that nothing redirected', async () => {
    const read = await loadOriginalDestination();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const client = connect(port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    const destination = read(descriptorOf(accepted), 4);
    if (destination !== null) expect(destination).toEqual({ address: '127.0.0.1', port });
    expect(read(-1, 4)).toBeNull();
    expect(read(descriptorOf(accepted), 6)).toEqual(destination);
    client.destroy();
    accepted.destroy();
    server.close();
  });
});
