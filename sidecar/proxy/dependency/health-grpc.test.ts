// Health checks by gRPC with real sockets: what the endpoints are asked, and what their answers are taken for.
import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import { tlsLegs } from '../../tls/testing/legs.ts';
import { type Bench, dependencyPlan, startBench, workloadPlan } from '../testing/fixtures.ts';
import { dependency, type Fields, type Http2Dependency } from '../testing/http2-calls.ts';
import { opened } from '../testing/opened.ts';
import { quickClock } from '../testing/quick-clock.ts';
import { freePort, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

// The data path looks twice a second for what is due: here five times as often, and the interval is shorter than a resource may say.
const SPEED = 5;
const CHECK: HealthCheckPlan = {
  stateKey: 'healthCheck:base',
  path: null,
  host: null,
  port: null,
  intervalMs: 100,
  timeoutMs: 30_000,
  unhealthyThreshold: 2,
  healthyThreshold: 2,
  expectedStatuses: null,
  grpc: { service: 'shop.v1.Payments' },
};
const SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 1]);
const NOT_SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 2]);
const soon = { timeout: 20_000, interval: 20 };

type Script = (stream: ServerHttp2Stream, fields: Fields) => void;

function answer(stream: ServerHttp2Stream, message: Buffer, status = 0): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
  stream.end(message);
}

/** An answer that is nothing but a status. */
function statusAlone(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status }, { endStream: true });
}

async function server(script: Script): Promise<Http2Dependency> {
  const started = await dependency(script);
  open.push(started);
  return started;
}

async function bench(
  servers: readonly Pick<Upstream, 'endpoint'>[],
  check: Partial<HealthCheckPlan> = {},
): Promise<Bench> {
  const plan = dependencyPlan({ healthCheck: { ...CHECK, ...check } });
  const endpoints = servers.map(({ endpoint }) => endpoint);
  const started = await startBench(plan, endpoints, { clock: quickClock(SPEED) });
  open.push(started);
  return started;
}

const problems = ({ plane }: Bench) =>
  new Map(plane.choices()[0]?.unhealthy.map(({ endpoint, problem }) => [endpoint, problem]));

describe('health checks by gRPC', () => {
  it('call Health/Check for the service, with its name in a message, and know a server by what it says', async () => {
    let isServing = false;
    const bodies: Buffer[] = [];
    const one = await server((stream) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        bodies.push(Buffer.concat(parts));
        answer(stream, isServing ? SERVING : NOT_SERVING);
      });
    });
    const other = await server((stream) => answer(stream, SERVING));
    const started = await bench([one, other]);
    const name = `127.0.0.1:${one.endpoint.port}`;
    await expect.poll(() => problems(started), soon).toEqual(new Map([[name, 'the server says NOT_SERVING']]));
    expect(one.requests[0]).toMatchObject({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      ':authority': 'payments.billing.svc.cluster.local:8080',
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '30000000u',
    });
    expect(bodies[0]?.toString('latin1')).toBe('\0\0\0\0\x12\x0a\x10shop.v1.Payments');
    isServing = true;
    await expect.poll(() => problems(started).size, soon).toBe(0);
    const labels = { check: 'healthCheck:base' };
    expect(await started.metric('breakwater_health_checks_total', { ...labels, result: 'failed' })).toBeGreaterThan(1);
    expect(await started.metric('breakwater_requests_total')).toBe(0);
  });

  it('say why: each status, no gRPC, no HTTP/2, nobody, nothing in time', async () => {
    const http1 = await startUpstream((_text, socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const silent = await startUpstream(() => {});
    open.push(http1, silent);
    const servers: [Pick<Upstream, 'endpoint'>, string][] = [
      [await server((stream) => statusAlone(stream, 12)), 'does not offer grpc.health.v1.Health'],
      [await server((stream) => statusAlone(stream, 5)), 'does not know the service'],
      [await server((stream) => statusAlone(stream, 14)), 'the call ended with the gRPC status Unavailable'],
      [await server((stream) => statusAlone(stream, 0)), 'no message of grpc.health.v1'],
      [await server((stream) => answer(stream, SERVING, 13)), 'the call ended with the gRPC status Internal'],
      [await server((stream) => answer(stream, Buffer.alloc(0))), 'no message of grpc.health.v1'],
      [await server((stream) => answer(stream, Buffer.alloc(70_000))), 'longer than any of grpc.health.v1'],
      [
        await server((stream) => stream.respond({ ':status': 404 }, { endStream: true })),
        'the answer had status 404, and none of gRPC',
      ],
      [await server((stream) => stream.close(2)), 'the connection was lost before an answer'],
      [await server(() => {}), 'no answer within 6000 ms'],
      [http1, 'HTTP/2 is not spoken there'],
      [{ endpoint: { address: '127.0.0.1', port: await freePort() } }, 'the connection was refused'],
      [silent, 'no answer within 6000 ms'],
    ];
    const started = await bench(
      servers.map(([each]) => each),
      { timeoutMs: 6_000 },
    );
    await expect.poll(() => problems(started).size, soon).toBe(servers.length);
    const told = problems(started);
    for (const [{ endpoint }, problem] of servers)
      expect(told.get(`127.0.0.1:${endpoint.port}`), problem).toContain(problem);
  }, 30_000);

  it('speak TLS where the dependency is a host with it, and say why they cannot', async () => {
    const legs = await tlsLegs();
    const stranger = await tlsLegs();
    const serving = await dependency((stream) => answer(stream, SERVING), {}, legs.pair);
    const refusing = await dependency((stream) => answer(stream, NOT_SERVING), {}, legs.pair);
    const untrusted = await dependency((stream) => answer(stream, SERVING), {}, stranger.pair);
    const plain = await server((stream) => answer(stream, SERVING));
    open.push(serving, refusing, untrusted);
    const servers = [serving, refusing, untrusted, plain];
    const started = await startBench(
      dependencyPlan({ healthCheck: CHECK }, legs.changes),
      servers.map(({ endpoint }) => endpoint),
      { clock: quickClock(SPEED), certificates: legs.certificates },
    );
    open.push(started);
    await expect.poll(() => problems(started).size, soon).toBe(3);
    const told = problems(started);
    expect(servers.map(({ endpoint }) => told.get(`127.0.0.1:${endpoint.port}`))).toEqual([
      undefined,
      'the server says NOT_SERVING',
      expect.stringContaining('authority that is not trusted'),
      expect.stringContaining('TLS'),
    ]);
    expect(serving.requests[0]).toMatchObject({ ':path': '/grpc.health.v1.Health/Check', ':scheme': 'https' });
    expect(plain.heads).toBe(0);
  });

  it('keep no connection, and end with the plan in the middle of a call', async () => {
    const silent = await server(() => {});
    const quick = await server((stream) => answer(stream, SERVING));
    const started = await bench([silent, quick]);
    await expect.poll(() => [silent.heads, quick.heads > 3], soon).toEqual([1, true]);
    expect(started.plane.held().healthChecks).toBeGreaterThan(0);
    started.plane.applyPlan(workloadPlan(dependencyPlan({})));
    await expect.poll(() => started.plane.held(), soon).toMatchObject({ healthChecks: 0, timers: 0 });
    await expect.poll(() => silent.sessions.size + quick.sessions.size, soon).toBe(0);
  });
});
