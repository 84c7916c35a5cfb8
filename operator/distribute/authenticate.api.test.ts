// Real tokens, judged by a real API server.
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { type Authenticator, createTokenReviewer, tokenClaims } from './authenticate.ts';
import { Distributor } from './distributor.ts';
import { result, workload } from './fixtures.ts';

let controlPlane: UsedControlPlane;
let api: ApiClient;
let authenticator: Authenticator;
const uids = new Map<string, string>();

beforeAll(async () => {
  controlPlane = await useControlPlane();
  api = new ApiClient({
    kubeConfig: loadKubeConfig(controlPlane.kubeconfigPath),
    clock: systemClock,
    random: systemRandom,
  });
  authenticator = createTokenReviewer({ api, clock: systemClock });
  await kubectl('create', 'namespace', 'shop');
  await kubectl('create', 'serviceaccount', 'checkout', '--namespace', 'shop');
  for (const name of ['checkout-a', 'checkout-b', 'checkout-c']) {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'shop' },
      spec: {
        serviceAccountName: 'checkout',
        nodeName: 'node',
        containers: [{ name: 'app', image: 'shop/checkout:1' }],
      },
    };
    const { metadata } = await api.request<{ metadata: { uid: string } }>('POST', '/api/v1/namespaces/shop/pods', {
      body: pod,
    });
    uids.set(name, metadata.uid);
  }
});
afterAll(async () => {
  await api.close();
  await controlPlane.stop();
});

async function kubectl(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await controlPlane.kubectl(args);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

function token(pod: string | undefined, audience = 'breakwater'): Promise<string> {
  const bound =
    pod === undefined
      ? []
      : ['--bound-object-kind', 'Pod', '--bound-object-name', pod, '--bound-object-uid', uids.get(pod) ?? ''];
  return kubectl(
    'create',
    'token',
    'checkout',
    '--namespace',
    'shop',
    '--audience',
    audience,
    '--duration',
    '10m',
    ...bound,
  );
}

test('a token of a replica opens the way to replicas, one of a sidecar does not, nor the other way round', async () => {
  const accepted = { audience: 'breakwater-peers', account: { namespace: 'shop', name: 'checkout' } };
  const peers = createTokenReviewer({ api, clock: systemClock, accepted });
  const ofPeer = `Bearer ${await token('checkout-a', 'breakwater-peers')}`;
  const ofSidecar = `Bearer ${await token('checkout-a')}`;
  expect(await peers.authenticate(ofPeer)).toMatchObject({ ok: true, pod: { name: 'checkout-a' } });
  expect(await peers.authenticate(ofSidecar)).toMatchObject({ ok: false, reason: 'WrongAudience' });
  expect(await authenticator.authenticate(ofPeer)).toMatchObject({ ok: false, reason: 'WrongAudience' });
  const others = createTokenReviewer({
    api,
    clock: systemClock,
    accepted: { ...accepted, account: { namespace: 'shop', name: 'operator' } },
  });
  expect(await others.authenticate(ofPeer)).toMatchObject({ ok: false, status: 403, reason: 'WrongAccount' });
});

/** The token with other claims, signed by the given key, of the API server by default. */
function resign(original: string, claims: object, key?: ReturnType<typeof createPrivateKey>): string {
  const [header = '', payload = ''] = original.split('.');
  const said = { ...(JSON.parse(Buffer.from(payload, 'base64url').toString()) as object), ...claims };
  const unsigned = `${header}.${Buffer.from(JSON.stringify(said)).toString('base64url')}`;
  const own = readFileSync(join(dirname(controlPlane.kubeconfigPath), 'service-account.key'));
  return `${unsigned}.${sign('RSA-SHA256', Buffer.from(unsigned), key ?? createPrivateKey(own)).toString('base64url')}`;
}

const seconds = () => Math.floor(systemClock.unixMs() / 1000);
const ask = (value: string) => authenticator.authenticate(`Bearer ${value}`);

test('the token of a pod is that pod, until the token expires', async () => {
  const value = await token('checkout-a');
  expect(await ask(value)).toEqual({
    ok: true,
    pod: { namespace: 'shop', name: 'checkout-a', uid: uids.get('checkout-a') },
    expiresUnixMs: tokenClaims(value)?.expiresUnixMs,
  });
  // What is signed again here is accepted, so that the refusals below come of what was changed.
  expect((await ask(resign(value, { nbf: seconds() - 60 }))).ok).toBe(true);
});

test('a token for somebody else is refused, by name', async () => {
  expect(await ask(await token('checkout-a', 'vault'))).toMatchObject({
    ok: false,
    status: 401,
    reason: 'WrongAudience',
  });
  expect(await ask(await token('checkout-a', 'https://kubernetes.default.svc'))).toMatchObject({
    reason: 'WrongAudience',
  });
});

test.each([600, 70, 30, 1])('a token that expired %i seconds ago opens nothing', async (ago) => {
  const value = resign(await token('checkout-a'), {
    iat: seconds() - 1200,
    nbf: seconds() - 1200,
    exp: seconds() - ago,
  });
  expect(await ask(value)).toMatchObject({ ok: false, status: 401, reason: 'TokenExpired' });
});

test('garbage and forgeries are refused', async () => {
  expect(await ask('garbage')).toMatchObject({ status: 401, reason: 'TokenMalformed' });
  const value = await token('checkout-a');
  expect(await ask(`${value.slice(0, -10)}AAAAAAAAAA`)).toMatchObject({ status: 401, reason: 'TokenRejected' });
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  expect(await ask(resign(value, {}, stranger))).toMatchObject({ status: 401, reason: 'TokenRejected' });
});

test('tokens that nobody signed, that are not valid yet, or that say more than one thing are refused', async () => {
  const value = await token('checkout-a');
  const [, payload = '', signature = ''] = value.split('.');
  const encode = (text: string) => Buffer.from(text).toString('base64url');
  const header = (algorithm: string) => encode(JSON.stringify({ alg: algorithm, typ: 'JWT' }));
  const forged = [
    `${header('none')}.${payload}.`,
    `${header('none')}.${payload}.${signature}`,
    `${header('HS256')}.${payload}.${signature}`,
    `${value.split('.')[0]}.${payload}.`,
    resign(value, { nbf: seconds() + 600 }),
    resign(value, { iss: 'https://elsewhere.example.com' }),
    resign(value, { 'kubernetes.io': {} }),
    `${encode('{"alg":"RS256","kid":"../../etc/passwd"}')}.${payload}.${signature}`,
  ];
  for (const one of forged) expect(await ask(one), one).toMatchObject({ ok: false, status: 401 });
});

test.each([
  ['a megabyte', `Bearer ${'a'.repeat(1_000_000)}.b.c`],
  ['claims of a megabyte', `Bearer a.${Buffer.from(`{"aud":"${'x'.repeat(1_000_000)}"}`).toString('base64url')}.c`],
  ['claims that nest without end', `Bearer a.${Buffer.from('['.repeat(10_000)).toString('base64url')}.c`],
  ['another header', 'Bearer a.b.c\r\nx-forwarded-user: admin'],
  ['two tokens', 'Bearer a.b.c, Bearer d.e.f'],
  ['another scheme', 'Basic YWRtaW46YWRtaW4='],
  ['a prototype', `Bearer a.${Buffer.from('{"__proto__":{"aud":["breakwater"]}}').toString('base64url')}.c`],
])('a header with %s is refused without a question to the API server', async (_, header) => {
  const request = vi.fn(() => Promise.reject(new Error('not to be asked')));
  const answer = await createTokenReviewer({ api: { request }, clock: systemClock }).authenticate(header);
  expect(answer).toMatchObject({ ok: false, status: 401 });
  expect(request).not.toHaveBeenCalled();
});

test('a service account without a pod is no sidecar', async () => {
  expect(await ask(await token(undefined))).toMatchObject({ ok: false, status: 403, reason: 'NotAPod' });
});

test('the token of a pod that was deleted opens nothing', async () => {
  const value = await token('checkout-c');
  await kubectl('delete', 'pod', 'checkout-c', '--namespace', 'shop', '--grace-period', '0', '--force');
  // The API server itself looks at its cache of pods.
  const deadlineMs = systemClock.monotonicMs() + 20_000;
  for (;;) {
    const answer = await createTokenReviewer({ api, clock: systemClock }).authenticate(`Bearer ${value}`);
    if (!answer.ok) {
      expect(answer).toMatchObject({ status: 401, reason: 'TokenRejected' });
      break;
    }
    expect(systemClock.monotonicMs()).toBeLessThan(deadlineMs);
    await systemClock.sleep(200);
  }
});

test('an API server that cannot be reached is no refusal', async () => {
  const gone = new ApiClient({
    kubeConfig: loadKubeConfig(controlPlane.kubeconfigPath),
    clock: systemClock,
    random: systemRandom,
  });
  const unreachable = createTokenReviewer({
    api: { request: (method, path, options) => gone.request(method, `/nowhere${path}`, options) },
    clock: systemClock,
  });
  expect(await unreachable.authenticate(`Bearer ${await token('checkout-a')}`)).toMatchObject({
    ok: false,
    status: 503,
  });
  await gone.close();
});

test("with another pod's token one gets that pod's plan, and cannot ask for one's own", async () => {
  const a = workload(
    'a1',
    ['payments'],
    [{ namespace: 'shop', name: 'checkout-a', uid: uids.get('checkout-a') ?? '' }],
  );
  const b = workload(
    'b1',
    ['ledger'],
    [{ namespace: 'shop', name: 'checkout-b', uid: uids.get('checkout-b') ?? '' }],
    'billing',
  );
  const distributor = new Distributor({
    clock: systemClock,
    log: silentLogger,
    authenticator,
    workloadOfPod: (pod) => Promise.resolve(pod.uid === uids.get('checkout-a') ? a : b),
  });
  distributor.publish(result([a, b]));
  const stolen = `Bearer ${await token('checkout-b')}`;
  expect(await distributor.admit(stolen, undefined)).toMatchObject({ ok: true, plan: { workloadId: 'shop/billing' } });
  expect(await distributor.admit(stolen, 'shop/checkout')).toMatchObject({
    ok: false,
    status: 403,
    reason: 'NotYourWorkload',
  });
  distributor.close();
});
