import { createServer } from 'node:http';
import Fastify from 'fastify';
import { expect, test } from 'vitest';
import { listen } from './listen.ts';

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** A server on a machine that refuses the first address asked for. */
function machineWithout(code: string) {
  const hosts: (string | undefined)[] = [];
  const server = createServer();
  return {
    hosts,
    server,
    listen(options?: { host?: string }) {
      hosts.push(options?.host);
      if (hosts.length === 1) return Promise.reject(failure(code));
      return new Promise<string>((resolve) => server.listen(0, '127.0.0.1', () => resolve('')));
    },
  };
}

test('a free port is found and told', async () => {
  const server = Fastify();
  const port = await listen(server, { host: '127.0.0.1', port: 0 });
  expect(port).toBeGreaterThan(0);
  expect(server.addresses()).toMatchObject([{ port }]);
  await server.close();
});

test.each(['EAFNOSUPPORT', 'EADDRNOTAVAIL'])('a machine without IPv6 (%s) listens on IPv4', async (code) => {
  const machine = machineWithout(code);
  await listen(machine as unknown as Parameters<typeof listen>[0], { host: '::', port: 8443 });
  expect(machine.hosts).toEqual(['::', '0.0.0.0']);
  machine.server.close();
});

test('every other failure is told', async () => {
  const taken = machineWithout('EADDRINUSE') as unknown as Parameters<typeof listen>[0];
  await expect(listen(taken, { host: '::', port: 8443 })).rejects.toThrow('EADDRINUSE');
  const chosen = machineWithout('EADDRNOTAVAIL') as unknown as Parameters<typeof listen>[0];
  await expect(listen(chosen, { host: '198.18.0.1', port: 8443 })).rejects.toThrow('EADDRNOTAVAIL');
});
