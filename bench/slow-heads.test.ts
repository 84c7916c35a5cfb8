import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { holdSlowHeads } from './slow-heads.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** What each of its connections has said; `closeFirst`: so many are closed at once. */
async function listen(closeFirst = 0): Promise<{ port: number; said: Map<object, string>; gone: () => number }> {
  const said = new Map<object, string>();
  let accepted = 0;
  let gone = 0;
  const server = createServer((socket) => {
    said.set(socket, '');
    socket.on('data', (bytes: Buffer) => said.set(socket, `${said.get(socket)}${bytes.toString('latin1')}`));
    socket.on('error', () => undefined);
    socket.on('close', () => (gone += 1));
    if (accepted++ < closeFirst) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { port: (server.address() as AddressInfo).port, said, gone: () => gone };
}

describe('slow connections', () => {
  it('are as many as were asked for, begin a request and do not end its head, until they are released', async () => {
    const { port, said, gone } = await listen();
    const held = await holdSlowHeads(port, 300);
    await expect.poll(() => [...said.values()].filter((head) => head.includes('X-Slow:')).length).toBe(300);
    for (const head of said.values()) {
      expect(head).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
      expect(head).not.toContain('\r\n\r\n');
    }
    expect(gone()).toBe(0);
    held.release();
    await expect.poll(gone).toBe(300);
  });

  it('are opened anew where they are closed', async () => {
    const { port, said, gone } = await listen(20);
    const held = await holdSlowHeads(port, 50);
    await expect.poll(gone).toBe(20);
    await held.whole();
    expect(said.size).toBe(70);
    held.release();
  });
});
