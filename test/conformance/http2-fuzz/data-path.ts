// A program: a whole data path by itself, since what a fuzzer looks for may end the process. It is told its dependencies (names and ports), and
// answers each question of its parent by what it holds.
import type { Socket } from 'node:net';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { createSidecarMetrics } from '../../../sidecar/metrics/sidecar-metrics.ts';
import { createDataPlane } from '../../../sidecar/proxy/data-plane.ts';
import type { Holdings } from '../../../sidecar/proxy/holdings.ts';
import { dependencyPlan, RETRIES, TableOfNames, workloadPlan } from '../../../sidecar/proxy/testing/fixtures.ts';

export interface Declared {
  name: string;
  port: number;
  /** Its requests are given up soon. */
  hurried: boolean;
}

/** What it answers. */
export interface Held extends Holdings {
  /** Connections to dependencies, by their port. */
  upstream: readonly number[];
}

/** Sent to it once, then `null` for each question. */
export type Told = readonly Declared[] | null;
/** By the names of the dependencies. */
export type Ports = Readonly<Record<string, number>>;

const TIMEOUTS = { connectMs: 2_000, opaqueIdleMs: 0 };
const PATIENT = { ...TIMEOUTS, requestMs: 0, attemptMs: 0, idleMs: 0 };
const HURRIED = { connectMs: 150, opaqueIdleMs: 0, requestMs: 400, attemptMs: 150, idleMs: 400 };
/** Fewer places than calls: some wait, and some are refused. */
const BULKHEAD = { stateKey: 'bulkhead:base', maxConcurrent: 2, maxQueued: 1, queueTimeoutMs: 40, adaptive: null };

function planOf({ name, hurried }: Declared) {
  const policy = hurried
    ? { timeouts: HURRIED, retries: { ...RETRIES, maxAttempts: 2 }, bulkhead: BULKHEAD }
    : { timeouts: PATIENT };
  return dependencyPlan(policy, {
    id: `shop/checkout/${name}`,
    name,
    endpointsKey: name,
    authority: `${name}.test:80`,
  });
}

const plane = createDataPlane({
  capture: 'explicit',
  bootstrap: null,
  names: new TableOfNames(),
  outboundPort: 0,
  bindHost: '127.0.0.1',
  originalDestination: null,
  clock: systemClock,
  random: seededRandom(7),
  log: silentLogger,
  metrics: createSidecarMetrics(),
});

async function start(declared: readonly Declared[]): Promise<Ports> {
  plane.applyPlan(workloadPlan(...declared.map(planOf)));
  const sets = declared.map(({ name, port }) => ({ key: name, endpoints: [{ address: '127.0.0.1', port }] }));
  plane.applyEndpointsSnapshot(sets, false);
  plane.setEndpointsStreamUp(true);
  await plane.listen();
  const addresses = plane.addresses();
  return Object.fromEntries(declared.map(({ name }) => [name, Number(addresses[name]?.split(':')[1])]));
}

function held(): Held {
  // Halves of streams that end the process when they are collected do so here.
  globalThis.gc?.();
  const handles = (process as unknown as { _getActiveHandles(): Partial<Socket>[] })._getActiveHandles();
  const upstream = handles.flatMap(({ remotePort }) => (remotePort === undefined ? [] : [remotePort]));
  return { ...plane.held(), upstream };
}

process.on('message', (told: Told) => {
  if (told === null) process.send?.(held());
  else void start(told).then((ports) => process.send?.(ports));
});
process.on('disconnect', () => process.exit(0));
