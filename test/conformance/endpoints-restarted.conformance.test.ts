// The endpoints of a dependency are begun anew one after the other while requests come at their own times. Each endpoint is a process.
import { afterEach, expect, it } from 'vitest';
import { EndpointProcess } from '../faults/endpoint-process.ts';
import { OpenLoad } from '../faults/open-load.ts';
import { until } from '../standalone/harness.ts';
import { ConformanceSidecar } from './sidecar.ts';

const PER_SECOND = 150;
const ENDPOINTS = 3;
const GRACE_MS = 300;
const BETWEEN = 50;
/** What one endpoint of four fails is more than the usual share. */
const RETRIES = { maxAttempts: 4, budget: { percent: 100 } };
const TIMEOUTS = { request: '20s', connect: '2s' };

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp(graceMs: number, methods: readonly string[], policy: object) {
  let current: EndpointProcess[] = [];
  const begin = async () => {
    const endpoint = await EndpointProcess.start(graceMs);
    cleanUps.push(() => endpoint.end('SIGKILL'));
    current = [...current, endpoint];
  };
  for (let nth = 0; nth < ENDPOINTS; nth += 1) await begin();
  const declared = () => ({
    service: { ports: current.map(({ port }) => port), appProtocol: 'http' as const, policy },
  });
  const sidecar = await ConformanceSidecar.start(declared());
  cleanUps.push(() => sidecar.stop());
  /** As a preStop hook does it: what comes next waits until the sidecar has heard. */
  const declare = async () => {
    sidecar.declare(declared());
    const known = async () => (await sidecar.metric('breakwater_endpoints')) === current.length;
    await until(known, `the sidecar knows ${current.length} endpoints`);
  };
  const load = new OpenLoad({ address: () => sidecar.address('service'), perSecond: PER_SECOND, methods });
  cleanUps.push(() => load.stop());
  const first = current;
  await load.served(BETWEEN);
  return {
    load,
    first,
    joins: async () => {
      await begin();
      await declare();
    },
    leaves: async (endpoint: EndpointProcess) => {
      current = current.filter((one) => one !== endpoint);
      await declare();
    },
    finish: async () => {
      await load.served(BETWEEN);
      await load.stop();
      expect(load.wrong).toEqual({});
      await sidecar.untilIdle();
      return sidecar;
    },
  };
}

it('a rolling restart under open-loop load loses no request, whatever its method', { timeout: 180_000 }, async () => {
  const policy = { retries: RETRIES, circuitBreaker: {}, timeouts: TIMEOUTS };
  const { joins, leaves, load, first, finish } = await setUp(GRACE_MS, ['GET', 'POST'], policy);
  for (const endpoint of first) {
    await joins();
    await leaves(endpoint);
    await endpoint.end('SIGTERM');
    await load.served(BETWEEN);
  }
  const sidecar = await finish();
  expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(0);
});

it('endpoints that are killed before anybody is told cost no request that may be repeated', {
  timeout: 180_000,
}, async () => {
  // Of one endpoint, not of all: a circuit would open for what one of them does.
  const policy = { retries: RETRIES, outlierDetection: {}, timeouts: TIMEOUTS };
  const { joins, leaves, load, first, finish } = await setUp(0, ['GET', 'PUT'], policy);
  for (const endpoint of first) {
    await joins();
    await load.served(BETWEEN);
    await endpoint.end('SIGKILL');
    await load.served(BETWEEN);
    await leaves(endpoint);
    await load.served(BETWEEN);
  }
  await finish();
});
