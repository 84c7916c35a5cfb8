// The application ends its side of the connection: inside a request that is an abort, whatever byte it comes behind; behind a whole one it says
// only that no other request follows.
import { describe, expect, it } from 'vitest';
import { connect, dependencyPlan } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { OK } from '../testing/upstreams.ts';

const { bench, upstream } = opened();

const REQUESTS: readonly [string, string][] = [
  ['without content', 'GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n'],
  ['of a length', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nnine byte'],
  [
    'in chunks, with a trailer',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n0\r\nx-sum: 1\r\n\r\n',
  ],
];

/** The request has its last byte, as the sidecar writes it. */
function isWhole(received: string): boolean {
  const [head = '', content = ''] = received.split(/\r\n\r\n(.*)/s);
  if (!received.includes('\r\n\r\n')) return false;
  if (/transfer-encoding/i.test(head)) return /(^|\r\n)0\r\n(.+\r\n)*\r\n$/.test(content);
  return content.length === Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
}

describe('the end of the application’s side', () => {
  it.each(REQUESTS)(
    'behind each byte of a request %s is an abort, and behind its last one the answer comes',
    async (_name, request) => {
      const whole: string[] = [];
      const server = await upstream((received, socket, connection) => {
        if (!isWhole(received)) return;
        whole.push(received);
        server.received[connection] = '';
        socket.write(OK);
      });
      const { plane, port } = await bench(dependencyPlan({}), server.endpoint);
      for (let bytes = 1; bytes < request.length; bytes += 1) {
        const client = connect(port);
        client.socket.on('error', () => undefined);
        client.socket.end(request.slice(0, bytes), 'latin1');
        const text = await client.ended(5_000);
        expect(text, `after ${bytes} bytes`).not.toContain('200 OK');
        client.socket.destroy();
      }
      await expect.poll(() => plane.held()).toMatchObject({ requests: 0, attempts: 0, clientConnections: 0 });
      expect(whole).toEqual([]);
      const client = connect(port);
      client.socket.end(request, 'latin1');
      expect(await client.ended(5_000)).toMatch(/^HTTP\/1\.1 200 OK[^]*ok$/);
      expect(whole).toHaveLength(1);
    },
  );
});
