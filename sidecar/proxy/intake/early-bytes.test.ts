import net, { type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { NOBODY } from '../sockets/byte-stream.ts';
import { SocketStream } from '../sockets/socket-stream.ts';
import { EarlyBytes } from './early-bytes.ts';

/** What is read at once, at most. */
const READ_BYTES = 81_920;
const MAX_EARLY_BYTES = 65_536;
const TOTAL_BYTES = 16 * 1024 * 1024;

const open: { destroy(): unknown }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** Both ends of a connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = net.createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const dialled = net.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  const accepted = await new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.close();
  for (const socket of [dialled, accepted]) open.push(socket.on('error', () => {}));
  return [dialled, accepted];
}

describe('what an application sends before its connection leads anywhere', () => {
  it('is kept up to a bound, and waits behind it with the application', async () => {
    const [application, socket] = await pair();
    const client = new SocketStream(socket);
    let arrivals = 0;
    const early = new EarlyBytes(client, null, { earlyArrived: () => void arrivals++, earlyGone: () => {} });
    application.end(Buffer.alloc(TOTAL_BYTES, 'e'));
    let before = -1;
    const stands = () => {
      const same = socket.bytesRead === before && before > 0;
      before = socket.bytesRead;
      return same;
    };
    await expect.poll(stands, { interval: 100, timeout: 10_000 }).toBe(true);
    expect(early.hasArrived).toBe(true);
    expect(arrivals).toBeGreaterThan(0);
    const kept = early.take().reduce((bytes, { length }) => bytes + length, 0);
    expect(kept).toBeGreaterThanOrEqual(MAX_EARLY_BYTES);
    expect(kept).toBeLessThan(MAX_EARLY_BYTES + READ_BYTES);
    // Whoever takes it reads on, and has lost nothing.
    let rest = 0;
    client.owner = { ...NOBODY, streamArrived: (_client, _buffer, bytes) => void (rest += bytes) };
    client.resume();
    await expect.poll(() => kept + rest, { timeout: 10_000 }).toBe(TOTAL_BYTES);
  });
});
