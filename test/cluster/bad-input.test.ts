// What is malformed or not allowed gets a clear error, and nobody else notices.
import { sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { api, apply, exec, type KubeObject, kubectl, listPods } from './harness/kube.ts';
import { scriptInImage, serviceDependency, WORKLOADS_IMAGE } from './harness/objects.ts';
import { metricValue, Shop, untilCondition, untilReady } from './harness/shop.ts';
import { sleep } from './shell.ts';

let shop: Shop;

/** A pod without the sidecar that holds tokens of its own: one for us, one for somebody else, one that expires soon. */
const stranger = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'stranger', namespace, labels: { app: 'stranger', 'breakwater.dev/injection': 'disabled' } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'app',
        image: WORKLOADS_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command: ['sleep', 'infinity'],
        volumeMounts: [{ name: 'tokens', mountPath: '/tokens' }],
      },
    ],
    volumes: [
      {
        name: 'tokens',
        projected: {
          sources: [
            { serviceAccountToken: { audience: 'breakwater', expirationSeconds: 3600, path: 'ours' } },
            { serviceAccountToken: { audience: 'somebody-else', expirationSeconds: 3600, path: 'others' } },
          ],
        },
      },
    ],
  },
});

beforeAll(async () => {
  shop = await Shop.open('bad-input', { policy: { circuitBreaker: { consecutiveFailures: 5, openFor: '10m' } } });
  await apply(stranger(shop.namespace));
  await untilReady(shop.namespace, 'app=stranger', 1);
});
afterAll(() => shop?.close());

interface StreamAnswer {
  status: number;
  body: string;
  error?: string;
}

interface PlanFrame {
  kind: string;
  plan?: { serviceDependencies: string[]; dependencies: { name: string }[] };
}

async function stream(path: string, token: string, ...rest: string[]): Promise<StreamAnswer> {
  const printed = await exec(
    shop.namespace,
    'stranger',
    'app',
    'node',
    scriptInImage('stream-client.ts'),
    path,
    token,
    ...rest,
  );
  return JSON.parse(printed) as StreamAnswer;
}

describe('requests of the application', () => {
  async function send(bytes: string): Promise<{ received: string; error: string }> {
    const base64 = Buffer.from(bytes, 'latin1').toString('base64');
    const printed = await exec(
      shop.namespace,
      await shop.checkout(),
      'app',
      'node',
      scriptInImage('raw-client.ts'),
      'payments',
      '8080',
      base64,
    );
    return JSON.parse(printed) as { received: string; error: string };
  }

  test.each([
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
      400,
      'malformed',
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'malformed',
    ],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : payments\r\n\r\n', 400, 'malformed'],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'malformed'],
    ['a bare carriage return', 'GET / HTTP/1.1\r\nHost: payments\r\nX-A: a\rb\r\n\r\n', 400, 'malformed'],
    [
      'a head that is too large',
      `GET / HTTP/1.1\r\nHost: payments\r\nX-Big: ${'x'.repeat(40_000)}\r\n\r\n`,
      431,
      'head-too-large',
    ],
    [
      'a target that is too long',
      `GET /${'x'.repeat(12_000)} HTTP/1.1\r\nHost: payments\r\n\r\n`,
      414,
      'target-too-long',
    ],
  ])('%s', async (_what, bytes, status, reason) => {
    await shop.resetCounts();
    const { received } = await send(bytes);
    expect(received).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(received.toLowerCase()).toContain(`breakwater-reason: ${reason}`);
    expect(received.toLowerCase()).toContain('connection: close');
    expect((await shop.counts()).requests).toBe(0);
  });

  test('a chunk that is malformed after the head was forwarded: no complete request arrives', async () => {
    await shop.resetCounts();
    const { received } = await send(
      'POST / HTTP/1.1\r\nHost: payments\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n',
    );
    expect(received).toMatch(/^HTTP\/1.1 400 /);
    expect((await shop.counts()).executed).toBe(0);
  });

  test('none of it counts against the dependency, and other requests are served', async () => {
    expect((await shop.load({ requests: 50, concurrency: 5 })).statuses).toEqual({ 200: 50 });
    expect(
      metricValue(await shop.metrics(), 'breakwater_circuit_state', { dependency: 'payments', state: 'Closed' }),
    ).toBe(1);
  });
});

describe('streams of the operator', () => {
  test.each([
    ['no token', '-', 401],
    ['a token for somebody else', '/tokens/others', 401],
  ])('%s is refused', async (_what, token, status) => {
    const answer = await stream('/v1/plan', token);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatch(/token/i);
  });

  test('a token that was tampered with is refused', async () => {
    await exec(shop.namespace, 'stranger', 'app', 'sh', '-c', 'sed "s/.\\{5\\}$/AAAAA/" /tokens/ours > /tmp/forged');
    expect((await stream('/v1/plan', '/tmp/forged')).status).toBe(401);
  });

  // A token lives ten minutes at least, so one that expired is made with the key of the cluster; only ours is at hand.
  const signingKey = join(dirname(process.env['KUBECONFIG'] ?? ''), 'sa.key');

  test.runIf(existsSync(signingKey))('an expired token is refused, while the same one was good before', async () => {
    const { namespace } = shop;
    const [pod] = await listPods(namespace, 'app=stranger');
    const account = await api<KubeObject>('GET', `/api/v1/namespaces/${namespace}/serviceaccounts/default`);
    const now = Math.floor(Date.now() / 1000);
    const tokenUntil = (expiresAt: number) => {
      const claims = {
        iss: 'https://kubernetes.default.svc',
        aud: ['breakwater'],
        iat: now - 3600,
        nbf: now - 3600,
        exp: expiresAt,
        sub: `system:serviceaccount:${namespace}:default`,
        'kubernetes.io': {
          namespace,
          serviceaccount: { name: 'default', uid: account.metadata.uid },
          pod: { name: 'stranger', uid: pod?.metadata.uid },
        },
      };
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const signed = `${part({ alg: 'RS256' })}.${part(claims)}`;
      return `${signed}.${sign('sha256', Buffer.from(signed), readFileSync(signingKey)).toString('base64url')}`;
    };
    const write = (token: string) =>
      exec(namespace, 'stranger', 'app', 'sh', '-c', `printf %s '${token}' > /tmp/token`);

    await write(tokenUntil(now + 600));
    expect((await stream('/v1/plan', '/tmp/token')).status).toBe(200);
    await write(tokenUntil(now - 60));
    const refused = await stream('/v1/plan', '/tmp/token');
    expect(refused.status).toBe(401);
    expect(refused.body).toMatch(/token/i);
  });

  test("a pod that asks for another workload's plan is refused, and without asking gets its own", async () => {
    await apply(
      serviceDependency(shop.namespace, 'stranger', 'stranger', [
        { name: 'only-mine', service: { name: 'payments', port: 8080 } },
      ]),
    );
    await untilCondition('ServiceDependency', shop.namespace, 'stranger', 'ResolvedRefs', 'True');
    const refused = await stream(`/v1/plan?workload=${shop.namespace}/checkout`, '/tokens/ours');
    expect(refused.status).toBe(403);
    expect(refused.body).toMatch(/NotYourWorkload/);
    expect(refused.body).not.toMatch(/"dependencies"/);

    const own = await stream('/v1/plan?namespace=billing&pod=checkout&serviceDependencies=checkout', '/tokens/ours');
    expect(own.status).toBe(200);
    const frames = own.body
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as PlanFrame);
    const plan = frames.find((frame) => frame.kind === 'plan')?.plan;
    expect(plan?.serviceDependencies).toEqual(['stranger']);
    expect(plan?.dependencies.map((dependency) => dependency.name)).toEqual(['only-mine']);
  });

  test('a reader that never reads does not hold up the others', async () => {
    const slow = Promise.all(Array.from({ length: 5 }, () => stream('/v1/plan', '/tokens/ours', '12000', 'slow')));
    for (const openFor of ['1m', '2m', '3m', '4m']) {
      const started = Date.now();
      // Programmed is what the acknowledgements of the other sidecars make.
      await shop.setPolicy({ circuitBreaker: { consecutiveFailures: 5, openFor } });
      // Those that do not read stay for twelve seconds.
      expect(Date.now() - started).toBeLessThan(8_000);
      await sleep(500);
    }
    expect((await shop.load({ requests: 50 })).statuses).toEqual({ 200: 50 });
    await slow;
    const restarts = await kubectl(
      '-n',
      'breakwater-system',
      'get',
      'pods',
      '-l',
      'app.kubernetes.io/component=operator',
      '-o',
      'jsonpath={.items[*].status.containerStatuses[*].restartCount}',
    );
    expect(restarts.split(' ').map(Number)).toEqual([0, 0]);
  });
});
