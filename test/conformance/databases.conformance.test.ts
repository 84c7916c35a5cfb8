// Real clients of PostgreSQL and Redis before real servers, with a sidecar in between: what they get is what they get without it, and the policies of
// connections act on them. Declared opaque and found out, for the way of the first byte differs.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../standalone/harness.ts';
import {
  type DatabaseServer,
  psql,
  psqlArguments,
  redis,
  redisArguments,
  startPostgres,
  startRedis,
} from './databases.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar, type Declared } from './sidecar.ts';

/** Beyond what the sidecar may hold of a result that nobody reads. */
const MAX_GROWTH_BYTES = 40 * 1024 * 1024;

const policy = {
  timeouts: { connect: '500ms', idle: '5m' },
  retries: { maxAttempts: 2, backoff: { initial: '10ms', max: '20ms' } },
  circuitBreaker: { consecutiveFailures: 3, openFor: '10s', halfOpen: { maxProbes: 1, successes: 1 } },
  bulkhead: { maxConcurrent: 3, maxQueued: 0 },
};

const dependencies = (port: number): Record<string, Declared> => ({
  declared: { ports: [port], appProtocol: 'tcp', policy },
  detected: { ports: [port], policy },
});
const NAMES = ['declared', 'detected'] as const;

/** Reads all that comes, as fast as it comes. */
async function digest(child: ChildProcess): Promise<{ bytes: number; hash: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  await once(child, 'close');
  return { bytes, hash: hash.digest('hex') };
}

interface Database {
  server: DatabaseServer;
  sidecar: ConformanceSidecar;
}

/** Started before the tests of a block, stopped after them. */
function database(start: () => Promise<DatabaseServer>): Database {
  const made = {} as Database;
  beforeAll(async () => {
    made.server = await start();
    made.sidecar = await ConformanceSidecar.start(dependencies(made.server.port));
  }, 120_000);
  afterAll(async () => {
    await made.sidecar?.stop();
    await made.server?.stop();
  }, 60_000);
  return made;
}

const circuit = ({ sidecar }: Database, dependency: string, state: string) =>
  sidecar.metric('breakwater_circuit_state', { dependency, state });
const result = ({ sidecar }: Database, dependency: string, how: string) =>
  sidecar.metric('breakwater_tcp_connections_total', { dependency, result: how });

/** A client that holds a connection until it is told to end. */
function holding(
  command: string,
  args: readonly string[],
  words: string,
): { child: ChildProcess; ready: Promise<unknown> } {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ready = new Promise((resolve, reject) => {
    child.stdout?.once('data', resolve);
    child.once('close', () => reject(new Error(`${command} ended at once`)));
  });
  child.stdin?.write(words);
  return { child, ready };
}

/** A killed server opens the circuit, refused connects never reach it, and it closes when the server is back. */
async function opensAndCloses(made: Database, name: string, ask: (port: number) => Promise<unknown>): Promise<void> {
  const port = made.sidecar.port(name);
  await ask(port);
  await made.server.kill();
  for (let calls = 0; calls < 4; calls++) await expect(ask(port)).rejects.toThrow();
  expect(await circuit(made, name, 'Open')).toBe(1);
  const connects = await made.sidecar.metric('breakwater_upstream_connects_total', { dependency: name });
  const refused = await result(made, name, 'circuit-open');
  await expect(ask(port)).rejects.toThrow();
  // Some clients try again by themselves.
  expect(await result(made, name, 'circuit-open')).toBeGreaterThan(refused);
  expect(await made.sidecar.metric('breakwater_upstream_connects_total', { dependency: name })).toBe(connects);
  await made.server.start();
  await until(
    () =>
      ask(port).then(
        () => true,
        () => false,
      ),
    'the circuit lets a probe through',
  );
  await until(async () => (await circuit(made, name, 'Closed')) === 1, 'the circuit closes');
  await ask(port);
}

/** Three hold their connections; a fourth is refused, and gets in when one of them ends. */
async function isBounded(
  made: Database,
  name: string,
  hold: (port: number) => { child: ChildProcess; ready: Promise<unknown> },
  ask: (port: number) => Promise<unknown>,
): Promise<void> {
  const port = made.sidecar.port(name);
  const held = [hold(port), hold(port), hold(port)];
  try {
    await Promise.all(held.map(({ ready }) => ready));
    expect(await made.sidecar.metric('breakwater_tcp_connections', { dependency: name })).toBe(3);
    const before = await result(made, name, 'bulkhead-full');
    await expect(ask(port)).rejects.toThrow();
    // Some clients try again by themselves.
    expect(await result(made, name, 'bulkhead-full')).toBeGreaterThan(before);
    held[0]?.child.kill();
    await until(
      () =>
        ask(port).then(
          () => true,
          () => false,
        ),
      'there is a place again',
    );
  } finally {
    for (const { child } of held) child.kill();
  }
  await made.sidecar.untilIdle();
}

describe.skipIf(isMissing('postgres', 'initdb', 'psql'))('PostgreSQL', { timeout: 180_000 }, () => {
  const made = database(startPostgres);
  const ask = (port: number) => psql(port, 'select 1');

  it.each(NAMES)('answers queries, %s', async (name) => {
    const port = made.sidecar.port(name);
    const statement = "select string_agg(md5(i::text), ',') from generate_series(1, 5000) i";
    expect(await psql(port, statement)).toBe(await psql(made.server.port, statement));
    await expect(psql(port, 'select 1/0')).rejects.toThrow('division by zero');
    await made.sidecar.untilIdle();
    expect(await circuit(made, name, 'Closed')).toBe(1);
  });

  it.each(NAMES)(
    'sends a result of 100 MB to a reader that takes its time, and the sidecar does not hold it, %s',
    async (name) => {
      const copy = "copy (select i, repeat('x', 1000) from generate_series(1, 100000) i) to stdout";
      const start = (port: number) =>
        spawn(partPath('psql'), [...psqlArguments(port), '-c', copy], { stdio: ['ignore', 'pipe', 'inherit'] });
      const direct = await digest(start(made.server.port));
      expect(direct.bytes).toBeGreaterThan(100_000_000);
      const before = made.sidecar.rssBytes;
      const slow = start(made.sidecar.port(name));
      const received = () =>
        made.sidecar.metric('breakwater_tcp_bytes_total', { dependency: name, direction: 'received' });
      const already = await received();
      // Nobody reads its output: psql stops, and everything behind it.
      await until(async () => (await received()) > already, 'the result begins');
      let last = -1;
      await until(async () => {
        const now = await received();
        const stands = now === last;
        last = now;
        await sleep(200);
        return stands;
      }, 'it stands still');
      expect(last - already).toBeLessThan(direct.bytes);
      expect(made.sidecar.rssBytes - before).toBeLessThan(MAX_GROWTH_BYTES);
      expect(await digest(slow)).toEqual(direct);
      await made.sidecar.untilIdle();
    },
  );

  it.each(NAMES)('takes 50 MB by COPY, %s', async (name) => {
    const table = `copied_${name}`;
    await psql(made.server.port, `create table ${table} (line text)`);
    const args = [...psqlArguments(made.sidecar.port(name)), '-c', `copy ${table} from stdin`];
    const child = spawn(partPath('psql'), args, { stdio: ['pipe', 'inherit', 'inherit'] });
    const line = `${'y'.repeat(999)}\n`.repeat(1_000);
    for (let block = 0; block < 50; block++) if (!child.stdin.write(line)) await once(child.stdin, 'drain');
    child.stdin.end();
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(await psql(made.server.port, `select count(*), sum(length(line)) from ${table}`)).toBe('50000|49950000');
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('tells of notifications, %s', async (name) => {
    const { child, ready } = holding(
      partPath('psql'),
      psqlArguments(made.sidecar.port(name)),
      "listen news; select 'listening';\n",
    );
    await ready;
    await psql(made.server.port, "notify news, 'hello'");
    const told = once(child.stdout ?? child, 'data');
    child.stdin?.write("select 'again';\n");
    let text = String((await told)[0]);
    child.stdout?.on('data', (chunk) => (text += String(chunk)));
    await until(
      () => text.includes('"news" with payload "hello"'),
      () => `the notification comes: ${text}`,
    );
    child.stdin?.end();
    await once(child, 'close');
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('gets no more connections than the bulkhead allows, %s', (name) =>
    isBounded(made, name, (port) => holding(partPath('psql'), psqlArguments(port), "select 'here';\n"), ask),
  );

  it.each(NAMES)('opens the circuit when it is killed, and closes it when it is back, %s', (name) =>
    opensAndCloses(made, name, ask),
  );
});

describe.skipIf(isMissing('redis-server', 'redis-cli'))('Redis', { timeout: 180_000 }, () => {
  const made = database(startRedis);
  const ask = (port: number) => redis(port, 'PING');

  it.each(NAMES)('answers commands, %s', async (name) => {
    const port = made.sidecar.port(name);
    expect(await redis(port, 'SET', `key-${name}`, 'a value')).toBe('OK');
    expect(await redis(port, 'GET', `key-${name}`)).toBe('a value');
    await expect(redis(port, 'NONSENSE')).rejects.toThrow('unknown command');
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('takes a pipeline of 100,000 commands, %s', async (name) => {
    const child = spawn(partPath('redis-cli'), [...redisArguments(made.sidecar.port(name)), '--pipe'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const said = digest(child);
    for (let block = 0; block < 100; block++) {
      const commands = Array.from({ length: 1_000 }, (_, i) => `INCRBY sum-${name} ${block * 1_000 + i}\r\n`).join('');
      if (!child.stdin.write(commands)) await once(child.stdin, 'drain');
    }
    child.stdin.end();
    expect((await said).bytes).toBeGreaterThan(0);
    expect(await redis(made.server.port, 'GET', `sum-${name}`)).toBe(String((99_999 * 100_000) / 2));
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('gives a value of 50 MB whole, %s', async (name) => {
    await redis(made.server.port, 'SETRANGE', 'large', String(50 * 1024 * 1024 - 1), 'z');
    const get = (port: number) =>
      digest(
        spawn(partPath('redis-cli'), [...redisArguments(port), 'GET', 'large'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        }),
      );
    expect(await get(made.sidecar.port(name))).toEqual(await get(made.server.port));
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('tells subscribers what is published, %s', async (name) => {
    const port = made.sidecar.port(name);
    const child = spawn(partPath('redis-cli'), [...redisArguments(port), 'SUBSCRIBE', `news-${name}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => (text += String(chunk)));
    await until(() => text.includes('subscribe'), 'it has subscribed');
    for (let nth = 0; nth < 100; nth++)
      expect(await redis(made.server.port, 'PUBLISH', `news-${name}`, `message ${nth}.`)).toBe('1');
    await until(
      () => text.includes('message 99.'),
      () => `all messages come: ${text.slice(-200)}`,
    );
    for (let nth = 0; nth < 100; nth++) expect(text).toContain(`message ${nth}.`);
    child.kill();
    await made.sidecar.untilIdle();
  });

  it.each(NAMES)('gets no more connections than the bulkhead allows, %s', (name) =>
    isBounded(made, name, (port) => holding(partPath('redis-cli'), redisArguments(port), 'PING\n'), ask),
  );

  it.each(NAMES)('opens the circuit when it is killed, and closes it when it is back, %s', (name) =>
    opensAndCloses(made, name, ask),
  );
});
