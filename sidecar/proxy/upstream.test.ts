// Which connections to the dependency are kept.
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { createSidecarMetrics } from '../metrics.ts';
import { RouteTable } from '../route/match.ts';
import { DependencyRuntime } from './dependency.ts';
import { dependencyPlan } from './fixtures.ts';
import { type ResponseReceiver, UpstreamConnection, UpstreamEndpoint } from './upstream.ts';

let server: Server;
let port: number;
const accepted: Socket[] = [];
beforeEach(async () => {
  server = net.createServer((socket) => {
    socket.pause().on('error', () => {});
    accepted.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => {
  for (const socket of accepted.splice(0)) socket.destroy();
  server.close();
});

function connected(endpoint: UpstreamEndpoint): Promise<UpstreamConnection> {
  return new Promise((resolve) => {
    const receiver: ResponseReceiver = {
      onConnected: (connection) => {
        connection.receiver = null;
        resolve(connection);
      },
      onInformational: () => {},
      onResponseHead: () => true,
      onResponseData: () => {},
      onResponseEnd: () => {},
      onResponseFlush: () => true,
      onTunnelData: () => true,
      onTunnelEnd: () => {},
      onUpstreamDrain: () => {},
      onUpstreamClosed: () => {},
      onInvalidResponse: () => {},
    };
    void new UpstreamConnection(endpoint, receiver);
  });
}

describe('an idle connection', () => {
  it('is kept', async () => {
    const endpoint = new UpstreamEndpoint('127.0.0.1', port);
    const connection = await connected(endpoint);
    endpoint.giveIdle(connection, 0);
    expect(endpoint.takeIdle(100, Number.POSITIVE_INFINITY)).toBe(connection);
    connection.destroy();
  });

  it('is not kept while part of a request that was answered early is still to be sent on it', async () => {
    const endpoint = new UpstreamEndpoint('127.0.0.1', port);
    const connection = await connected(endpoint);
    const body = Buffer.alloc(32 * 1024 * 1024);
    connection.out.lend(body, 0, body.length);
    endpoint.giveIdle(connection, 0);
    expect(endpoint.takeIdle(100, Number.POSITIVE_INFINITY)).toBeNull();
    expect(connection.socket.destroyed).toBe(true);
  });

  it('is not kept to a pod of a headless Service that is no longer declared', async () => {
    const plan = dependencyPlan({}, { balancing: 'OriginalDestination' });
    const dependency = new DependencyRuntime(plan, new RouteTable(plan), 'payments', {
      metrics: createSidecarMetrics(),
      random: seededRandom(1),
      nowMs: () => 0,
      unixMs: () => 0,
      mayDialClusterIp: () => true,
      locallyDisabled: () => false,
      onTransition: () => {},
    });
    dependency.remove();
    const endpoint = dependency.pick(null, { address: '127.0.0.1', port });
    const connection = await connected(endpoint as UpstreamEndpoint);
    endpoint?.giveIdle(connection, 0);
    expect(connection.socket.destroyed).toBe(true);
  });
});
