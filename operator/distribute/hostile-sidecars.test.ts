// What a stranger, or a sidecar that means harm, may try at the operator's port: over real TLS, and bounded by what is counted.
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { PATHS } from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createCertificates } from '../certificates/certificates.ts';
import { MemoryStore } from '../certificates/memory-store.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { podA, podB, result, workload } from './fixtures.ts';
import { createStaticAuthenticator } from './static-tokens.ts';
import { createDistributor } from './stream-server.ts';

const TOKEN = 'token-of-uid-a-0123456789';
const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp(requestWithinMs?: number) {
  const certificates = createCertificates({
    store: new MemoryStore(),
    names: ['localhost'],
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await certificates.start();
  const one = workload('v1', ['payments'], [podA, podB]);
  const distributor = createDistributor({
    clock: systemClock,
    log: silentLogger,
    authenticator: createStaticAuthenticator([{ token: TOKEN, ...podA }]),
    workloadOfPod: () => Promise.resolve(one),
  });
  distributor.publish(result([one]));
  const server = new HttpsServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates,
    register: (fastify) => distributor.register(fastify),
    closeStreams: () => distributor.close(),
    clock: systemClock,
    ...(requestWithinMs === undefined ? {} : { requestWithinMs }),
  });
  await server.start();
  cleanUps.push(async () => {
    await server.stop();
    certificates.stop();
  });

  /** A connection that says this and then nothing; what comes back is collected. */
  function say(text: string | Buffer) {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: server.port,
      servername: 'localhost',
      ca: certificates.trustBundle(),
    });
    const heard = { socket, text: '', closed: false };
    socket.on('secureConnect', () => socket.write(text));
    socket.on('data', (bytes) => {
      heard.text += bytes.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      heard.closed = true;
    });
    cleanUps.push(() => void socket.destroy());
    return heard;
  }
  return { say, distributor };
}

const until = (check: () => void) => vi.waitFor(check, { timeout: 15_000, interval: 5 });
const head = (method: string, path: string, ...headers: string[]) =>
  [`${method} ${path} HTTP/1.1`, 'host: localhost', ...headers, '', ''].join('\r\n');
const bearer = `authorization: Bearer ${TOKEN}`;
const json = 'content-type: application/json';

function post(path: string, body: string): string {
  return head('POST', path, bearer, json, 'connection: close', `content-length: ${Buffer.byteLength(body)}`) + body;
}

describe('a stranger', () => {
  test('is refused before a byte of what it wants to send is read', async () => {
    const { say } = await setUp();
    const heard = say(head('POST', PATHS.circuits, json, 'content-length: 4000000'));
    await until(() => expect(heard.text).toMatch(/^HTTP\/1.1 401 /));
    await until(() => expect(heard.closed).toBe(true));
  });

  test.each([
    ['a header without end', 'GET /v1/plan HTTP/1.1\r\nx: '],
    ['a body without end', head('POST', PATHS.acknowledgements, bearer, json, 'content-length: 16000')],
    ['nothing', ''],
  ])('that sends %s is cut off, and streams live on', async (_, text) => {
    const { say, distributor } = await setUp(300);
    const stream = say(head('GET', PATHS.plan, bearer));
    await until(() => expect(stream.text).toContain('"kind":"plan"'));
    const slow = Array.from({ length: 20 }, () => say(text));
    await until(() => expect(slow.every(({ closed }) => closed)).toBe(true));
    expect(stream.closed).toBe(false);
    expect(distributor.openStreams).toBe(1);
  });

  test.each([
    [
      'a header of a megabyte',
      `GET ${PATHS.plan} HTTP/1.1\r\nauthorization: Bearer ${'a'.repeat(1_000_000)}\r\n\r\n`,
      431,
    ],
    ['ten thousand headers', head('GET', PATHS.plan, ...Array.from({ length: 10_000 }, (_, i) => `x-${i}: y`)), 431],
    ['two lengths', head('POST', PATHS.circuits, bearer, json, 'content-length: 2', 'content-length: 3'), 400],
    [
      'a length and chunks',
      head('POST', PATHS.circuits, bearer, json, 'content-length: 2', 'transfer-encoding: chunked'),
      400,
    ],
    ['a header in a header', head('GET', PATHS.plan, 'authorization: Bearer a\r\nx: y\nauthorization: Bearer b'), 400],
    ['bytes that are no HTTP', Buffer.from([0, 1, 2, 255, 13, 10, 13, 10]), 400],
  ])('that sends %s is answered and cut off', async (_, text, status) => {
    const { say } = await setUp();
    const heard = say(text);
    await until(() => expect(heard.closed).toBe(true));
    expect(heard.text).toMatch(new RegExp(`^(HTTP/1.1 (${status}|401) |$)`));
  });
});

describe('a sidecar that means harm', () => {
  test('has one stream of each kind, however many it opens', async () => {
    const { say, distributor } = await setUp();
    const streams = Array.from({ length: 100 }, () => say(head('GET', PATHS.plan, bearer)));
    const replaced = () => streams.filter(({ text }) => text.includes('"reason":"Replaced"'));
    await until(() => expect(replaced()).toHaveLength(99));
    expect(distributor.openStreams).toBe(1);
  });

  test.each([
    ['far too much', PATHS.acknowledgements, `"${'x'.repeat(20_000)}"`, 413],
    ['two million circuits', PATHS.circuits, `{"circuits":[${'0,'.repeat(1_900_000)}0]}`, 400],
    ['nothing but brackets', PATHS.circuits, '['.repeat(3_900_000), 400],
    ['small objects only', PATHS.circuits, `{"circuits":[${'{},'.repeat(1_200_000)}{}]}`, 400],
    ['bytes that are no UTF-8', PATHS.acknowledgements, '{"stream":"plan","version":"\ud800"', 400],
  ])('that reports %s is refused, and the next report is taken', async (_, path, body, status) => {
    const { say, distributor } = await setUp();
    const heard = say(post(path, body));
    await until(() => expect(heard.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `)));
    expect(heard.text.length).toBeLessThan(2_000);
    const report = JSON.stringify({ stream: 'plan', version: 'v1', applied: true });
    const good = say(post(PATHS.acknowledgements, report));
    await until(() => expect(good.text).toMatch(/^HTTP\/1.1 204 /));
    expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ applied: 1 });
  });

  test('changes no prototype, and nothing of others', async () => {
    const { say, distributor } = await setUp();
    const circuit = (dependency: string) => ({
      dependency,
      stateKey: 'circuitBreaker:a/b/base',
      state: 'Open',
      since: 1,
      reason: 'x\u001b[31m\ny',
    });
    const body = `{"__proto__":{"polluted":1},"circuits":[${['shop/checkout/payments', 'billing/ledger/database', '__proto__'].map((id) => JSON.stringify(circuit(id))).join(',')}]}`;
    const heard = say(post(PATHS.circuits, body));
    await until(() => expect(heard.text).toMatch(/^HTTP\/1.1 (204|400) /));
    expect({}).not.toHaveProperty('polluted');
    const circuits = distributor.summaries().circuits;
    expect(circuits.every(({ dependencyId }) => dependencyId === 'shop/checkout/payments')).toBe(true);
    // oxlint-disable-next-line no-control-regex -- these must not be there
    expect(circuits.every(({ reason }) => !/[\u0000-\u001f]/.test(reason))).toBe(true);
  });
});
