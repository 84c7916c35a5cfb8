// A process that is stopped and goes on (a freezer, a debugger, a machine that was suspended): what came in meanwhile counts, not the time
// that nobody saw.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { ConformanceSidecar } from '../conformance/sidecar.ts';
import { call, startUpstream } from './harness.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('a pause beyond every timeout fails no request whose answer came in it, and opens no circuit', async () => {
  const upstream = await startUpstream((_incoming, response) => {
    // Answers while the sidecar is stopped.
    setTimeout(() => response.end('ok'), 300);
  });
  cleanUps.push(() => upstream.close());
  const policy = {
    timeouts: { request: '2s', attempt: '2s' },
    circuitBreaker: { consecutiveFailures: 1, failureOn: ['AttemptTimeout', 'Reset', 'ConnectFailure'] },
    bulkhead: { maxConcurrent: 50 },
  };
  const sidecar = await ConformanceSidecar.start({ service: { ports: [upstream.port], appProtocol: 'http', policy } });
  cleanUps.push(() => sidecar.stop());
  const calls = Array.from({ length: 20 }, () => call(sidecar.address('service')));
  await expect.poll(() => upstream.seen.length, { timeout: 5_000 }).toBe(20);
  process.kill(sidecar.pid, 'SIGSTOP');
  await sleep(3_000);
  process.kill(sidecar.pid, 'SIGCONT');
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(0);
  await sidecar.untilIdle();
});
