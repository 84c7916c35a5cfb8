// A server closes a connection in the very moment in which the next request is put on it. Whatever becomes of that request, one that may not run
// twice does not run twice; the moments are swept in steps of a tenth of a millisecond.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { connect, dependencyPlan, RETRIES } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { OK } from '../testing/upstreams.ts';

const { bench, upstream } = opened();

/** Returns after so many milliseconds, exactly enough: no timer is as fine as that. */
function after(ms: number, act: () => void): void {
  const untilMs = performance.now() + ms;
  const look = (): void => {
    if (performance.now() >= untilMs) act();
    else setImmediate(look);
  };
  look();
}

const closings: readonly [string, (socket: Socket) => void][] = [
  ['ends', (socket) => void socket.end()],
  ['resets', (socket) => void socket.resetAndDestroy()],
];

describe.each(closings)('a server that %s its connection after each answer', (_name, close) => {
  it('keep-alive reuse race: executes no POST twice, and leaves no GET unanswered', async () => {
    const executions = new Map<string, number>();
    let answers = 0;
    const server = await upstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      const path = [...received.matchAll(/^[A-Z]+ (\S+) HTTP/gm)].at(-1)?.[1] ?? '';
      executions.set(path, (executions.get(path) ?? 0) + 1);
      socket.write(OK);
      after((answers++ % 30) / 10, () => close(socket));
    });
    const { port, plane } = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    const statuses = new Map<string, string>();
    for (let nth = 0; nth < 300; nth++) {
      const method = nth % 2 === 0 ? 'POST' : 'GET';
      const client = connect(port);
      client.socket.on('error', () => {});
      client.send(
        `${method} /${nth} HTTP/1.1\r\nHost: payments.billing\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
      const text = await client.ended();
      statuses.set(`/${nth}`, `${method} ${text.slice(9, 12)}`);
      await new Promise<void>((resolve) => after((nth % 7) / 10, resolve));
    }
    expect(executions.size).toBeGreaterThan(200);
    for (const [path, said] of statuses) {
      if (said.startsWith('POST')) expect(executions.get(path) ?? 0, `${path}: ${said}`).toBeLessThanOrEqual(1);
      else expect(said, path).toBe('GET 200');
    }
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  }, 30_000);
});
