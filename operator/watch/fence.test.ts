// Writes of a replica that leads, against the clock: what may still go out, and what the API server is told.
import { createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ApiClient, CONTENT_TYPES } from './api-client.ts';
import { type Fence, NotLeadingError } from './fence.ts';
import { failure, json, ScriptedApi } from './scripted-api.ts';

let api: ScriptedApi;
let clock: ManualClock;
let client: ApiClient;
let leadsUntilMs: number;
let loss: AbortController;
let fence: Fence;

beforeEach(async () => {
  api = new ScriptedApi();
  await api.start();
  clock = new ManualClock();
  client = new ApiClient({ kubeConfig: api.kubeConfig(), clock, random: () => 0 });
  leadsUntilMs = clock.monotonicMs() + 8_000;
  loss = new AbortController();
  fence = { leftMs: () => leadsUntilMs - clock.monotonicMs(), signal: loss.signal };
});

afterEach(async () => {
  await client.close();
  await api.stop();
});

const write = () => client.request('PATCH', '/status', { body: {}, contentType: CONTENT_TYPES.apply, fence });

test('a write tells the API server by when it must have happened', async () => {
  api.answer(json(200, {}));
  clock.block(3_000.5);
  await write();
  expect(api.asked[0]?.query.get('timeout')).toBe('4999ms');
});

test('the time of the call is the bound where it is shorter', async () => {
  api.answer(json(200, {}));
  await client.request('POST', '/events', { body: {}, fence, timeoutMs: 2_000 });
  expect(api.asked[0]?.query.get('timeout')).toBe('2000ms');
});

test('nothing is sent after the time is over, and nothing is tried again', async () => {
  api.answer(failure(503, 'ServiceUnavailable'));
  const written = write();
  await api.request(0);
  clock.block(8_000);
  await expect(written).rejects.toThrow(NotLeadingError);
  await expect(write()).rejects.toThrow(NotLeadingError);
  expect(api.asked).toHaveLength(1);
});

test('a write under way is given up when the lead is lost', async () => {
  const written = write();
  await api.request(0);
  loss.abort(new NotLeadingError('lost'));
  await expect(written).rejects.toThrow('lost');
});

test('a process that was stopped while it connected sends nothing when it goes on', async () => {
  // A server that accepts late: the operator is stopped in between, for longer than it led.
  const received: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('data', (bytes) => received.push(Buffer.from(bytes))).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const kubeConfig = api.kubeConfig();
  kubeConfig.loadFromClusterAndUser(
    {
      name: 'late',
      server: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
      skipTLSVerify: true,
    },
    { name: 'test', token: 'secret-token' },
  );
  const late = new ApiClient({ kubeConfig, clock, random: () => 0 });
  let asked = 0;
  const stopped: Fence = {
    // The first look is the call's own, the second the one when the connection is there.
    leftMs: () => (asked++ === 0 ? 8_000 : 6_999),
    signal: loss.signal,
  };
  await expect(late.request('POST', '/events', { body: {}, fence: stopped })).rejects.toThrow(NotLeadingError);
  expect(asked).toBe(2);
  expect(Buffer.concat(received).toString()).toBe('');
  await late.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});
