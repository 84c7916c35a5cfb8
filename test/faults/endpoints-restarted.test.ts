// The endpoints of a dependency are begun anew one after the other while requests come at their own times. Each endpoint is a process.
import { afterEach, expect, it } from 'vitest';
import { ConformanceSidecar } from '../conformance/sidecar.ts';
import { EndpointProcess } from './endpoint-process.ts';
import { OpenLoad } from './open-load.ts';

const PER_SECOND = 150;
const ENDPOINTS = 3;
/** As a preStop hook gives it: long enough for the sidecar to hear that the endpoint is gone, also on a busy machine. */
const GRACE_MS = 1_500;
const BETWEEN = 50;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp(graceMs: number, methods: readonly string[]) {
  let current: EndpointProcess[] = [];
  const begin = async () => {
    const endpoint = await EndpointProcess.start(graceMs);
    cleanUps.push(() => endpoint.end('SIGKILL'));
    current = [...current, endpoint];
  };
  const leave = (endpoint: EndpointProcess) => {
    current = current.filter((one) => one !== endpoint);
  };
  for (let nth = 0; nth < ENDPOINTS; nth += 1) await begin();
  const policy = { retries: { maxAttempts: 4 }, circuitBreaker: {}, timeouts: { request: '20s', connect: '2s' } };
  const declared = () => ({
    service: { ports: current.map(({ port }) => port), appProtocol: 'http' as const, policy },
  });
  const sidecar = await ConformanceSidecar.start(declared());
  cleanUps.push(() => sidecar.stop());
  const declare = () => sidecar.declare(declared());
  const load = new OpenLoad({ address: () => sidecar.address('service'), perSecond: PER_SECOND, methods });
  cleanUps.push(() => load.stop());
  const first = current;
  await load.served(BETWEEN);
  const finish = async () => {
    await load.served(BETWEEN);
    await load.stop();
    expect(load.wrong).toEqual({});
    expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(0);
    await sidecar.untilIdle();
  };
  return { begin, leave, declare, load, first, finish };
}

it('a rolling restart under open-loop load loses no request, whatever its method', { timeout: 180_000 }, async () => {
  const { begin, leave, declare, load, first, finish } = await setUp(GRACE_MS, ['GET', 'POST']);
  for (const endpoint of first) {
    await begin();
    leave(endpoint);
    declare();
    await endpoint.end('SIGTERM');
    await load.served(BETWEEN);
  }
  await finish();
});

it('endpoints that are killed before anybody is told cost no request that may be repeated', {
  timeout: 180_000,
}, async () => {
  const { begin, leave, declare, load, first, finish } = await setUp(0, ['GET', 'PUT']);
  for (const endpoint of first) {
    await begin();
    declare();
    await load.served(BETWEEN);
    await endpoint.end('SIGKILL');
    await load.served(BETWEEN);
    leave(endpoint);
    declare();
    await load.served(BETWEEN);
  }
  await finish();
});
