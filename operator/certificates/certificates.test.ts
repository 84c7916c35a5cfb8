import { X509Certificate } from 'node:crypto';
import { get } from 'node:https';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import type { Role } from '../elect/election.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { createCertificates } from './certificates.ts';
import { LIFETIMES } from './decide.ts';
import { issueServing, parseState } from './issue.ts';
import type { KubernetesApi } from './kubernetes-api.ts';
import { MemoryStore } from './memory-store.ts';
import { createSecretStore } from './secret-store.ts';
import type { CertificateStore } from './store.ts';

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
    const [issuer] = state.authorities;
    if (!issuer) throw new Error('no authority is stored');
    const other = await issueServing(issuer, NAMES, clock.unixMs());
    state.serving = { ...other, privateKey: before.privateKey };
    await store.write(JSON.stringify(state), '', document);
    await expect(certificates.check()).rejects.toThrow(/key/i);
    expect(certificates.serving()).toEqual(before);
    certificates.stop();
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
