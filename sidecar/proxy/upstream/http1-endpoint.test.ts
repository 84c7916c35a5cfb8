// Which connections to the dependency are kept.

import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { NO_KEY } from '../../balance/balancer.ts';
import { createSidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { RouteTable } from '../../route/match.ts';
import { DependencyRuntime } from '../dependency/dependency.ts';
import { ReplayPool } from '../exchange/replay-body.ts';
import type { ResponseReceiver } from '../exchange/upstream.ts';
import { dependencyPlan } from '../testing/fixtures.ts';
import type { Http1Connection } from './http1-connection.ts';
import { Http1Endpoint } from './http1-endpoint.ts';

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

function connected(endpoint: Http1Endpoint): Promise<Http1Connection> {
  return new Promise((resolve) => {
    const receiver: ResponseReceiver = {
      onConnected: () => {
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
      onTunnelClosed: () => {},
      onUpstreamDrain: () => {},
      onUpstreamClosed: () => {},
      onInvalidResponse: () => {},
    };
    const connection = endpoint.connect(receiver);
  });
}

describe('an idle connection', () => {
  it('is kept', async () => {
    const endpoint = new Http1Endpoint('127.0.0.1', port);
    const connection = await connected(endpoint);
    endpoint.giveIdle(connection, 0);
    expect(endpoint.takeIdle(100, Number.POSITIVE_INFINITY)).toBe(connection);
    connection.destroy();
  });

  it('is not kept while part of a request that was answered early is still to be sent on it', async () => {
    const endpoint = new Http1Endpoint('127.0.0.1', port);
    const connection = await connected(endpoint);
    const body = Buffer.alloc(32 * 1024 * 1024);
    connection.sendTunnelData(body, 0, body.length);
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
      lastGoodPool: new ReplayPool(0),
      shadowRandom: seededRandom(2),
      shadowLastGoodPool: new ReplayPool(0),
      ownKey: () => NO_KEY,
      find: () => undefined,
      placement: () => ({ node: '', zone: '' }),
      createEndpoint: (address, port) => new Http1Endpoint(address, port),
      createOrigination: () => {
        throw new Error('nothing here speaks TLS');
      },
      mayDialClusterIp: () => true,
      locallyDisabled: () => false,
      onTransition: () => {},
    });
    dependency.remove();
    const endpoint = dependency.endpoints.pick(
      dependency.policies.passThrough.choice.balancer,
      [],
      NO_KEY,
      { address: '127.0.0.1', port },
      0,
    ) as Http1Endpoint;
    const connection = await connected(endpoint);
    connection.release(true, 0);
    expect(connection.socket.destroyed).toBe(true);
  });
});
