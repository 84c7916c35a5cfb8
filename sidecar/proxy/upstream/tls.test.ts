// TLS to hosts through the data path, against real servers of node:tls, with certificates that are made here.
import net, { type Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket, type TLSSocketOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { TlsPlan } from '../../../plan/certificates.ts';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { type Pair, TestAuthority } from '../../tls/testing/certificates.ts';
import { MemoryCertificates } from '../../tls/testing/memory-certificates.ts';
import { secured } from '../../tls/testing/tls-upstream.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  startBench,
  startCaptured,
  TableOfNames,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open, upstream: plainUpstream } = opened();

const NAME = 'api.partner.example';
const authority = await TestAuthority.create();
const other = await TestAuthority.create('Another authority');
const server = await authority.host([NAME]);
const client = await authority.client('checkout');

function hostPlan(tls: Partial<TlsPlan> = {}, policy: Partial<PolicyPlan> = {}): DependencyPlan {
  return dependencyPlan(policy, {
    service: null,
    protocol: 'Detect',
    authority: NAME,
    host: {
      name: NAME,
      port: 80,
      tls: {
        port: 443,
        serverName: NAME,
        authorities: [{ kind: 'ConfigMap', name: 'partners' }],
        clientCertificate: null,
        ...tls,
      },
    },
  });
}

const AUTHORITY = { 'configmap/partners/ca.crt': authority.cert };
const clientFiles = ({ cert, key }: Pair) => ({ 'secret/client/tls.crt': cert, 'secret/client/tls.key': key });

async function through(
  upstream: Upstream,
  plan = hostPlan(),
  certificates = new MemoryCertificates(AUTHORITY),
): Promise<Bench & { certificates: MemoryCertificates }> {
  const bench = await startBench(plan, [upstream.endpoint], { certificates });
  open.push(upstream, bench);
  return Object.assign(bench, { certificates });
}

function upstream(
  options: SecureContextOptions & TLSSocketOptions = {},
  onData: (received: string, socket: Socket, connection: number) => void = answering(OK),
  onConnection?: (socket: Socket, connection: number) => void,
): Promise<Upstream> {
  return startUpstream(onData, onConnection, secured({ ...server, ...options }));
}

const get = (path: string, host = NAME) => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

async function call(port: number, path = '/', host = NAME): Promise<string> {
  const application = connect(port);
  application.send(get(path, host));
  const text = await application.until((received) => received.includes('\r\n\r\n'), 5_000);
  application.socket.destroy();
  return text;
}

describe('a host that is called in plain HTTP', () => {
  it('is spoken to in TLS, with its name in SNI and HTTP/1.1 by ALPN', async () => {
    const seen: TLSSocket[] = [];
    const host = await upstream(
      { ALPNProtocols: ['h2', 'http/1.1'] },
      answering(OK),
      (socket) => void seen.push(socket as TLSSocket),
    );
    const { port, metric } = await through(host);
    expect(await call(port)).toContain('200 OK');
    const [socket] = seen;
    expect([socket?.servername, socket?.alpnProtocol, socket?.getProtocol()]).toEqual([NAME, 'http/1.1', 'TLSv1.3']);
    expect(await metric('breakwater_upstream_connects_total', { result: 'success' })).toBe(1);
    expect(await metric('breakwater_tls_handshakes_total', { session: 'full' })).toBe(1);
  });

  it('is called over one connection again and again', async () => {
    const host = await upstream();
    const { port } = await through(host);
    const application = connect(port);
    application.send(get('/a') + get('/b') + get('/c'));
    await application.until((text) => text.split('200 OK').length === 4);
    expect(host.connections).toBe(1);
  });

  it.each([
    [NAME, NAME],
    [`${NAME}:80`, NAME],
    [`API.Partner.Example:80`, NAME],
    [`${NAME}.`, NAME],
    [`${NAME}:8080`, `${NAME}:8080`],
    ['tenant.partner.example', 'tenant.partner.example'],
    ['127.0.0.1:4000', NAME],
  ])('that writes Host %s is asked as %s', async (written, sent) => {
    const host = await upstream();
    const { port } = await through(host);
    await call(port, '/', written);
    expect(host.received[0]).toContain(`\r\nHost: ${sent}\r\n`);
  });
});

interface Refusal {
  name: string;
  failure: string;
  detail: RegExp;
  server?: SecureContextOptions & TLSSocketOptions;
  plan?: Partial<TlsPlan>;
  files?: Record<string, string>;
}

const expired = await authority.host([NAME], { notAfterUnixMs: Date.now() - 60_000 });
const early = await authority.host([NAME], { notBeforeUnixMs: Date.now() + 3_600_000 });
const misnamed = await authority.host(['www.partner.example', '*.api.partner.example']);
const stranger = await other.host([NAME]);
const CLIENT: Partial<TlsPlan> = { clientCertificate: 'client' };
const mutual = { requestCert: true, rejectUnauthorized: true, ca: authority.cert };

const REFUSALS: readonly Refusal[] = [
  { name: 'whose certificate has expired', failure: 'tls-expired', detail: /has expired/, server: expired },
  { name: 'whose certificate is not valid yet', failure: 'tls-expired', detail: /not valid yet/, server: early },
  { name: 'whose certificate has other names', failure: 'tls-name', detail: /not for the name/, server: misnamed },
  {
    name: 'of an unknown authority',
    failure: 'tls-authority',
    detail: /authority that is not trusted/,
    server: stranger,
  },
  {
    name: 'of a private authority, where those of the web are trusted',
    failure: 'tls-authority',
    detail: /authority that is not trusted/,
    plan: { authorities: [] },
  },
  {
    name: 'that wants another name than it is called by',
    failure: 'tls-name',
    detail: /hostname/,
    plan: { serverName: 'gateway.partner.example' },
  },
  {
    name: 'that wants a client certificate and is shown none, in TLS 1.3',
    failure: 'tls-client-certificate',
    detail: /asked for a client certificate/,
    server: mutual,
  },
  {
    name: 'that speaks TLS 1.1 at most',
    failure: 'tls-version',
    detail: /TLS 1\.2 or newer/,
    server: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  },
  {
    name: 'whose authority was never given',
    failure: 'tls-certificates',
    detail: /has not got the certificates/,
    plan: { authorities: [{ kind: 'Secret', name: 'nobody' }] },
  },
  {
    name: 'for which the client certificate was never given',
    failure: 'tls-certificates',
    detail: /has not got the certificates/,
    plan: CLIENT,
  },
];

describe('a host', () => {
  it.each(REFUSALS)('$name is not called, and the answer says why', async (refusal) => {
    const host = await upstream(refusal.server);
    const certificates = new MemoryCertificates({ ...AUTHORITY, ...refusal.files });
    const { port, metric, plane } = await through(host, hostPlan(refusal.plan), certificates);
    const text = await call(port);
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).toMatch(/\r\nBreakwater-Reason: connect-failed\r\n/i);
    const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as { detail: string };
    expect(body.detail).toMatch(refusal.detail);
    expect(body.detail).toContain('The request was not sent.');
    expect(await metric('breakwater_upstream_connects_total', { result: refusal.failure })).toBeGreaterThan(0);
    expect(host.received.join('')).toBe('');
    const [view] = plane.tls();
    if (refusal.failure === 'tls-certificates') expect(view?.certificates).toHaveLength(1);
    else expect(view?.handshake).toBe(refusal.failure);
  });
});

describe('a client certificate', () => {
  const withClient = (pair: Pair) => new MemoryCertificates({ ...AUTHORITY, ...clientFiles(pair) });

  /** Answers with the name of the client that it sees. */
  const names = (socket: Socket): string => String((socket as TLSSocket).getPeerCertificate().subject?.CN);
  const naming: Parameters<typeof upstream>[1] = (received, socket) => {
    const body = names(socket);
    answering(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)(received, socket);
  };

  it('is shown to a host that asks for one', async () => {
    const host = await upstream(mutual, naming);
    const { port } = await through(host, hostPlan(CLIENT), withClient(client));
    expect(await call(port)).toMatch(/checkout$/);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('that is new is used for the next connection, over %s', async (version) => {
    const host = await upstream({ ...mutual, minVersion: version, maxVersion: version }, naming);
    const { port, certificates, metric } = await through(host, hostPlan(CLIENT), withClient(client));
    expect(await call(port)).toMatch(/checkout$/);
    expect(await call(port)).toMatch(/checkout$/);
    expect(host.connections).toBe(1);
    certificates.setClient('client', await authority.client('renewed'));
    expect(await call(port)).toMatch(/renewed$/);
    expect(host.connections).toBe(2);
    // A session of the old certificate would have brought its name along.
    expect(await metric('breakwater_tls_handshakes_total', { session: 'resumed' })).toBe(0);
  });

  it('is not kept in memory beyond the plans that name it', async () => {
    const host = await upstream(mutual, naming);
    const { certificates, plane, port } = await through(host, hostPlan(CLIENT), withClient(client));
    expect(certificates.kept).toEqual(['configmap/partners/ca.crt', 'secret/client/tls.crt', 'secret/client/tls.key']);
    plane.applyPlan(workloadPlan(hostPlan()));
    expect(certificates.kept).toEqual(['configmap/partners/ca.crt']);
    plane.applyPlan(workloadPlan(hostPlan(CLIENT)));
    expect(await call(port)).toMatch(/checkout$/);
    plane.applyPlan(workloadPlan());
    expect(certificates.kept).toEqual([]);
  });

  it('is changed under load, and no request fails of it', async () => {
    const host = await upstream(mutual, naming);
    const { port, certificates } = await through(host, hostPlan(CLIENT), withClient(client));
    const pairs = await Promise.all(['a', 'b', 'c', 'd'].map((name) => authority.client(name)));
    const seen = new Set<string>(['checkout']);
    expect(await call(port)).toMatch(/checkout$/);
    const load = async () => {
      for (let n = 0; n < 40; n++) {
        const text = await call(port);
        expect(text).toMatch(/^HTTP\/1\.1 200 /);
        seen.add(text.slice(text.indexOf('\r\n\r\n') + 4));
      }
    };
    const rotation = async () => {
      for (const pair of pairs) {
        const { size } = seen;
        certificates.setClient('client', pair);
        await expect.poll(() => seen.size, { interval: 1 }).toBeGreaterThan(size);
      }
    };
    await Promise.all([load(), load(), load(), load(), rotation()]);
    expect([...seen].sort()).toEqual(['a', 'b', 'c', 'checkout', 'd']);
  });

  it.each([
    ['is gone', { 'secret/client/tls.key': null }, /tls\.key; create it/],
    ['is no certificate', { 'secret/client/tls.crt': 'nonsense' }, /holds no certificate in PEM/],
    ['has the key of another', { 'secret/client/tls.key': server.key }, /is not the key of its tls\.crt/],
  ])('that %s leaves the last good one in force, and is told', async (_, texts, problem) => {
    const host = await upstream(mutual, naming);
    const { port, certificates, metric, plane } = await through(host, hostPlan(CLIENT), withClient(client));
    expect(await call(port)).toMatch(/checkout$/);
    let told = 0;
    plane.onTlsChange(() => told++);
    certificates.set(texts);
    expect(plane.tls()[0]?.certificates.join()).toMatch(problem);
    expect([told, await metric('breakwater_certificate_problems')]).toEqual([1, 1]);
    expect(await call(port)).toMatch(/checkout$/);
    certificates.setClient('client', await authority.client('mended'));
    expect(await call(port)).toMatch(/mended$/);
    expect(plane.tls()[0]?.certificates).toEqual([]);
  });

  it('and what else is in use are metrics by their end', async () => {
    const host = await upstream(mutual, naming);
    const { port, metric } = await through(host, hostPlan(CLIENT), withClient(client));
    await call(port);
    const name = 'breakwater_certificate_expires_timestamp_seconds';
    for (const certificate of ['client', 'authority', 'host'])
      expect(await metric(name, { certificate })).toBeGreaterThan(Date.now() / 1000 + 3600);
  });
});

describe('authorities', () => {
  it('that are new are trusted from the next connection on, and old ones no more', async () => {
    const host = await upstream(stranger);
    const { port, certificates, plane } = await through(host);
    expect(await call(port)).toContain('502');
    expect(plane.tls()[0]?.handshake).toBe('tls-authority');
    certificates.set({ 'configmap/partners/ca.crt': `${authority.cert}\n${other.cert}` });
    expect(await call(port)).toContain('200 OK');
    expect(plane.tls()[0]?.handshake).toBeNull();
    certificates.set({ 'configmap/partners/ca.crt': authority.cert });
    expect(await call(port)).toContain('502');
  });
});

describe('sessions', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('are resumed over %s', async (version) => {
    const bye = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';
    const host = await upstream({ minVersion: version, maxVersion: version }, answering(bye));
    const { port, metric } = await through(host);
    // Tickets of TLS 1.3 come on their own, and may come after the answer, when nobody reads any more.
    await expect
      .poll(
        async () => {
          expect(await call(port)).toContain('200 OK');
          return metric('breakwater_tls_handshakes_total', { session: 'resumed' });
        },
        { timeout: 10_000 },
      )
      .toBeGreaterThan(2);
    expect(await metric('breakwater_tls_handshakes_total')).toBe(host.connections);
  });

  it('of another setting are not resumed', async () => {
    const bye = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';
    const both = await authority.host([NAME, 'gateway.partner.example']);
    const host = await upstream(both, answering(bye));
    const { port, metric, plane } = await through(host);
    await call(port);
    const changed = hostPlan({ serverName: 'gateway.partner.example' });
    plane.applyPlan(workloadPlan(changed));
    await call(port);
    expect(await metric('breakwater_tls_handshakes_total', { session: 'full' })).toBe(2);
  });
});

describe('an answer that ends with its connection', () => {
  const head = 'HTTP/1.1 200 OK\r\n\r\n';
  const big = 'x'.repeat(3_000_000);
  const underlying = new WeakMap<Socket, Socket>();
  const raw = (options: object = {}) =>
    startUpstream(
      (received, socket) => {
        if (!received.endsWith('\r\n\r\n')) return;
        const body = received.includes('GET /big') ? big : 'all of it';
        socket.write(head + body, () => {
          if (received.includes('?cut')) underlying.get(socket)?.end();
          else socket.end();
        });
      },
      undefined,
      (accepted) => {
        const socket = secured({ ...server, ...options })(accepted);
        underlying.set(socket, accepted);
        return socket;
      },
    );

  it.each(['TLSv1.2', 'TLSv1.3'])('by close_notify is whole, over %s', async (version) => {
    const host = await raw({ minVersion: version, maxVersion: version });
    const { port } = await through(host);
    const application = connect(port);
    application.send(get('/small'));
    const text = await application.until((received) => received.endsWith('0\r\n\r\n'), 5_000);
    expect(text).toContain('all of it');
  });

  it.each(['TLSv1.2', 'TLSv1.3'])('of TCP alone is cut, over %s', async (version) => {
    const host = await raw({ minVersion: version, maxVersion: version });
    const { port, metric } = await through(host);
    const application = connect(port);
    application.send(get('/small?cut'));
    const text = await application.ended(5_000);
    expect(text).toContain('all of it');
    expect(text).not.toMatch(/0\r\n\r\n$/);
    expect(await metric('breakwater_requests_total', { reason: 'upstream' })).toBe(0);
    expect(await metric('breakwater_attempts_total', { result: 'reset' })).toBe(1);
  });

  it.each([
    ['whole', '/big', true],
    ['cut', '/big?cut', false],
  ])('is %s to an application that reads slowly, as it was sent', async (_, path, isWhole) => {
    const host = await raw();
    const { port } = await through(host);
    const application = connect(port);
    application.socket.pause();
    application.send(get(path));
    // Longer than everybody's buffers: the leg is paused in the middle of it, and again at its end.
    await expect.poll(() => host.received[0]?.endsWith('\r\n\r\n')).toBe(true);
    application.socket.resume();
    if (isWhole) {
      const text = await application.until((received) => received.endsWith('0\r\n\r\n'), 10_000);
      expect(text.split('x').length - 1).toBe(big.length);
    } else {
      expect((await application.ended(10_000)).endsWith('0\r\n\r\n')).toBe(false);
    }
  });
});

describe('a handshake', () => {
  /** Between the sidecar and the host: passes so many bytes of the host on, then ends as told. */
  async function cutter(to: number, bytes: number, how: 'reset' | 'end'): Promise<Upstream> {
    return startUpstream(
      () => {},
      (socket) => {
        const upstreamSocket = net.connect(to, '127.0.0.1');
        open.push({ close: () => upstreamSocket.destroy() });
        let left = bytes;
        upstreamSocket.on('error', () => {});
        upstreamSocket.on('data', (chunk: Buffer) => {
          socket.write(chunk.subarray(0, left));
          left -= Math.min(left, chunk.length);
          if (left > 0) return;
          if (how === 'reset') socket.resetAndDestroy();
          else socket.end();
        });
        socket.on('data', (chunk) => upstreamSocket.write(chunk));
        socket.on('close', () => upstreamSocket.destroy());
      },
    );
  }

  it('that is broken off at any byte fails the connection, and nothing is sent', async () => {
    const host = await upstream();
    open.push(host);
    let complete = 0;
    for (let bytes = 0; complete === 0; bytes += 1 + Math.floor(bytes / 8)) {
      for (const how of ['reset', 'end'] as const) {
        const middle = await cutter(host.port, bytes, how);
        const bench = await startBench(hostPlan(), [middle.endpoint], {
          certificates: new MemoryCertificates(AUTHORITY),
        });
        const text = await call(bench.port);
        expect(text).toContain('502');
        // The host is through with its part of the handshake: what breaks off then is a connection.
        const reason = /breakwater-reason: (\S+)/i.exec(text)?.[1];
        if (reason === 'reset') complete++;
        else expect(reason).toBe('connect-failed');
        await bench.close();
        middle.close();
      }
    }
    expect(complete).toBeGreaterThan(0);
  }, 60_000);

  it('that takes too long is over with the time to connect, and another address is tried', async () => {
    // Takes connections and says nothing.
    const silent = await startUpstream(() => {});
    const host = await upstream();
    // Longer than a handshake takes here, however busy it is.
    const policy = { timeouts: { requestMs: 0, attemptMs: 0, connectMs: 1_000, idleMs: 0, opaqueIdleMs: 0 } };
    const bench = await startBench(hostPlan({}, policy), [silent.endpoint, host.endpoint], {
      certificates: new MemoryCertificates(AUTHORITY),
    });
    open.push(silent, host, bench);
    for (let n = 0; n < 6; n++) expect(await call(bench.port)).toContain('200 OK');
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'timeout' })).toBeGreaterThan(0);
  });
});

describe('beside requests', () => {
  it('a WebSocket goes through TLS, in both directions and to its end', async () => {
    const host = await upstream({}, (received, socket) => {
      if (received.endsWith('\r\n\r\n'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello ');
      else if (received.endsWith('bye')) socket.end('farewell');
      else socket.write('echo');
    });
    const { port } = await through(host);
    const application = connect(port);
    application.send(`GET / HTTP/1.1\r\nHost: ${NAME}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
    await application.until((text) => text.endsWith('hello '));
    application.send('abc');
    await application.until((text) => text.endsWith('echo'));
    application.send('bye');
    expect(await application.ended()).toMatch(/farewell$/);
  });

  it('a WebSocket whose TLS is cut without its close_notify is reset, for its end was not authentic', async () => {
    const carriers: Socket[] = [];
    const host = await startUpstream(
      (received, socket) => {
        if (received.endsWith('\r\n\r\n'))
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello');
        else carriers[0]?.end();
      },
      undefined,
      (accepted) => {
        carriers.push(accepted);
        return secured(server)(accepted);
      },
    );
    const { port } = await through(host);
    const application = connect(port);
    application.send(`GET / HTTP/1.1\r\nHost: ${NAME}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
    await application.until((text) => text.endsWith('hello'));
    application.send('cut');
    expect(await application.closed()).toBe('ECONNRESET');
  });

  it('what the application itself sends in TLS is passed on untouched', async () => {
    const names = new TableOfNames({ [NAME]: ['127.0.0.1'] });
    const host = await upstream();
    const plan = hostPlan({ port: host.port });
    const bench = await startBench({ ...plan, balancing: 'Dns' }, null, {
      names,
      certificates: new MemoryCertificates(),
    });
    open.push(host, bench);
    const application = tls.connect({ port: bench.port, host: '127.0.0.1', servername: NAME, ca: authority.cert });
    application.write(get('/'));
    const text = await new Promise<string>((resolve) => application.once('data', (chunk) => resolve(String(chunk))));
    expect(text).toBe(OK);
    application.destroy();
    expect(host.received[0]).toBe(get('/'));
    expect(await bench.metric('breakwater_tls_handshakes_total')).toBe(0);
  });

  it('what is neither HTTP nor TLS does not go out as it is', async () => {
    const host = await upstream();
    const { port } = await through(host);
    const application = connect(port);
    application.send('\u0000\u0001password\n');
    expect(await application.closed()).toBe('ECONNRESET');
    expect(host.connections).toBe(0);
  });

  it('the kill switch takes the policies away, and not the TLS', async () => {
    const host = await upstream({}, answering('HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n'));
    const { port, plane } = await through(
      host,
      hostPlan({}, { circuitBreaker: { ...BREAKER, consecutiveFailures: 1 } }),
    );
    plane.setLocallyDisabled(true);
    for (let n = 0; n < 3; n++) expect(await call(port)).toContain('500 No');
    expect(host.received.join('').split('GET ')).toHaveLength(4);
  });

  it('health checks speak TLS too', async () => {
    const healthCheck = {
      stateKey: 'healthCheck:base',
      path: '/healthz',
      host: null,
      port: null,
      intervalMs: 100,
      timeoutMs: 2_000,
      unhealthyThreshold: 1,
      healthyThreshold: 1,
      expectedStatuses: [200],
      grpc: null,
    };
    const host = await upstream();
    const { metric } = await through(host, hostPlan({}, { healthCheck }));
    await expect.poll(() => metric('breakwater_health_checks_total', { result: 'passed' })).toBeGreaterThan(0);
    expect(host.received[0]).toMatch(/^GET \/healthz /);
    const untrusted = await upstream(stranger);
    const other_ = await through(untrusted, hostPlan({}, { healthCheck }));
    await expect.poll(() => other_.metric('breakwater_health_checks_total', { result: 'failed' })).toBeGreaterThan(0);
    expect(other_.plane.choices()[0]?.unhealthy[0]?.problem).toContain('authority that is not trusted');
  });

  it('two dependencies on one host share neither connections nor sessions', async () => {
    const bye = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';
    const host = await upstream({}, answering(bye));
    const { port, plane, metric } = await through(host);
    const second = {
      ...hostPlan({ authorities: [{ kind: 'Secret', name: 'none' }] }),
      id: 'shop/checkout/b',
      name: 'b',
    };
    plane.applyPlan(workloadPlan(hostPlan(), second));
    await expect.poll(() => plane.addresses()['b']).toBeDefined();
    await call(port);
    expect(await call(Number(plane.addresses()['b']?.split(':')[1]))).toContain('502');
    expect(await metric('breakwater_tls_handshakes_total')).toBe(1);
  });
});

describe('under capture by iptables', () => {
  it('a request that names the host goes out in TLS, to the address that the application chose', async () => {
    const host = await upstream();
    const plan = hostPlan({ port: host.port });
    if (plan.host) plan.host.port = 4080;
    const names = new TableOfNames();
    const captured = await startCaptured(workloadPlan({ ...plan, balancing: 'Dns' }), {
      names,
      certificates: new MemoryCertificates(AUTHORITY),
    });
    open.push(host, captured.plane);
    const application = captured.dial(4080);
    application.send(get('/', `${NAME}:4080`));
    await application.until((text) => text.endsWith('ok'), 5_000);
    expect(host.received[0]).toContain(`\r\nHost: ${NAME}\r\n`);
  });

  it.each(['GE', 'GET ', 'GET / HTTP/1.1\r\nAuthorization: secret\r\nHo'])(
    'a request that is slow to name it goes out in TLS all the same, and not as it is: %j',
    async (beginning) => {
      const host = await upstream();
      const plain = await plainUpstream(answering(OK));
      const plan = hostPlan({ port: host.port });
      if (plan.host) plan.host.port = plain.port;
      const clock = new ManualClock();
      const captured = await startCaptured(workloadPlan({ ...plan, balancing: 'Dns' }), {
        clock,
        names: new TableOfNames({ [NAME]: ['127.0.0.1'] }),
        certificates: new MemoryCertificates(AUTHORITY),
      });
      open.push(host, captured.plane);
      const request = `GET / HTTP/1.1\r\nAuthorization: secret\r\nHost: ${NAME}:${plain.port}\r\n\r\n`;
      const application = captured.dial(plain.port);
      application.send(beginning);
      await expect.poll(() => captured.plane.held().timers).toBeGreaterThan(0);
      await clock.advance(1_100);
      application.send(request.slice(beginning.length));
      await application.until((text) => text.endsWith('ok'), 5_000);
      expect([host.received.length, plain.received.join('')]).toEqual([1, '']);
      const stranger = captured.dial(plain.port);
      stranger.send('GET / HTTP/1.1\r\nHost: other');
      await clock.advance(1_100);
      stranger.send('.example\r\n\r\n');
      await stranger.until((text) => text.endsWith('ok'), 5_000);
      expect(plain.received.join('')).toContain('other.example');
    },
  );
});
