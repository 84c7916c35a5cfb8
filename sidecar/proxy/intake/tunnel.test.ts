// A tunnel whose connection was dialled ahead, where several addresses are known.
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { systemNetwork } from '../sockets/network.ts';
import { SocketStream } from '../sockets/socket-stream.ts';
import { connect } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { DEAD_ENDPOINT } from '../testing/upstreams.ts';
import { Ticker } from '../ticker.ts';
import { DialAhead } from './ahead.ts';
import { Tunnel, type TunnelTarget } from './tunnel.ts';

const { open, upstream } = opened();

it('goes elsewhere than it was dialled, whatever would be dialled first by now', async () => {
  const { endpoint: well } = await upstream((received, socket) => socket.write(received));
  const firsts: TunnelTarget[] = [DEAD_ENDPOINT, well];
  const targets = {
    get first() {
      return firsts.shift() ?? null;
    },
    others: async () => [DEAD_ENDPOINT, well],
  };
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port);
  open.push({ close: () => client.socket.destroy() });
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const ahead = new DialAhead(systemNetwork, targets);
  await new Promise<void>((resolve) => ahead.begin(resolve));
  let closed = 0;
  void new Tunnel({
    client: new SocketStream(accepted),
    network: systemNetwork,
    targets,
    first: Buffer.from('hello'),
    upstream: ahead.take(),
    connectTimeoutMs: 0,
    ticker: new Ticker(systemClock),
    onDialFailed: () => {},
    onClosed: () => closed++,
  });
  expect(await client.until((text) => text === 'hello')).toBe('hello');
  client.socket.destroy();
  await expect.poll(() => closed).toBe(1);
});
