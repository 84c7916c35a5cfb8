// Fifty plans a second to a whole sidecar under load: no request is lost or sees two plans, no older plan comes back, the last one is in
// force in the end, and of all the others nothing is left.
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import type { WorkloadPlan } from '../../plan/plan.ts';
import { BREAKER, dependencyPlan, RETRIES, workloadPlan } from '../../sidecar/proxy/testing/fixtures.ts';
import { createIdentity, TestOperator, type TestStream } from '../../sidecar/subscribe/test-operator.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { Probe } from '../soak/probe.ts';
import { call, startUpstream, until } from '../standalone/harness.ts';
import { echo, OpenLoad } from './open-load.ts';
import { WholeSidecar } from './whole-sidecar.ts';

const EVERY_MS = 20;
const WARM_UP = 100;
const SWAPS = 500;
const PER_SECOND = 100;
/** What sockets, timers and tables come to. A plan of this test is more than a hundred objects. */
const MAX_MORE_OBJECTS = 500;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const statusOf = (nth: number): number => 400 + (nth % 50);

/** Each with numbers of its own. The second dependency, which has no endpoint, answers with the number of the plan, in status and body. */
function planOf(nth: number): WorkloadPlan {
  const numbers = { maxQueued: 10, queueTimeoutMs: 1_000, adaptive: null };
  return workloadPlan(
    dependencyPlan({
      retries: { ...RETRIES, maxAttempts: 2 + (nth % 3) },
      circuitBreaker: { ...BREAKER, consecutiveFailures: 20 + (nth % 5) },
      bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 500 + (nth % 7), ...numbers },
      timeouts: { requestMs: 30_000 + nth, attemptMs: 20_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
    }),
    dependencyPlan(
      {
        fallback: {
          stateKey: 'fallback:base',
          fallbackOn: ['NoEndpoints'],
          methods: 'Safe',
          response: { statusCode: statusOf(nth), contentType: 'text/plain', body: String(nth) },
          lastGood: null,
          dependency: null,
        },
      },
      { id: 'shop/checkout/number', name: 'number', endpointsKey: 'shop/number:80' },
    ),
  );
}

/** Asks for the plan in force as often as it can, and keeps what was wrong about the answers. */
class Watcher {
  readonly wrong: string[] = [];
  seen = 0;
  last = -1;
  #isStopped = false;
  readonly #running: Promise<void>;

  constructor(address: string) {
    this.#running = this.#watch(address);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #watch(address: string): Promise<void> {
    while (!this.#isStopped) {
      const { status, body, headers } = await call(address);
      // Refused for want of time, before anything is looked at.
      if (headers['breakwater-reason'] === 'shed') continue;
      const nth = Number(body);
      if (status !== statusOf(nth)) this.wrong.push(`${status} with "${body}"`);
      if (nth < this.last) this.wrong.push(`${nth} after ${this.last}`);
      this.last = nth;
      this.seen += 1;
    }
  }
}

async function setUp() {
  const folder = temporaryFolder('swaps');
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  const identity = await createIdentity();
  const operator = await TestOperator.start(identity);
  cleanUps.push(() => operator.stop());
  const upstream = await startUpstream(echo);
  cleanUps.push(() => upstream.close());
  const probe = new Probe(folder);
  const { environment } = probe;
  const settings = { folder, token: 'token', operatorUrl: operator.url, caBundle: identity.ca, environment };
  const sidecar = new WholeSidecar(settings);
  cleanUps.push(() => sidecar.kill());
  const stream = await operator.stream('plan');
  const endpoint = { address: '127.0.0.1', port: upstream.port };
  const sets = [{ key: 'billing/payments:8080', endpoints: [endpoint] }];
  (await operator.stream('endpoints')).send({ kind: 'snapshot', version: 'e', sets });
  return { sidecar, stream, probe };
}

async function send(stream: TestStream, from: number, to: number): Promise<void> {
  for (let nth = from; nth < to; nth += 1) {
    stream.send({ kind: 'plan', version: `v${nth}`, plan: planOf(nth) });
    await sleep(EVERY_MS);
  }
}

it('fifty plans a second under load lose nothing, converge, and leave nothing behind', {
  timeout: 180_000,
}, async () => {
  const { sidecar, stream, probe } = await setUp();
  await send(stream, 0, WARM_UP);
  await until(
    () => sidecar.isReady,
    () => `the sidecar is ready; it said\n${sidecar.log}`,
  );
  const address = sidecar.address('payments');
  const loadFor = async (during: () => Promise<void>) => {
    const load = new OpenLoad({ address: () => address, perSecond: PER_SECOND });
    const watcher = new Watcher(sidecar.address('number'));
    await load.served(1);
    await during();
    await load.stop();
    await watcher.stop();
    return { load, watcher };
  };
  await loadFor(() => send(stream, WARM_UP, 2 * WARM_UP));
  const { objects } = await probe.ask(sidecar.pid);

  const last = 2 * WARM_UP + SWAPS;
  const { load, watcher } = await loadFor(async () => {
    await send(stream, 2 * WARM_UP, last);
    await until(async () => (await sidecar.planVersion()) === `v${last - 1}`, 'the last plan is in force');
  });
  expect(load.wrong).toEqual({});
  expect(load.right).toBeGreaterThan(PER_SECOND);
  expect(watcher.wrong).toEqual([]);
  expect(watcher.seen).toBeGreaterThan(10);
  expect((await call(sidecar.address('number'))).body).toBe(String(last - 1));
  expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(0);
  // Connections that nobody needs any more go within some seconds.
  let left = 0;
  await until(
    async () => (left = (await probe.ask(sidecar.pid)).objects - objects) < MAX_MORE_OBJECTS,
    () => `fewer than ${left} objects are left of ${SWAPS} plans`,
  );
});
