import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ApiClient, CONTENT_TYPES } from './api-client.ts';
import { ApiError, ApiUnreachable, parseRetryAfter } from './api-errors.ts';
import { type Answer, failure, json, ScriptedApi } from './scripted-api.ts';

let api: ScriptedApi;
let clock: ManualClock;
let client: ApiClient;
let counted: string[];

beforeEach(async () => {
  api = new ScriptedApi();
  await api.start();
  clock = new ManualClock();
  counted = [];
  client = newClient(api.kubeConfig());
});

afterEach(async () => {
  await client.close();
  await api.stop();
});

function newClient(kubeConfig: KubeConfig): ApiClient {
  return new ApiClient({
    kubeConfig,
    clock,
    random: () => 0,
    onRequest: (method, code) => counted.push(`${method} ${code}`),
  });
}

async function errorOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error('the call succeeded');
}

const cut: Answer = (response) => response.socket?.resetAndDestroy();

describe('a call', () => {
  test('carries query, body, content type and token', async () => {
    api.answer(json(200, { fine: true }));
    const query = { fieldManager: 'me', force: true, absent: undefined };
    const answer = await client.request('PATCH', '/a', { query, body: { b: 1 }, contentType: CONTENT_TYPES.apply });
    expect(answer).toEqual({ fine: true });
    const [asked] = api.asked;
    expect(asked).toMatchObject({ method: 'PATCH', path: '/a', body: '{"b":1}' });
    expect(asked?.query.toString()).toBe('fieldManager=me&force=true');
    expect(asked?.headers).toMatchObject({
      authorization: 'Bearer secret-token',
      'content-type': 'application/apply-patch+yaml',
    });
  });

  test('fails with status, reason, causes and what the server asks to wait', async () => {
    api.answer(
      failure(409, 'Conflict', { details: { causes: [{ reason: 'FieldManagerConflict' }], retryAfterSeconds: 3 } }),
    );
    const error = await errorOf(client.request('POST', '/a', { body: {} }));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 409,
      reason: 'Conflict',
      causes: ['FieldManagerConflict'],
      retryAfterMs: 3_000,
    });
    expect(String(error)).toContain('scripted Conflict');
  });

  test('fails with the text of a server in between that is no API server', async () => {
    api.answer((response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'));
    const error = await errorOf(client.request('POST', '/a', { body: {} }));
    expect(error).toMatchObject({ status: 502, message: '502 Unknown: <h1>Bad Gateway</h1>' });
  });

  test('is made again where that does no harm: 500, 503, a reset, a cut answer', async () => {
    const cutAnswer: Answer = (response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"half":');
      setImmediate(() => response.socket?.resetAndDestroy());
    };
    api.answer(failure(500, 'InternalError'), cut, cutAnswer, json(200, { fine: true }));
    expect(await client.request('GET', '/a')).toEqual({ fine: true });
    expect(counted).toEqual(['GET 500', 'GET <error>', 'GET 200', 'GET 200']);
  });

  test('is given up after three repetitions', async () => {
    const fails = failure(503, 'ServiceUnavailable');
    api.answer(fails, fails, fails, fails);
    expect(await errorOf(client.request('GET', '/a'))).toMatchObject({ status: 503 });
    expect(api.asked).toHaveLength(4);
  });

  test.each([400, 403, 404, 409, 422])('is not made again after %d', async (status) => {
    api.answer(failure(status, 'Whatever'));
    expect(await errorOf(client.request('GET', '/a'))).toMatchObject({ status });
    expect(api.asked).toHaveLength(1);
  });

  test('is not made again where it may have been done already', async () => {
    api.answer(cut);
    expect(await errorOf(client.request('POST', '/a', { body: {} }))).toBeInstanceOf(ApiUnreachable);
    expect(api.asked).toHaveLength(1);
  });

  test('leaves long waits to the caller', async () => {
    api.answer(failure(429, 'TooManyRequests', {}, { 'retry-after': '30' }));
    expect(await errorOf(client.request('GET', '/a'))).toMatchObject({ status: 429, retryAfterMs: 30_000 });
    expect(api.asked).toHaveLength(1);
  });

  test('ends when its time is over, or its caller has gone', async () => {
    api.answer(() => undefined);
    expect(await errorOf(client.request('GET', '/a', { timeoutMs: 50, repeatable: false }))).toBeInstanceOf(
      ApiUnreachable,
    );
    api.answer(() => undefined);
    const gone = new AbortController();
    const call = errorOf(client.request('GET', '/b', { signal: gone.signal }));
    await api.request(1);
    gone.abort(new Error('the caller has gone'));
    expect(await call).toMatchObject({ message: 'the caller has gone' });
  });

  test('says where the server cannot be reached', async () => {
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromClusterAndUser({ name: 'c', server: 'http://127.0.0.1:1', skipTLSVerify: true }, { name: 'u' });
    const nobody = newClient(kubeConfig);
    const error = await errorOf(nobody.request('GET', '/a', { repeatable: false }));
    expect(error).toBeInstanceOf(ApiUnreachable);
    expect(String(error)).toContain('GET /a: connect ECONNREFUSED');
    await nobody.close();
  });
});

describe('the token of a service account', () => {
  let folder: string;
  let tokenFile: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'breakwater-api-client-'));
    tokenFile = join(folder, 'token');
    await writeFile(tokenFile, 'first\n');
    const kubeConfig = api.kubeConfig();
    const [cluster] = kubeConfig.clusters;
    if (cluster === undefined) throw new Error('the scripted server has a cluster');
    const authProvider = { name: 'tokenFile', config: { tokenFile } };
    kubeConfig.loadFromClusterAndUser(cluster, { name: 'account', authProvider });
    client = newClient(kubeConfig);
  });

  afterEach(() => rm(folder, { recursive: true }));

  const tokens = () => api.asked.map(({ headers }) => headers.authorization);

  test('is read from its file, and kept', async () => {
    api.answer(json(200, {}), json(200, {}));
    await client.request('GET', '/a');
    await client.request('GET', '/a');
    expect(tokens()).toEqual(['Bearer first', 'Bearer first']);
  });

  test('is read again after ten seconds', async () => {
    api.answer(json(200, {}), json(200, {}), json(200, {}));
    await client.request('GET', '/a');
    await writeFile(tokenFile, 'second\n');
    await clock.advance(9_000);
    await client.request('GET', '/a');
    await clock.advance(1_000);
    await client.request('GET', '/a');
    expect(tokens()).toEqual(['Bearer first', 'Bearer first', 'Bearer second']);
  });

  test('is read again at once where the server refuses it', async () => {
    api.answer(json(200, {}), failure(401, 'Unauthorized'), json(200, { fine: true }));
    await client.request('GET', '/a');
    await writeFile(tokenFile, 'second\n');
    expect(await client.request('POST', '/a', { body: {} })).toEqual({ fine: true });
    expect(tokens()).toEqual(['Bearer first', 'Bearer first', 'Bearer second']);
  });

  test('a call that is refused twice fails', async () => {
    api.answer(failure(401, 'Unauthorized'), failure(401, 'Unauthorized'));
    expect(await errorOf(client.request('POST', '/a', { body: {} }))).toMatchObject({ status: 401 });
    expect(api.asked).toHaveLength(2);
  });
});

test('a kubeconfig without a cluster is refused', () => {
  expect(() => newClient(new KubeConfig())).toThrow('no current cluster');
});

test.each([
  ['120', 120_000],
  ['0', 0],
  [new Date(1_700_000_060_000).toUTCString(), 60_000],
  [new Date(1_600_000_000_000).toUTCString(), 0],
  ['soon', undefined],
  ['', undefined],
  [undefined, undefined],
])('Retry-After %j means %j ms', (value, expected) => {
  expect(parseRetryAfter(value, 1_700_000_000_000)).toBe(expected);
});
