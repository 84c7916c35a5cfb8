// Which connections read into the buffer of all.
import net, { type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { readShared, testReadShared } from './read-buffer.ts';

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

async function accepted(): Promise<Socket> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const incoming = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = net.connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1');
  const socket = await incoming;
  server.close();
  open.push(client, socket);
  return socket;
}

it('are those without TLS', async () => {
  expect(await testReadShared(systemClock)).toBe(true);
  expect(readShared(await accepted(), () => {})).toBe(true);
});

it('are none with TLS, which may decrypt while what was read of another one is still looked at', async () => {
  expect(await testReadShared(systemClock)).toBe(true);
  const socket = new TLSSocket(await accepted(), { isServer: true });
  socket.on('error', () => {});
  open.push(socket);
  expect(readShared(socket, () => {})).toBe(false);
});
