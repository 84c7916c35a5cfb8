// Real HTTPS on loopback, with certificates of our own authority: what a sidecar, or curl, would see.
import type { IncomingMessage } from 'node:http';
import { Agent, request as send } from 'node:https';
import { afterEach, describe, expect, test } from 'vitest';
import { decodePlanFrame, PATHS } from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createCertificates } from '../certificates/certificates.ts';
import { MemoryStore } from '../certificates/memory-store.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import type { PodIdentity } from './authenticate.ts';
import { podA, podB, result, workload } from './fixtures.ts';
import { createStaticAuthenticator } from './static-tokens.ts';
import { createDistributor } from './stream-server.ts';

const tokenOf = (pod: PodIdentity) => `token-of-${pod.uid}-0123456789`;
const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp() {
  const names = ['localhost', '127.0.0.1'];
  const certificates = createCertificates({
    store: new MemoryStore(),
    names,
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await certificates.start();
  const pods = new Map<string, CompiledWorkload>();
  const distributor = createDistributor({
    clock: systemClock,
    log: silentLogger,
    authenticator: createStaticAuthenticator([podA, podB].map((pod) => ({ token: tokenOf(pod), ...pod }))),
    workloadOfPod: (pod) => Promise.resolve(pods.get(pod.uid)),
    trust: certificates,
  });
  const server = new HttpsServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates,
    register: (fastify) => distributor.register(fastify),
    closeStreams: () => distributor.close(),
    clock: systemClock,
  });
  await server.start();
  const { port } = server;
  const agent = new Agent({ ca: certificates.trustBundle(), keepAlive: false });
  cleanUps.push(async () => {
    agent.destroy();
    await server.stop();
    certificates.stop();
  });
  const publish = (published: CompileResult) => {
    for (const one of published.workloads) {
      for (const pod of [podA, podB]) if (one.pods.includes(`shop/${pod.name}`)) pods.set(pod.uid, one);
    }
    distributor.publish(published);
  };

  function request(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
    return new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = send(
        { host: '127.0.0.1', port, servername: 'localhost', agent, method, path, headers },
        resolve,
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  /** The whole answer, of a request that is not a stream. */
  async function ask(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
    const response = await request(method, path, headers, body);
    const text = (await response.toArray()).join('');
    return {
      status: response.statusCode,
      headers: response.headers,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    };
  }
  return { distributor, publish, request, ask };
}

const as = (pod: PodIdentity) => ({ authorization: `Bearer ${tokenOf(pod)}` });
const json = (pod: PodIdentity) => ({ ...as(pod), 'content-type': 'application/json' });

/** Collects whole lines of a stream. */
function readLines(response: IncomingMessage): {
  lines: string[];
  until: (enough: (lines: string[]) => boolean) => Promise<void>;
} {
  const lines: string[] = [];
  let rest = '';
  response.setEncoding('utf8');
  response.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  const until = async (enough: (lines: string[]) => boolean) => {
    while (!enough(lines)) await new Promise((resolve) => setImmediate(resolve));
  };
  return { lines, until };
}

const checkout = (version: string, names: readonly string[] = ['payments']) => workload(version, names, [podA, podB]);
/** Cheaper than to decode a large plan again and again. */
const endsWith = (version: string) => (lines: readonly string[]) =>
  lines.at(-1)?.startsWith(`{"kind":"plan","version":"${version}"`) ?? false;
const versions = (lines: readonly string[]) =>
  lines.flatMap((line) => {
    const decoded = decodePlanFrame(line);
    if (!decoded.ok) throw new Error(decoded.message);
    return decoded.frame.kind === 'plan' ? [decoded.frame.version] : [];
  });

describe('streams', () => {
  test('are newline-delimited JSON over one response, and follow what is published', async () => {
    const { publish, request } = await setUp();
    publish(result([checkout('v1')]));
    const response = await request('GET', PATHS.plan, as(podA));
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('application/x-ndjson');
    const { lines, until } = readLines(response);
    await until((all) => all.length === 2);
    publish(result([checkout('v2')]));
    await until((all) => all.length === 3);
    expect(lines.map((line) => (JSON.parse(line) as { kind: string }).kind)).toEqual(['trust', 'plan', 'plan']);
    response.destroy();
  });

  test('end with a reason when the operator stops', async () => {
    const { publish, request, distributor } = await setUp();
    publish(result([checkout('v1')]));
    const response = await request('GET', `${PATHS.plan}?version=v1`, as(podA));
    const { lines, until } = readLines(response);
    await until((all) => all.length === 2);
    const closed = new Promise((resolve) => response.once('end', resolve));
    distributor.close();
    await closed;
    expect(lines.map((line) => JSON.parse(line) as object).slice(1)).toEqual([
      { kind: 'unchanged', version: 'v1' },
      { kind: 'end', reason: 'Shutdown' },
    ]);
  });

  test('a client that hangs up is noticed', async () => {
    const { publish, request, distributor } = await setUp();
    publish(result([checkout('v1')]));
    const response = await request('GET', PATHS.endpoints, as(podA));
    await readLines(response).until((all) => all.length === 1);
    expect(distributor.openStreams).toBe(1);
    response.destroy();
    while (distributor.openStreams > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  // Two hundred plans are made and read here: seconds of a processor, which others may want too.
  test('a sidecar that does not read costs no memory and no other sidecar anything; then it gets the newest', {
    timeout: 60_000,
  }, async () => {
    const { publish, request, ask } = await setUp();
    // 300 dependencies: a plan of some 200 kB, so that the buffers of the kernel are soon full.
    const names = Array.from({ length: 300 }, (_, index) => `service-${index}`);
    publish(result([checkout('v0', names)]));
    const slow = await request('GET', PATHS.plan, as(podA));
    const fast = await request('GET', PATHS.plan, as(podB));
    slow.pause();
    const fastLines = readLines(fast);
    await fastLines.until(endsWith('v0'));
    const startBytes = process.memoryUsage().arrayBuffers;
    for (let version = 1; version <= 200; version += 1) {
      publish(result([checkout(`v${version}`, names)]));
      await fastLines.until(endsWith(`v${version}`));
      fastLines.lines.length = 0;
    }
    expect(process.memoryUsage().arrayBuffers - startBytes).toBeLessThan(20 * 1024 * 1024);
    const ack = JSON.stringify({ stream: 'plan', version: 'v200', applied: true });
    expect((await ask('POST', PATHS.acknowledgements, json(podB), ack)).status).toBe(204);
    const slowLines = readLines(slow);
    slow.resume();
    await slowLines.until(endsWith('v200'));
    expect(versions(slowLines.lines).length).toBeLessThan(60);
    slow.destroy();
    fast.destroy();
  });
});

describe('bad requests get a clear answer', () => {
  test.each([
    ['no token', {}, PATHS.plan, 401, 'TokenMissing'],
    ['a wrong token', { authorization: 'Bearer 0123456789abcdef' }, PATHS.plan, 401, 'TokenRejected'],
    ['something else than a token', { authorization: 'Basic eDp5' }, PATHS.endpoints, 401, 'TokenMalformed'],
    ["another workload's plan", as(podA), `${PATHS.plan}?workload=billing/ledger`, 403, 'NotYourWorkload'],
    ['an impossible version', as(podA), `${PATHS.plan}?version=${'v'.repeat(200)}`, 400, 'BadQuery'],
    ['two versions', as(podA), `${PATHS.plan}?version=a&version=b`, 400, 'BadQuery'],
  ])('%s', async (_name, headers: Record<string, string>, path, status, reason) => {
    const { publish, ask } = await setUp();
    publish(result([checkout('v1')]));
    const answer = await ask('GET', path, headers);
    expect(answer).toMatchObject({ status, body: { status, reason } });
    expect(answer.headers['content-type']).toContain('application/json');
  });

  test('before the first publication: 503 and when to come back', async () => {
    const { ask } = await setUp();
    const answer = await ask('GET', PATHS.plan, as(podA));
    expect(answer).toMatchObject({ status: 503, body: { reason: 'NotSynced' } });
    expect(answer.headers['retry-after']).toBe('1');
  });

  test.each([
    ['cut JSON', '{"stream":"plan","ver', 400],
    ['no version', '{"stream":"plan","applied":true}', 400],
    ['an unknown stream', '{"stream":"other","version":"v1","applied":true}', 400],
    [
      'a long message',
      JSON.stringify({ stream: 'plan', version: 'v1', applied: false, message: 'x'.repeat(2000) }),
      400,
    ],
    [
      'far too much',
      JSON.stringify({ stream: 'plan', version: 'v1', applied: false, message: 'x'.repeat(100_000) }),
      413,
    ],
    ['nothing', '', 400],
  ])('an acknowledgement with %s', async (_name, body, status) => {
    const { publish, ask, distributor } = await setUp();
    publish(result([checkout('v1')]));
    const answer = await ask('POST', PATHS.acknowledgements, json(podA), body);
    expect(answer).toMatchObject({ status, body: { status } });
    expect(distributor.summaries().applied.size).toBe(0);
  });

  test('a report that is not JSON', async () => {
    const { publish, ask } = await setUp();
    publish(result([checkout('v1')]));
    const answer = await ask('POST', PATHS.circuits, { ...as(podA), 'content-type': 'text/html' }, '<p>');
    expect(answer).toMatchObject({ status: 415, body: { status: 415 } });
  });

  test('the token is asked for before a report is looked at', async () => {
    const { publish, ask } = await setUp();
    publish(result([checkout('v1')]));
    const answer = await ask('POST', PATHS.circuits, { 'content-type': 'application/json' }, '{}');
    expect(answer).toMatchObject({ status: 401, body: { reason: 'TokenMissing' } });
  });

  test('HEAD opens no stream', async () => {
    const { publish, request, distributor } = await setUp();
    publish(result([checkout('v1')]));
    const response = await request('HEAD', PATHS.plan, as(podA));
    expect(response.statusCode).toBe(404);
    expect(distributor.openStreams).toBe(0);
  });
});

test('reports reach the summaries', async () => {
  const { publish, ask, distributor } = await setUp();
  publish(result([checkout('v1')]));
  const acknowledged = await ask(
    'POST',
    PATHS.acknowledgements,
    json(podA),
    '{"stream":"plan","version":"v1","applied":true}',
  );
  expect(acknowledged.status).toBe(204);
  const circuit = {
    dependency: 'shop/checkout/payments',
    stateKey: 'base',
    state: 'Open',
    since: 5,
    reason: 'SlowCalls',
  };
  const exclusion = {
    dependency: 'shop/checkout/payments',
    stateKey: 'outlierDetection:base',
    endpoints: 1,
    totalEndpoints: 3,
    since: 5,
    panicking: false,
    names: [{ endpoint: '10.0.0.2:8080', reason: 'success rate' }],
  };
  const report = JSON.stringify({ circuits: [circuit], exclusions: [exclusion] });
  expect((await ask('POST', PATHS.circuits, json(podA), report)).status).toBe(204);
  expect(distributor.summaries().applied.get('shop/checkout')).toMatchObject({ applied: 1, of: 1 });
  expect(distributor.summaries().circuits).toMatchObject([{ state: 'Open', sidecars: 1, reason: 'SlowCalls' }]);
  expect(distributor.summaries().exclusions).toMatchObject([{ sidecars: 1, endpoints: 1, names: [{ sidecars: 1 }] }]);
});
