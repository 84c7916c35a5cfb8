// The wall clock of a whole sidecar jumps by an hour, forwards and backwards, under load (libfaketime; the monotonic clock goes on as it does
// on a machine whose time is set). Only what is told in wall-clock time follows it.
import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../plan/plan.ts';
import { BREAKER, dependencyPlan, RETRIES, workloadPlan } from '../../sidecar/proxy/testing/fixtures.ts';
import { createIdentity, TestOperator } from '../../sidecar/subscribe/test-operator.ts';
import { echo, OpenLoad } from '../faults/open-load.ts';
import { WholeSidecar } from '../faults/whole-sidecar.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { call, startUpstream, until } from '../standalone/harness.ts';
import { isMissing, partPath } from './parts.ts';

const HOUR_MS = 3_600_000;
const JUMPS_MS = [HOUR_MS, -HOUR_MS, 0] as const;
const BETWEEN = 100;
const REQUEST_MS = 20_000;
const SLOW_MS = 500;
/** How far off a wall-clock time may be: far more than any machine is slow, far less than a jump. */
const NEAR_MS = 60_000;
const DEADLINE = 'x-breakwater-deadline';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** The wall clock of one process. */
class FakeClock {
  readonly #file: string;
  readonly environment: Readonly<Record<string, string>>;
  offsetMs = 0;

  constructor(folder: string) {
    this.#file = join(folder, 'clock');
    this.set(0);
    const preload = execFileSync(partPath('faketime'), ['-m', '-f', '+0s', 'printenv', 'LD_PRELOAD']).toString().trim();
    this.environment = {
      LD_PRELOAD: preload,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  set(offsetMs: number): void {
    writeFileSync(`${this.#file}.new`, offsetMs < 0 ? String(offsetMs / 1_000) : `+${offsetMs / 1_000}`);
    renameSync(`${this.#file}.new`, this.#file);
    this.offsetMs = offsetMs;
  }
}

const policy = (openForMs: number, consecutiveFailures: number): Partial<PolicyPlan> => ({
  timeouts: {
    requestMs: REQUEST_MS,
    attemptMs: 10_000,
    connectMs: 2_000,
    idleMs: 60_000,
    opaqueIdleMs: 0,
    deadline: 'InCluster',
  },
  retries: { ...RETRIES, maxAttempts: 2 },
  circuitBreaker: { ...BREAKER, consecutiveFailures, openForMs, maxOpenForMs: openForMs },
});

async function setUp() {
  const folder = temporaryFolder('clock');
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new FakeClock(folder);
  const identity = await createIdentity();
  const operator = await TestOperator.start(identity);
  cleanUps.push(() => operator.stop());
  /** What was told to the dependency, against what the sidecar's own clock says. */
  const told: number[] = [];
  const upstream = await startUpstream((incoming, response) => {
    told.push(Number(incoming.headers[DEADLINE]) - (Date.now() + clock.offsetMs));
    if (incoming.url === '/slow') setTimeout(() => response.end('slow'), SLOW_MS);
    else echo(incoming, response);
  });
  cleanUps.push(() => upstream.close());
  const broken = createServer((socket) => socket.destroy());
  await new Promise<void>((listening) => broken.listen(0, '127.0.0.1', listening));
  cleanUps.push(() => broken.close());
  const { environment } = clock;
  const settings = { folder, token: 'token', operatorUrl: operator.url, caBundle: identity.ca, environment };
  const sidecar = new WholeSidecar(settings);
  cleanUps.push(() => sidecar.kill());
  const named = (name: string) => ({ id: `shop/checkout/${name}`, name, endpointsKey: `shop/${name}:80` });
  const ports = { service: upstream.port, broken: (broken.address() as { port: number }).port };
  const plans = await operator.stream('plan');
  const service = dependencyPlan(policy(60_000, 5), named('service'));
  plans.send({
    kind: 'plan',
    version: 'v1',
    plan: workloadPlan(service, dependencyPlan(policy(300_000, 3), named('broken'))),
  });
  const endpoints = await operator.stream('endpoints');
  const sets = Object.entries(ports).map(([name, port]) => ({
    key: `shop/${name}:80`,
    endpoints: [{ address: '127.0.0.1', port }],
  }));
  endpoints.send({ kind: 'snapshot', version: 'e1', sets });
  await until(
    () => sidecar.isReady,
    () => `the sidecar is ready; it said\n${sidecar.log}`,
  );
  await until(async () => (await sidecar.metric('breakwater_endpoints_confirmed')) > 0, 'endpoints are known');
  return { clock, sidecar, told, streams: [plans, endpoints] };
}

describe.skipIf(isMissing('faketime'))('a wall clock that jumps', () => {
  it('by an hour, either way, ends no request, opens and closes no circuit, and breaks off no stream', async () => {
    const { clock, sidecar, told, streams } = await setUp();
    const reasonOfBroken = async () => (await call(sidecar.address('broken'))).headers['breakwater-reason'];
    await until(async () => (await reasonOfBroken()) === 'circuit-open', 'the circuit of what is broken is open');
    const transitions = await sidecar.metric('breakwater_circuit_transitions_total');
    // The application's clock does not jump: what it says is an hour off for the sidecar.
    const headers = () => ({ [DEADLINE]: String(Date.now() + REQUEST_MS / 2) });
    const address = () => sidecar.address('service');
    const loads = [
      { address, perSecond: 50 },
      { address, perSecond: 50, headers },
    ].map((each) => new OpenLoad(each));
    for (const load of loads) cleanUps.push(() => load.stop());
    const bothServed = () => Promise.all(loads.map((load) => load.served(BETWEEN)));
    await bothServed();
    for (const offsetMs of JUMPS_MS) {
      const slow = call(address(), '/slow');
      await sleep(SLOW_MS / 2);
      clock.set(offsetMs);
      expect((await slow).body).toBe('slow');
      // What was under way at the jump has ended.
      await bothServed();
      told.length = 0;
      await bothServed();
      expect(told.length).toBeGreaterThan(BETWEEN);
      expect(told.filter((leftMs) => !(Math.abs(leftMs) < NEAR_MS))).toEqual([]);
      expect(await reasonOfBroken()).toBe('circuit-open');
    }
    for (const load of loads) await load.stop();
    expect(loads.map(({ wrong }) => wrong)).toEqual([{}, {}]);
    expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(transitions);
    expect(await sidecar.metric('breakwater_stream_up')).toBe(2);
    expect(streams.map(({ closed }) => closed)).toEqual([false, false]);
  });
});
