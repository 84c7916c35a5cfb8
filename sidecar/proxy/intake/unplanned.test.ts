// Before the first plan: what is meant for a host that TLS is to be spoken to must not go out in plain text, and all else goes on as it came.
import { describe, expect, it } from 'vitest';
import type { Bootstrap } from '../../../plan/bootstrap.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { createSidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { createDataPlane, type ProxyDataPlane } from '../data-plane.ts';
import {
  type Client,
  connect,
  dependencyPlan,
  startCaptured,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { PREFACE } from '../testing/http2-frames.ts';
import { opened } from '../testing/opened.ts';
import { answering, freePort, OK } from '../testing/upstreams.ts';

const { open, upstream } = opened();

const NAME = 'api.partner.example';
const request = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const REFUSED = /^HTTP\/1\.1 503 [^]*\r\nbreakwater-reason: no-plan\r\n/i;
/** A client hello without a server name is enough: what begins so is TLS. */
const HELLO = '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00';

const hostPlan = (port: number) =>
  dependencyPlan(
    {},
    { service: null, protocol: 'Detect', authority: NAME, balancing: 'Dns', host: { name: NAME, port } },
  );

describe('capture by iptables', () => {
  async function start(tlsPort?: number) {
    const server = await upstream(answering(OK));
    const started = await startCaptured(null, { tlsHosts: [{ name: NAME, port: tlsPort ?? server.port }] });
    open.push(started.plane);
    return { ...started, server, dial: () => started.dial(server.port) };
  }

  it.each(['', '.', 'upper'])('refuses a request of the host, and says why (%j)', async (form) => {
    const { server, dial, plane } = await start();
    const client = dial();
    client.send(request(form === 'upper' ? NAME.toUpperCase() : `${NAME}${form}:${server.port}`));
    expect(await client.ended()).toMatch(REFUSED);
    expect(server.received.join('')).toBe('');
    client.socket.destroy();
    await expect
      .poll(() => plane.held(), { timeout: 5_000 })
      .toMatchObject({ requests: 0, tunnels: 0, clientConnections: 0 });
  });

  it.each(['GE', 'GET ', 'GET / HTTP/1.1\r\nAuthorization: secret\r\nHo'])(
    'refuses it where it is slow to name the host, and passes on what names another one: %j',
    async (beginning) => {
      const clock = new ManualClock();
      const server = await upstream(answering(OK));
      const started = await startCaptured(null, { clock, tlsHosts: [{ name: NAME, port: server.port }] });
      open.push(started.plane);
      const ask = async (host: string) => {
        const client = started.dial(server.port);
        client.send(beginning);
        await expect.poll(() => started.plane.held().timers).toBeGreaterThan(0);
        await clock.advance(1_100);
        client.send(`GET / HTTP/1.1\r\nAuthorization: secret\r\nHost: ${host}\r\n\r\n`.slice(beginning.length));
        return client;
      };
      expect(await (await ask(NAME)).ended()).toMatch(REFUSED);
      expect(server.received.join('')).toBe('');
      await (await ask('api.other.example')).until((text) => text.endsWith('ok'));
    },
  );

  it('refuses it while the local kill switch is thrown', async () => {
    const { dial, plane, server } = await start();
    plane.setLocallyDisabled(true);
    const client = dial();
    client.send(request(NAME));
    expect(await client.ended()).toMatch(REFUSED);
    expect(server.received.join('')).toBe('');
  });

  it.each<[string, string]>([
    ['a request of another host', request('api.other.example')],
    ['a request that names another port', request(`${NAME}:1`)],
    ['HTTP/2, which names no host before its first request', PREFACE.toString('latin1')],
    ['TLS', HELLO],
    ['what is neither', '\x00\x00\x00\x08\x04\xd2\x16\x2f'],
  ])('passes on %s, byte by byte', async (_name, bytes) => {
    const { dial, server, metrics } = await start();
    const client = dial();
    client.send(bytes);
    await expect.poll(() => server.received.join('')).toBe(bytes);
    expect(metrics.registry.metrics()).toContain('breakwater_tunnels_total{cause="no-plan"} 1');
    client.socket.destroy();
  });

  it('lets a server speak first, and passes on other ports without a look', async () => {
    const greeting = await upstream(
      () => {},
      (socket) => socket.write('220 hello\r\n'),
    );
    const { dial } = await startCaptured(null, { tlsHosts: [{ name: NAME, port: greeting.port }] }).then((started) => {
      open.push(started.plane);
      return started;
    });
    expect(await dial(greeting.port).until((text) => text !== '')).toBe('220 hello\r\n');
    const elsewhere = await start(1);
    const client = elsewhere.dial();
    client.send(request(NAME));
    await client.until((text) => text.endsWith('ok'));
  });

  it('does as the plan says once it is there, also where that knows nothing of TLS any more', async () => {
    const { dial, plane, server } = await start();
    plane.applyPlan(workloadPlan());
    const client = dial();
    client.send(request(NAME));
    await client.until((text) => text.endsWith('ok'));
    plane.applyPlan(workloadPlan(hostPlan(server.port)));
    const later = dial();
    later.send(request(NAME));
    await later.until((text) => text.endsWith('ok'));
  });
});

describe('a listener of the pod', () => {
  async function start(capture: 'loopback' | 'explicit') {
    const server = await upstream(answering(OK));
    const [listen, other] = [capture === 'loopback' ? server.port : await freePort(), await freePort()];
    const address = capture === 'loopback' ? '127.77.0.1' : '127.0.0.1';
    const entry = { address, service: null, clusterIPs: [] };
    const bootstrap: Bootstrap = {
      formatVersion: 1,
      capture,
      leftOut: [],
      entries: [
        { ...entry, host: NAME, ports: [{ listen, port: server.port }] },
        { ...entry, host: 'api.other.example', ports: [{ listen: other, port: server.port }] },
      ],
    };
    const plane: ProxyDataPlane = createDataPlane({
      capture,
      bootstrap,
      outboundPort: 0,
      bindHost: '127.0.0.1',
      originalDestination: null,
      names: new TableOfNames({ [NAME]: ['127.0.0.1'], 'api.other.example': ['127.0.0.1'] }),
      tlsHosts: [{ name: NAME, port: server.port }],
      clock: systemClock,
      random: seededRandom(5),
      log: silentLogger,
      metrics: createSidecarMetrics(),
    });
    open.push(plane);
    await plane.listen();
    const dial = (port: number): Client => connect(port, true, address);
    return { server, plane, dial: () => dial(listen), dialOther: () => dial(other) };
  }

  it.each(['loopback', 'explicit'] as const)('refuses requests, whatever Host they name (%s)', async (capture) => {
    const { server, dial, dialOther } = await start(capture);
    for (const host of [NAME, '127.0.0.1', 'api.other.example']) {
      const client = dial();
      client.send(request(host));
      expect(await client.ended()).toMatch(REFUSED);
    }
    expect(server.received.join('')).toBe('');
    const other = dialOther();
    other.send(request('api.other.example'));
    await other.until((text) => text.endsWith('ok'));
  });

  it.each<[string, string]>([
    ['HTTP/2', PREFACE.toString('latin1')],
    ['what is neither HTTP nor TLS', '\x00\x00\x00\x08\x04\xd2\x16\x2f'],
  ])('resets %s', async (_name, bytes) => {
    const { server, plane, dial } = await start('loopback');
    const client = dial();
    client.send(bytes);
    expect(await client.closed()).toBe('ECONNRESET');
    expect(server.connections).toBe(0);
    expect(plane.inFlight()).toBe(0);
  });

  it('passes on TLS that the application speaks itself', async () => {
    const { server, dial } = await start('loopback');
    const client = dial();
    client.send(HELLO);
    await expect.poll(() => server.received.join('')).toBe(HELLO);
    client.socket.destroy();
  });
});
