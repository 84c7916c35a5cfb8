import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import type { Role } from '../elect/election.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { ApiError } from '../watch/api-errors.ts';
import { createCertificates } from './certificates.ts';
import {
  type Authority,
  dueForRenewal,
  issuingAuthority,
  LIFETIMES,
  nextStep,
  type PartialState,
  type Serving,
} from './decide.ts';
import { createFolderStore } from './folder-store.ts';
import { createAuthority, issueServing, parseState } from './issue.ts';
import type { KubernetesApi } from './kubernetes-api.ts';
import { MemoryStore } from './memory-store.ts';
import { createSecretStore } from './secret-store.ts';
import type { CertificateStore } from './store.ts';
import { bundlePatch, createWebhookBundle } from './webhook-bundle.ts';

const DAY_MS = 86_400_000;
const NAMES = ['breakwater-operator.breakwater-system.svc', 'localhost', '127.0.0.1'];
const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const memoryStore = () => new MemoryStore();

class JumpingClock extends ManualClock {
  #jumpedMs = 0;
  override unixMs(): number {
    return super.unixMs() + this.#jumpedMs;
  }
  /** Moves the wall clock alone, as sleeping does; certificates live for years. */
  jump(deltaMs: number): void {
    this.#jumpedMs += deltaMs;
  }
}

function keeper(
  store: CertificateStore,
  clock = new JumpingClock(),
  leadership: Parameters<typeof createCertificates>[0]['leadership'] = ALWAYS_LEADING,
) {
  return { clock, certificates: createCertificates({ store, names: NAMES, leadership, clock, log: silentLogger }) };
}

/** A replica that leads when it is told to. */
function follower(store: CertificateStore, clock: JumpingClock) {
  let role: Role = 'Following';
  const listeners = new Set<() => void>();
  const leadership = {
    get role() {
      return role;
    },
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const become = (next: Role) => {
    role = next;
    for (const listener of listeners) listener();
  };
  return { ...keeper(store, clock, leadership), become };
}

const certificatesIn = (pem: string) =>
  (pem.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one));

/** Whether a client that knows these authorities, and nothing else, can follow what is served to one of them; link by link. */
function trusts(bundle: string, served: string): boolean {
  const roots = certificatesIn(bundle);
  for (const [index, certificate] of certificatesIn(served).entries()) {
    if (roots.some((root) => certificate.checkIssued(root) && certificate.verify(root.publicKey))) return true;
    const next = certificatesIn(served)[index + 1];
    if (!next || !certificate.checkIssued(next) || !certificate.verify(next.publicKey)) return false;
  }
  return false;
}

const authority = (id: string, notBeforeUnixMs: number): Authority => ({
  id,
  certificate: id,
  privateKey: id,
  notBeforeUnixMs,
  notAfterUnixMs: notBeforeUnixMs + LIFETIMES.authorityMs,
});
const serving = (issuer: string, notBeforeUnixMs: number): Serving => ({
  ...authority('s', notBeforeUnixMs),
  notAfterUnixMs: notBeforeUnixMs + LIFETIMES.servingMs,
  issuer,
  names: [...NAMES],
});

describe('what is due', () => {
  const start = 1_700_000_000_000;
  const complete = (over: Partial<PartialState> = {}): PartialState => ({
    authorities: [authority('a', start)],
    serving: serving('a', start),
    ...over,
  });

  test('nothing, while everything is fresh', () => {
    expect(nextStep(complete(), NAMES, start + DAY_MS)).toBeUndefined();
  });

  test('first an authority, then what it signs', () => {
    expect(nextStep({ authorities: [], serving: undefined }, NAMES, start)).toMatchObject({ kind: 'AddAuthority' });
    expect(nextStep(complete({ serving: undefined }), NAMES, start)).toMatchObject({
      kind: 'IssueServing',
      issuer: 'a',
    });
  });

  test('renewal from two thirds of the life on', () => {
    expect(dueForRenewal(serving('a', start), 2 / 3, start + 60 * DAY_MS - 1)).toBe(false);
    expect(nextStep(complete(), NAMES, start + 60 * DAY_MS - 1)).toBeUndefined();
    expect(nextStep(complete(), NAMES, start + 60 * DAY_MS)).toMatchObject({ kind: 'IssueServing' });
  });

  test('other names, in any number', () => {
    expect(nextStep(complete(), NAMES.slice(1), start)).toMatchObject({
      kind: 'IssueServing',
      because: 'its names changed',
    });
  });

  test('a new authority is announced for a week before it signs', () => {
    const later = start + LIFETIMES.authorityMs * 0.4;
    const old = authority('a', start);
    const young = authority('b', later - LIFETIMES.backdateMs);
    expect(nextStep(complete({ serving: serving('a', later) }), NAMES, later)).toMatchObject({ kind: 'AddAuthority' });
    const both = complete({ authorities: [young, old], serving: serving('a', later) });
    expect(nextStep(both, NAMES, later + LIFETIMES.overlapMs - 1)).toBeUndefined();
    expect(nextStep(both, NAMES, later + LIFETIMES.overlapMs)).toMatchObject({ kind: 'IssueServing', issuer: 'b' });
  });

  test('an authority leaves the bundle only when it expired', () => {
    const end = start + LIFETIMES.authorityMs;
    const young = authority('b', end - 100 * DAY_MS);
    const both = complete({ authorities: [young, authority('a', start)], serving: serving('b', end - DAY_MS) });
    expect(nextStep(both, NAMES, end - 1)).toBeUndefined();
    expect(nextStep(both, NAMES, end)).toMatchObject({ kind: 'DropAuthority', id: 'a' });
  });

  test('after a long sleep the only valid one signs, announced or not', () => {
    const end = start + LIFETIMES.authorityMs;
    const young = authority('b', end - 1000);
    expect(issuingAuthority([young, authority('a', start)], end)).toBe(young);
    expect(issuingAuthority([authority('a', start)], end)).toBeUndefined();
  });
});

describe('what is issued', () => {
  const now = Date.UTC(2030, 0, 1, 12, 0, 0, 500);

  test('is what X.509 readers expect', async () => {
    const ca = await createAuthority(now);
    const leaf = await issueServing(ca, NAMES, now);
    const root = new X509Certificate(ca.certificate);
    const certificate = new X509Certificate(leaf.certificate);
    expect(root.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkIssued(root)).toBe(true);
    expect(certificate.verify(root.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(certificate.subjectAltName).toBe(`DNS:${NAMES[0]}, DNS:localhost, IP Address:127.0.0.1`);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(certificate.serialNumber.toLowerCase()).toBe(leaf.id);
    expect(Date.parse(certificate.validTo)).toBe(leaf.notAfterUnixMs);
    expect(Date.parse(root.validFrom)).toBe(ca.notBeforeUnixMs);
  });

  test('never outlives its authority', async () => {
    const ca = await createAuthority(now);
    const leaf = await issueServing(ca, NAMES, ca.notAfterUnixMs - DAY_MS);
    expect(leaf.notAfterUnixMs).toBe(ca.notAfterUnixMs);
  });

  test.each([
    ['no JSON', 'x', 'not JSON'],
    ['no state', '{}', 'formatVersion'],
    ['an unreadable certificate', undefined, 'cannot be read'],
  ])('%s is told, not replaced', async (_name, text, message) => {
    const state = {
      formatVersion: 1,
      authorities: [{ ...(await createAuthority(now)), certificate: '-----BEGIN CERTIFICATE-----' }],
      serving: serving('a', now),
    };
    expect(() => parseState(text ?? JSON.stringify(state))).toThrow(message);
  });
});

describe('the keeper', () => {
  test('makes an authority once, and leaves it alone', async () => {
    const store = memoryStore();
    const first = keeper(store);
    await first.certificates.start();
    const second = keeper(store);
    await second.certificates.start();
    expect(store.writes).toBe(1);
    expect(second.certificates.trustBundle()).toBe(first.certificates.trustBundle());
    expect(second.certificates.serving()).toEqual(first.certificates.serving());
    expect(store.bundle).toBe(first.certificates.trustBundle());
  });

  test('of processes that start together, all serve one authority', async () => {
    const store = memoryStore();
    const keepers = [1, 2, 3, 4].map(() => keeper(store).certificates);
    await Promise.all(keepers.map((one) => one.start()));
    expect(new Set(keepers.map((one) => one.trustBundle())).size).toBe(1);
    expect(new Set(keepers.map((one) => one.serving().certificate)).size).toBe(1);
    expect(store.writes).toBe(1);
  });

  test('waits for a store that cannot be read, and is not stopped by one that fails later', async () => {
    const store = memoryStore();
    store.failing = new Error('connection refused');
    const { clock, certificates } = keeper(store);
    const started = certificates.start();
    await clock.advance(3_500);
    expect(() => certificates.trustBundle()).toThrow('before they were there');
    store.failing = undefined;
    await clock.advance(1_000);
    await started;
    const before = certificates.serving();
    store.failing = new Error('connection refused');
    clock.jump(61 * DAY_MS);
    await clock.advance(60_000);
    expect(certificates.serving()).toEqual(before);
    store.failing = undefined;
    await clock.advance(60_000);
    // Keys are made beside us, in real time.
    await expect.poll(() => certificates.serving(), { timeout: 15_000 }).not.toEqual(before);
    certificates.stop();
    expect(clock.timers).toBe(0);
  });

  test('goes through rotations; at each step a client of any day before still trusts what is served', async () => {
    const { clock, certificates } = keeper(memoryStore());
    // TLS looks at the real time, which is when the last step is done.
    const thirdMs = LIFETIMES.authorityMs / 3;
    clock.jump(Date.now() - 2 * thirdMs - 2 * LIFETIMES.overlapMs - 1_000 - clock.unixMs());
    await certificates.start();
    const bornWith: string[] = [];
    const check = async () => {
      await certificates.check();
      bornWith.push(certificates.trustBundle());
      for (const bundle of bornWith) expect(trusts(bundle, certificates.serving().certificate)).toBe(true);
      expect(certificates.trustBundle()).toContain(certificates.anchors()[0]);
    };
    await check();
    for (let rotation = 0; rotation < 2; rotation += 1) {
      clock.jump(thirdMs);
      await check();
      clock.jump(LIFETIMES.overlapMs);
      await check();
    }
    const [oldest = '', , , , newest = ''] = bornWith;
    expect(certificatesIn(oldest)).toHaveLength(1);
    expect(certificatesIn(newest)).toHaveLength(3);
    expect(certificates.anchors()).toHaveLength(3);

    const server = createServer({ cert: certificates.serving().certificate, key: certificates.serving().privateKey });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => new Promise((resolve) => server.close(() => resolve())));
    const { port } = server.address() as { port: number };
    for (const ca of [...bornWith, ...certificatesIn(newest).map(String)]) {
      await new Promise<void>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca }, () => {
          socket.destroy();
          resolve();
        });
        socket.on('error', reject);
      });
    }

    // The first one expires: it leaves the bundle, and nothing leads to it any more.
    clock.jump(thirdMs);
    await certificates.check();
    expect(certificates.trustBundle()).not.toContain(oldest.trim());
    expect(trusts(oldest, certificates.serving().certificate)).toBe(false);
    expect(trusts(newest, certificates.serving().certificate)).toBe(true);
    certificates.stop();
  });

  test('a replica that does not lead waits for what another one makes, serves it, and renews nothing until it leads', async () => {
    const store = memoryStore();
    const clock = new JumpingClock();
    const { certificates, become } = follower(store, clock);
    const started = certificates.start();
    await clock.advance(5_000);
    expect(store.writes).toBe(0);
    const leader = keeper(store, clock).certificates;
    await leader.start();
    leader.stop();
    await clock.advance(1_000);
    await started;
    expect(certificates.serving()).toEqual(leader.serving());
    clock.jump(61 * DAY_MS);
    await clock.advance(60_000);
    expect(store.writes).toBe(1);
    become('Leading');
    // Keys are made elsewhere than in virtual time.
    await vi.waitFor(() => expect(store.writes).toBe(2));
    await vi.waitFor(() => expect(certificates.serving()).not.toEqual(leader.serving()));
    certificates.stop();
    expect(clock.timers).toBe(0);
  });

  test('puts back what was deleted, with the same authority', async () => {
    const store = memoryStore();
    const { certificates } = keeper(store);
    await certificates.start();
    const bundle = certificates.trustBundle();
    store.clear();
    await certificates.check();
    expect(store.writes).toBe(2);
    expect(certificates.trustBundle()).toBe(bundle);
    certificates.stop();
  });

  test('a look at the store that is answered late brings back nothing that was there before', async () => {
    const store = memoryStore();
    const clock = new JumpingClock();
    const { certificates: leader } = keeper(store, clock);
    await leader.start();
    let answered = Promise.resolve();
    const late: CertificateStore = {
      name: 'late',
      async read() {
        const [document] = await Promise.all([store.read(), answered]);
        return document;
      },
      write: (...given) => store.write(...given),
    };
    const { certificates } = follower(late, clock);
    await certificates.start();
    let answer = (): void => undefined;
    answered = new Promise((resolve) => {
      answer = resolve;
    });
    const first = certificates.check();
    answered = Promise.resolve();
    clock.jump(61 * DAY_MS);
    await leader.check();
    const second = certificates.check();
    await new Promise((resolve) => setImmediate(resolve));
    answer();
    await Promise.all([first, second]);
    expect(certificates.serving()).toEqual(leader.serving());
    for (const one of [leader, certificates]) one.stop();
  });

  test('a running server takes the new certificate; open connections stay', async () => {
    // TLS looks at the real time: what is issued two months ago is due for renewal now, and still valid.
    const { clock, certificates } = keeper(memoryStore());
    clock.jump(Date.now() - 61 * DAY_MS - clock.unixMs());
    await certificates.start();
    const server = new HttpsServer({
      listen: { host: '127.0.0.1', port: 0 },
      certificates,
      register: (fastify) => fastify.get('/', () => 'here'),
      closeStreams: () => {},
      clock,
    });
    await server.start();
    cleanUps.push(() => server.stop());
    const { port } = server;
    const peer = () =>
      new Promise<TLSSocket>((resolve, reject) => {
        const options = {
          host: '127.0.0.1',
          port,
          servername: 'localhost',
          ca: certificates.trustBundle(),
          ALPNProtocols: ['http/1.1'],
        };
        const socket = connect(options, () => resolve(socket));
        socket.on('error', reject);
      });
    const early = await peer();
    clock.jump(61 * DAY_MS);
    await certificates.check();
    const late = await peer();
    expect(early.getPeerCertificate().serialNumber).not.toBe(late.getPeerCertificate().serialNumber);
    const answered = new Promise<string>((resolve) => early.once('data', (bytes) => resolve(String(bytes))));
    early.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    expect(await answered).toContain('200 OK');
    early.destroy();
    late.destroy();
    const status = await new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, servername: 'localhost', ca: certificates.trustBundle() }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });
    expect(status).toBe(200);
    certificates.stop();
  });

  test('never adopts a key that is not its certificate’s', async () => {
    const store = memoryStore();
    const { certificates, clock } = keeper(store);
    await certificates.start();
    const before = certificates.serving();
    const document = await store.read();
    const state = parseState(document?.text ?? '');
    const other = await issueServing(state.authorities[0] ?? authority('x', 0), NAMES, clock.unixMs());
    state.serving = { ...other, privateKey: before.privateKey };
    await store.write(JSON.stringify(state), '', document);
    await expect(certificates.check()).rejects.toThrow(/key/i);
    expect(certificates.serving()).toEqual(before);
    certificates.stop();
  });
});

describe('a folder', () => {
  async function folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'breakwater-certificates-'));
    cleanUps.push(() => rm(path, { recursive: true, force: true }));
    return join(path, 'state');
  }

  test('keeps the document for its owner alone, and only one creator wins', async () => {
    const path = await folder();
    const stores = [1, 2, 3, 4, 5].map(() => createFolderStore(path));
    const won = await Promise.all(stores.map((store, index) => store.write(`document ${index}`, 'bundle', undefined)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect((await stat(join(path, 'certificates.json'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(path, 'ca.crt'), 'utf8')).toBe('bundle');
    expect((await stores[0]?.read())?.text).toBe(`document ${won.indexOf(true)}`);
  });

  test('a stale writer loses', async () => {
    const path = await folder();
    const store = createFolderStore(path);
    expect(await store.read()).toBeUndefined();
    await store.write('one', '', undefined);
    const seen = await store.read();
    await writeFile(join(path, 'certificates.json'), 'two');
    expect(await store.write('three', '', seen)).toBe(false);
    expect(await store.write('three', '', await store.read())).toBe(true);
    expect((await store.read())?.text).toBe('three');
  });
});

describe('a Secret', () => {
  test('that somebody prepared is filled, and keeps what is theirs', async () => {
    const prepared = {
      metadata: {
        name: 'c',
        resourceVersion: '7',
        labels: { 'app.kubernetes.io/managed-by': 'Helm' },
        annotations: { a: 'b' },
      },
      type: 'Opaque',
    };
    let put: unknown;
    const api: KubernetesApi = {
      request: <T>(method: string, _path: string, options?: { body?: unknown }) => {
        if (method === 'PUT') put = options?.body;
        return Promise.resolve(prepared as T);
      },
    };
    const { certificates } = keeper(createSecretStore({ api, namespace: 'n', name: 'c' }));
    await certificates.start();
    certificates.stop();
    expect(put).toMatchObject({
      ...prepared,
      data: { 'ca.crt': Buffer.from(certificates.trustBundle()).toString('base64') },
    });
  });
});

describe('caBundle', () => {
  const configuration = (...bundles: (string | undefined)[]) => ({
    metadata: { resourceVersion: '7' },
    webhooks: bundles.map((caBundle, index) => ({
      name: `hook-${index}`,
      clientConfig: caBundle === undefined ? {} : { caBundle },
    })),
  });

  test('is written where it is missing or another, and nowhere else', () => {
    expect(bundlePatch(configuration('ours', undefined, 'theirs'), 'ours')).toEqual([
      { op: 'test', path: '/metadata/resourceVersion', value: '7' },
      { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: 'ours' },
      { op: 'add', path: '/webhooks/2/clientConfig/caBundle', value: 'ours' },
    ]);
    expect(bundlePatch(configuration('ours', 'ours'), 'ours')).toEqual([]);
  });

  test('a check that is answered late says nothing of what became of it since', async () => {
    const clock = new ManualClock();
    const ours = Buffer.from('bundle').toString('base64');
    let asked = 0;
    const waiting: (() => void)[] = [];
    const api: KubernetesApi = {
      request: <T>() => {
        asked += 1;
        const held = configuration(asked === 1 ? undefined : ours) as T;
        return new Promise<T>((resolve) => waiting.push(() => resolve(held)));
      },
    };
    let changed = (): void => undefined;
    const certificates = {
      trustBundle: () => 'bundle',
      anchors: () => ['bundle'],
      onChange: (listener: () => void) => {
        changed = listener;
        return () => {};
      },
    };
    const leadership = { role: 'Following' as const, onChange: () => () => {} };
    const bundle = createWebhookBundle({ api, name: 'breakwater', certificates, leadership, clock, log: silentLogger });
    bundle.start();
    await clock.advance(0);
    changed();
    await clock.advance(0);
    // The newest question is answered first, where there are two.
    for (let answer = waiting.pop(); answer !== undefined; answer = waiting.pop()) {
      answer();
      await clock.advance(0);
    }
    expect(asked).toBe(2);
    expect(bundle.live()).toBe(true);
    bundle.stop();
    expect(clock.timers).toBe(0);
  });

  test('live means that the API server said so; silence afterwards changes nothing, a deletion does', async () => {
    const clock = new ManualClock();
    const ours = Buffer.from('bundle').toString('base64');
    let answer: () => Promise<unknown> = () => Promise.reject(new Error('connect ECONNREFUSED'));
    const patches: unknown[] = [];
    const api: KubernetesApi = {
      request: async <T>(method: string, _path: string, options?: { body?: unknown }) => {
        if (method === 'PATCH') {
          patches.push(options?.body);
          return configuration(ours) as T;
        }
        return (await answer()) as T;
      },
    };
    const certificates = { trustBundle: () => 'bundle', anchors: () => ['bundle'], onChange: () => () => {} };
    const bundle = createWebhookBundle({
      api,
      name: 'breakwater',
      certificates,
      leadership: ALWAYS_LEADING,
      clock,
      log: silentLogger,
    });
    bundle.start();
    await clock.advance(0);
    expect(bundle.live()).toBe(false);
    answer = () => Promise.resolve(configuration(undefined));
    await clock.advance(2_000);
    expect(bundle.live()).toBe(true);
    expect(patches).toHaveLength(1);
    answer = () => Promise.reject(new Error('connect ECONNREFUSED'));
    await clock.advance(60_000);
    expect(bundle.live()).toBe(true);
    // Nor does an API server that does not know us, or a page of what stands in between.
    for (const status of [400, 401, 403, 404, 429, 500]) {
      answer = () => Promise.reject(new ApiError(status, 'Unknown', 'no message', []));
      await clock.advance(2_000);
      expect([status, bundle.live()]).toEqual([status, true]);
    }
    answer = () => Promise.reject(new ApiError(404, 'NotFound', 'not found', []));
    await clock.advance(2_000);
    expect(bundle.live()).toBe(false);
    expect(bundle.problem()).toBe('404 NotFound: not found');
    bundle.stop();
    await clock.advance(0);
    expect(clock.timers).toBe(0);
  });

  test('a caBundle that may not be written is live for as long as what stands there leads to what is served', async () => {
    const clock = new ManualClock();
    let held = 'old';
    const api: KubernetesApi = {
      request: async <T>(method: string) => {
        if (method === 'PATCH') throw new ApiError(403, 'Forbidden', 'may not patch', []);
        return configuration(Buffer.from(held).toString('base64')) as T;
      },
    };
    const bundle = createWebhookBundle({
      api,
      name: 'breakwater',
      certificates: { trustBundle: () => 'new\nold', anchors: () => ['new', 'old'], onChange: () => () => {} },
      leadership: ALWAYS_LEADING,
      clock,
      log: silentLogger,
    });
    bundle.start();
    await clock.advance(0);
    expect([bundle.live(), bundle.problem()]).toEqual([false, '403 Forbidden: may not patch']);
    held = 'new\nold';
    await clock.advance(2_000);
    expect(bundle.live()).toBe(true);
    held = 'old';
    await clock.advance(60_000);
    expect(bundle.live()).toBe(true);
    held = 'foreign';
    await clock.advance(2_000);
    expect(bundle.live()).toBe(false);
    expect(bundle.problem()).toContain('may not patch');
    bundle.stop();
  });
});

test('a replica that does not lead leaves the caBundle alone, and is live where it makes what is served trusted', async () => {
  const clock = new ManualClock();
  let caBundle = '';
  const api: KubernetesApi = {
    request: <T>(method: string) => {
      expect(method).toBe('GET');
      const clientConfig = { caBundle: Buffer.from(caBundle).toString('base64') };
      return Promise.resolve({ webhooks: [{ name: 'hook', clientConfig }] } as T);
    },
  };
  const bundle = createWebhookBundle({
    api,
    name: 'breakwater',
    // One of them is only announced: nothing that is served leads to it.
    certificates: { trustBundle: () => 'new\nnow\nold', anchors: () => ['now', 'old'], onChange: () => () => {} },
    leadership: { role: 'Following', onChange: () => () => {} },
    clock,
    log: silentLogger,
  });
  bundle.start();
  const live = async (held: string) => {
    caBundle = held;
    await clock.advance(60_000);
    return bundle.live();
  };
  expect(await live('')).toBe(false);
  expect(bundle.problem()).toContain('the replica that leads');
  expect(await live('old')).toBe(true);
  expect(await live('new')).toBe(false);
  expect(await live('now\nold')).toBe(true);
  bundle.stop();
});

test('a server without certificates of ours is not mistaken for one', async () => {
  const mine = await createAuthority(Date.now());
  const foreign = await createAuthority(Date.now());
  const leaf = await issueServing(foreign, ['localhost'], Date.now());
  const server = createServer({ cert: leaf.certificate, key: leaf.privateKey });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => new Promise((resolve) => server.close(() => resolve())));
  const { port } = server.address() as { port: number };
  await expect(
    new Promise((resolve, reject) => {
      connect({ host: '127.0.0.1', port, servername: 'localhost', ca: mine.certificate }, () => resolve('trusted')).on(
        'error',
        reject,
      );
    }),
  ).rejects.toThrow();
});
