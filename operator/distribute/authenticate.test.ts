import { describe, expect, test } from 'vitest';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import type { KubernetesApi } from '../certificates/kubernetes-api.ts';
import { bearerToken, createTokenReviewer, judgeReview, tokenClaims } from './authenticate.ts';
import { createStaticAuthenticator, tokenTable } from './static-tokens.ts';

const NOW = new ManualClock().unixMs();

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256' })}.${part(claims)}.c2lnbmF0dXJl`;
}

const goodToken = jwt({ aud: ['breakwater'], exp: NOW / 1000 + 3600 });
const podStatus = {
  authenticated: true,
  audiences: ['breakwater'],
  user: {
    username: 'system:serviceaccount:shop:default',
    extra: {
      'authentication.kubernetes.io/pod-name': ['checkout-a'],
      'authentication.kubernetes.io/pod-uid': ['uid-a'],
    },
  },
};

/** An API server whose answer the test chooses, and that counts what it is asked. */
function fakeApi(answer: () => Promise<unknown>) {
  const asked: unknown[] = [];
  const api: KubernetesApi = {
    request: async <T>(_method: string, path: string, options?: { body?: unknown }) => {
      expect(path).toBe('/apis/authentication.k8s.io/v1/tokenreviews');
      asked.push(options?.body);
      return (await answer()) as T;
    },
  };
  return { api, asked };
}

describe('the header', () => {
  test.each([
    [undefined, 'TokenMissing'],
    ['', 'TokenMissing'],
    ['Basic abc', 'TokenMalformed'],
    ['Bearer', 'TokenMalformed'],
    ['Bearer a b', 'TokenMalformed'],
    [`Bearer ${'a'.repeat(20_000)}`, 'TokenMalformed'],
  ])('%s is refused', (header, reason) => {
    expect(bearerToken(header)).toMatchObject({ ok: false, status: 401, reason });
  });

  test('the scheme is not case-sensitive', () => {
    expect(bearerToken('bearer abc.def.ghi')).toEqual({ ok: true, token: 'abc.def.ghi' });
  });

  test.each([
    'a.b',
    'a.b.c',
    `a.${Buffer.from('[]').toString('base64url')}.c`,
    `a.${Buffer.from('{"exp":"x"}').toString('base64url')}.c`,
  ])('%s has no claims', (token) => {
    expect(tokenClaims(token)).toBeUndefined();
  });
});

describe('the verdict of the API server', () => {
  const said = { expiresUnixMs: NOW + 1000, audiences: ['breakwater'] };

  test('a pod is who the server says', () => {
    expect(judgeReview(podStatus, said, NOW)).toEqual({
      ok: true,
      pod: { namespace: 'shop', name: 'checkout-a', uid: 'uid-a' },
      expiresUnixMs: NOW + 1000,
    });
  });

  test.each([
    ['not authenticated', { authenticated: false, error: 'token bound to a pod that is gone' }, 401, 'TokenRejected'],
    ['no verdict at all', {}, 401, 'TokenRejected'],
    ['a server that does not know audiences', { ...podStatus, audiences: undefined }, 401, 'WrongAudience'],
    ['another audience', { ...podStatus, audiences: ['vault'] }, 401, 'WrongAudience'],
    ['a person', { ...podStatus, user: { username: 'alice' } }, 403, 'NotAPod'],
    [
      'a service account without a pod',
      { ...podStatus, user: { username: 'system:serviceaccount:shop:ci' } },
      403,
      'NotAPod',
    ],
  ])('%s', (_name, status, code, reason) => {
    expect(judgeReview(status, said, NOW)).toMatchObject({ ok: false, status: code, reason });
  });

  test('for replicas of the operator, an audience of their own and one service account', () => {
    const account = { namespace: 'shop', name: 'checkout' };
    const own = { audience: 'breakwater-peers', account };
    const judge = (status: object, accepted = own) => judgeReview({ ...podStatus, ...status }, said, NOW, accepted);
    const user = { ...podStatus.user, username: 'system:serviceaccount:shop:checkout' };
    expect(judge({ user })).toMatchObject({ reason: 'WrongAudience' });
    expect(judge({ user, audiences: ['breakwater-peers'] })).toMatchObject({ ok: true });
    for (const username of ['system:serviceaccount:shop:other', 'system:serviceaccount:other:checkout']) {
      const verdict = judge({ user: { ...user, username }, audiences: ['breakwater-peers'] });
      expect(verdict).toMatchObject({ ok: false, status: 403, reason: 'WrongAccount' });
    }
  });

  test('a refused token that is past its time is called expired', () => {
    const verdict = judgeReview({ authenticated: false }, { ...said, expiresUnixMs: NOW - 1 }, NOW);
    expect(verdict).toMatchObject({ ok: false, status: 401, reason: 'TokenExpired' });
  });
});

describe('the reviewer', () => {
  test('asks once for requests at the same time and again after a minute', async () => {
    const clock = new ManualClock();
    const { api, asked } = fakeApi(() => Promise.resolve({ status: podStatus }));
    const reviewer = createTokenReviewer({ api, clock });
    const answers = await Promise.all([1, 2, 3].map(() => reviewer.authenticate(`Bearer ${goodToken}`)));
    expect(answers.every((answer) => answer.ok)).toBe(true);
    expect(asked).toEqual([
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token: goodToken, audiences: ['breakwater'] },
      },
    ]);
    await clock.advance(59_000);
    await reviewer.authenticate(`Bearer ${goodToken}`);
    expect(asked).toHaveLength(1);
    await clock.advance(2_000);
    await reviewer.authenticate(`Bearer ${goodToken}`);
    expect(asked).toHaveLength(2);
  });

  test('never remembers a token past its expiry', async () => {
    const clock = new ManualClock();
    const token = jwt({ aud: 'breakwater', exp: NOW / 1000 + 10 });
    let status: object = podStatus;
    const { api } = fakeApi(() => Promise.resolve({ status }));
    const reviewer = createTokenReviewer({ api, clock });
    expect((await reviewer.authenticate(`Bearer ${token}`)).ok).toBe(true);
    status = { authenticated: false, error: 'token has expired' };
    await clock.advance(10_001);
    expect(await reviewer.authenticate(`Bearer ${token}`)).toMatchObject({
      ok: false,
      status: 401,
      reason: 'TokenExpired',
    });
  });

  test('refuses without asking what can only be refused', async () => {
    const clock = new ManualClock();
    const { api, asked } = fakeApi(() => Promise.reject(new Error('must not be asked')));
    const reviewer = createTokenReviewer({ api, clock });
    const reasonFor = async (token: string) => {
      const answer = await reviewer.authenticate(`Bearer ${token}`);
      return answer.ok ? 'ok' : answer.reason;
    };
    expect(await reasonFor('garbage')).toBe('TokenMalformed');
    expect(await reasonFor(jwt({ aud: ['https://kubernetes.default.svc'], exp: NOW / 1000 + 60 }))).toBe(
      'WrongAudience',
    );
    expect(await reasonFor(jwt({ exp: NOW / 1000 + 60 }))).toBe('WrongAudience');
    expect(await reasonFor(jwt({ aud: ['breakwater'], exp: NOW / 1000 - 3600 }))).toBe('TokenExpired');
    expect(asked).toHaveLength(0);
  });

  test('an outage is 503 and not remembered', async () => {
    let down = true;
    const { api } = fakeApi(() =>
      down ? Promise.reject(new Error('connect ECONNREFUSED')) : Promise.resolve({ status: podStatus }),
    );
    const reviewer = createTokenReviewer({ api, clock: new ManualClock() });
    expect(await reviewer.authenticate(`Bearer ${goodToken}`)).toMatchObject({
      ok: false,
      status: 503,
      reason: 'TokenReviewFailed',
    });
    down = false;
    expect((await reviewer.authenticate(`Bearer ${goodToken}`)).ok).toBe(true);
  });

  test('a refusal is remembered for five seconds', async () => {
    const clock = new ManualClock();
    const { api, asked } = fakeApi(() => Promise.resolve({ status: { authenticated: false } }));
    const reviewer = createTokenReviewer({ api, clock });
    await reviewer.authenticate(`Bearer ${goodToken}`);
    await reviewer.authenticate(`Bearer ${goodToken}`);
    expect(asked).toHaveLength(1);
    await clock.advance(5_001);
    await reviewer.authenticate(`Bearer ${goodToken}`);
    expect(asked).toHaveLength(2);
  });

  test('reviews under way are bounded, and those beyond the queue are told to come back', async () => {
    const waiting: (() => void)[] = [];
    const { api, asked } = fakeApi(() => new Promise((resolve) => waiting.push(() => resolve({ status: podStatus }))));
    const reviewer = createTokenReviewer({ api, clock: new ManualClock() });
    const tokens = Array.from({ length: 4_200 }, (_, index) =>
      jwt({ aud: ['breakwater'], exp: NOW / 1000 + 60, index }),
    );
    const answers = tokens.map((token) => reviewer.authenticate(`Bearer ${token}`));
    await settle();
    expect(asked).toHaveLength(32);
    expect(await answers.at(-1)).toMatchObject({ ok: false, status: 503, reason: 'TooBusy' });
    while (waiting.length > 0) {
      waiting.shift()?.();
      await Promise.resolve();
      if (waiting.length === 0) await settle();
    }
    const settled = await Promise.all(answers);
    expect(settled.filter((answer) => answer.ok)).toHaveLength(32 + 4_096);
  });

  const forged = (index: number) => `Bearer ${jwt({ aud: ['breakwater'], exp: NOW / 1000 + 600, index })}`;

  test('whoever shows one made-up token after the other keeps nobody else waiting', async () => {
    const waiting: (() => void)[] = [];
    const { api, asked } = fakeApi(
      () => new Promise((resolve) => waiting.push(() => resolve({ status: { authenticated: false } }))),
    );
    const reviewer = createTokenReviewer({ api, clock: new ManualClock() });
    const flood = Array.from({ length: 5_000 }, (_, index) => reviewer.authenticate(forged(index), '10.0.0.66'));
    const other = reviewer.authenticate(`Bearer ${goodToken}`, '10.0.0.1');
    expect(await flood.at(-1)).toMatchObject({ ok: false, status: 503, reason: 'TooBusy' });
    for (let reviews = 0; reviews < 1_100; reviews += 1) {
      waiting.shift()?.();
      await settle();
    }
    expect(asked).toHaveLength(1_025);
    expect(await other).toMatchObject({ reason: 'TokenRejected' });
    // What it was refused for is over with its reviews.
    const again = reviewer.authenticate(forged(9_999), '10.0.0.66');
    await settle();
    waiting.shift()?.();
    expect(await again).toMatchObject({ reason: 'TokenRejected' });
  });

  test('made-up tokens push no good one out of memory', async () => {
    let status: object = podStatus;
    const { api, asked } = fakeApi(() => Promise.resolve({ status }));
    const reviewer = createTokenReviewer({ api, clock: new ManualClock() });
    await reviewer.authenticate(`Bearer ${goodToken}`);
    status = { authenticated: false };
    for (let index = 0; index < 20_001; index += 1) await reviewer.authenticate(forged(index));
    expect(await reviewer.authenticate(`Bearer ${goodToken}`)).toMatchObject({ ok: true });
    expect(asked).toHaveLength(20_002);
  });
});

describe('static tokens', () => {
  const table = tokenTable.parse([{ token: '0123456789abcdef', namespace: 'shop', name: 'checkout-a', uid: 'uid-a' }]);

  test('know their pod, and nobody else', async () => {
    const authenticator = createStaticAuthenticator(table);
    expect(await authenticator.authenticate('Bearer 0123456789abcdef')).toMatchObject({
      ok: true,
      pod: { name: 'checkout-a' },
    });
    expect(await authenticator.authenticate('Bearer 0123456789abcdeX')).toMatchObject({
      status: 401,
      reason: 'TokenRejected',
    });
    expect(await authenticator.authenticate(undefined)).toMatchObject({ status: 401, reason: 'TokenMissing' });
    authenticator.replace([]);
    expect(await authenticator.authenticate('Bearer 0123456789abcdef')).toMatchObject({ status: 401 });
  });

  test('short tokens are refused', () => {
    expect(tokenTable.safeParse([{ token: 'short', namespace: 'a', name: 'b', uid: 'c' }]).success).toBe(false);
  });
});
