// What is not plain HTTP/1.1 request and response works through an injected pod as it does without: declared or not.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apply, exec, listPods } from './harness/kube.ts';
import { DEBIAN_IMAGE, deployment, scriptInImage, service, serviceDependency } from './harness/objects.ts';
import { REAL_TIME } from './harness/real-time.ts';
import { deleteNamespace, freshNamespace, isInjected, untilCondition, untilReady } from './harness/shop.ts';

const NAMESPACE = 'test-protocols';
const UPLOAD_BYTES = 1 << 30;
const NOT_INJECTED = { 'breakwater.dev/injection': 'disabled' };

const POSTGRESQL_START = `initdb -D /data/pg -U shop --auth=trust >/dev/null
echo "host all all 0.0.0.0/0 trust" >> /data/pg/pg_hba.conf
exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/data`;

const postgresql = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'postgresql', namespace: NAMESPACE, labels: { app: 'postgresql', ...NOT_INJECTED } },
  spec: {
    terminationGracePeriodSeconds: 1,
    // The user that Debian's package makes.
    securityContext: { runAsUser: 101, runAsGroup: 103, fsGroup: 103 },
    containers: [
      {
        name: 'app',
        image: DEBIAN_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command: ['sh', '-ec', POSTGRESQL_START],
        readinessProbe: { exec: { command: ['pg_isready', '-q', '-h', '127.0.0.1'] }, periodSeconds: 1 },
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
  },
};

const databaseClient = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: NAMESPACE, labels: { app: name, ...labels } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'app', image: DEBIAN_IMAGE, imagePullPolicy: 'IfNotPresent', command: ['sleep', 'infinity'] }],
  },
});

const PORTS = [8443, 8081, 8082, 8083, 8084, 8085, 8086];

beforeAll(async () => {
  await freshNamespace(NAMESPACE, { 'breakwater.dev/injection': 'enabled' });
  const entries = (service_: string, ports: readonly number[]) =>
    ports.map((port) => ({ name: `${service_}-${port}`, service: { name: service_, port } }));
  await apply(
    // No port says what it speaks: the sidecar has to find out.
    service(
      NAMESPACE,
      'protocols',
      PORTS.map((port) => ({ port, name: `p${port}` })),
    ),
    service(NAMESPACE, 'postgresql', [{ port: 5432 }]),
    postgresql,
    deployment({ namespace: NAMESPACE, name: 'protocols', script: 'protocols.ts', ports: PORTS, labels: NOT_INJECTED }),
    serviceDependency(NAMESPACE, 'declared', 'declared', entries('protocols', PORTS)),
    serviceDependency(NAMESPACE, 'database', 'database', entries('postgresql', [5432])),
    deployment({ namespace: NAMESPACE, name: 'declared', script: 'client.ts' }),
    deployment({ namespace: NAMESPACE, name: 'undeclared', script: 'client.ts' }),
    deployment({ namespace: NAMESPACE, name: 'without', script: 'client.ts', labels: NOT_INJECTED }),
    databaseClient('database'),
    databaseClient('database-without', NOT_INJECTED),
  );
  for (const app of ['postgresql', 'protocols', 'declared', 'undeclared', 'without', 'database', 'database-without']) {
    const [pod] = await untilReady(NAMESPACE, `app=${app}`, 1);
    expect(pod && isInjected(pod), app).toBe(['declared', 'undeclared', 'database'].includes(app));
  }
  for (const name of ['declared', 'database'])
    await untilCondition('ServiceDependency', NAMESPACE, name, 'Programmed', 'True');
}, 180_000);
afterAll(() => deleteNamespace(NAMESPACE));

async function converse(app: string, protocol: string, ...args: string[]): Promise<Record<string, unknown>> {
  const [pod] = await listPods(NAMESPACE, `app=${app}`);
  const printed = await exec(
    NAMESPACE,
    pod?.metadata.name ?? '',
    'app',
    'node',
    scriptInImage('protocol-client.ts'),
    protocol,
    'protocols',
    ...args,
  );
  return JSON.parse(printed) as Record<string, unknown>;
}

describe.each(['declared', 'undeclared', 'without'])('%s', (app) => {
  test('TLS is spoken with the server itself', async () => {
    expect(await converse(app, 'tls')).toEqual({
      body: { tls: true, path: '/hello' },
      commonName: 'protocols',
      protocol: 'TLSv1.3',
    });
  });

  test('h2c with prior knowledge', async () => {
    expect(await converse(app, 'h2c')).toEqual({ streams: 20, correct: true });
  });

  test('a WebSocket, and its orderly end', async () => {
    expect(await converse(app, 'websocket')).toEqual({ received: 100, bigIsEqual: true, code: 1000 });
  });

  test('server-sent events arrive as they are sent', REAL_TIME, async () => {
    const { events, maxDelayMs } = await converse(app, 'events');
    expect(events).toBe(20);
    expect(maxDelayMs).toBeLessThan(150);
  });

  test('a server that speaks first', REAL_TIME, async () => {
    const { received, greetingMs } = await converse(app, 'speaks-first');
    expect(received).toBe('220 breakwater-test ready\r\n221 bye\r\n');
    expect(greetingMs).toBeLessThan(200);
  });

  test('an end of stream in one direction', async () => {
    expect(await converse(app, 'half-close')).toEqual({ equal: true });
  });
});

test('an upload of 1 GB arrives whole, and the sidecar does not keep it', async () => {
  const [pod] = await listPods(NAMESPACE, 'app=declared');
  const name = pod?.metadata.name ?? '';
  expect(await converse('declared', 'upload', String(UPLOAD_BYTES))).toEqual({
    status: 200,
    bytes: UPLOAD_BYTES,
    equal: true,
  });
  // Peak of resident memory, in kB.
  const status = await exec(NAMESPACE, name, 'breakwater', 'cat', '/proc/1/status');
  expect(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1])).toBeLessThan(220_000);
}, 120_000);

describe.each(['database', 'database-without'])('PostgreSQL from %s', (pod) => {
  const sql = (...args: string[]) =>
    exec(NAMESPACE, pod, 'app', 'psql', '-h', 'postgresql', '-U', 'shop', '-d', 'postgres', '-At', ...args);

  test('a session with a big result', async () => {
    await sql('-c', 'drop table if exists entries; create table entries(id int primary key, text text)');
    await sql('-c', "insert into entries select n, repeat('x', n % 1000) from generate_series(1, 100000) n");
    expect((await sql('-c', 'select count(*), sum(length(text)) from entries')).trim()).toBe('100000|49950000');
    expect((await sql('-c', 'select * from entries order by id')).length).toBe(
      100_000 + 49_950_000 + 488_895 + 100_000,
    );
  }, 60_000);

  test('pgbench: concurrent sessions, no failed transaction', async () => {
    const bench = (...args: string[]) =>
      exec(NAMESPACE, pod, 'app', 'pgbench', '-h', 'postgresql', '-U', 'shop', ...args, 'postgres');
    await bench('-i', '-q');
    const printed = await bench('-c', '8', '-t', '200');
    expect(printed).toMatch(/number of transactions actually processed: 1600\/1600/);
    expect(printed).toMatch(/number of failed transactions: 0 /);
  }, 60_000);
});
