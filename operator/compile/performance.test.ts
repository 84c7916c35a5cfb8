// 8,000 pods of 800 workloads with 4,000 dependencies in one namespace take about 80 ms; the bound leaves room for slow machines, and none for
// work that is repeated per dependency. CPU time of this thread, so that what else runs does not count.
import { describe, expect, it } from 'vitest';
import { compile } from './compile.ts';
import { endpointSlice, pod, policy, service, serviceDependency, TARGETS, world } from './testing.ts';

function large(services: number) {
  const names = Array.from({ length: services }, (_, at) => `s${at}`);
  return world([
    ...names.flatMap((name) => [service(name), endpointSlice(`${name}-1`, name, ['10.0.0.1', '10.0.0.2', '10.0.0.3'])]),
    ...names.map((name, at) =>
      serviceDependency(name, {
        selector: { matchLabels: { app: name } },
        dependsOn: Array.from({ length: 5 }, (_, step) => {
          const called = `s${(at + step + 1) % services}`;
          return { name: called, service: { name: called, port: 8080 } };
        }),
      }),
    ),
    ...names.map((name) =>
      policy(name, [TARGETS.service(name)], {
        timeouts: {},
        retries: {},
        circuitBreaker: {},
        bulkhead: {},
        rules: [{ name: 'writes', matches: [{ method: 'POST' }], retries: { maxAttempts: 1 } }],
      }),
    ),
    ...names.flatMap((name) => Array.from({ length: 10 }, (_, at) => pod(`${name}-${at}`, { labels: { app: name } }))),
  ]);
}

/** The least CPU time of a few rounds, in milliseconds. */
function leastMs(services: number): number {
  const input = large(services);
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const before = process.threadCpuUsage();
    expect(compile(input).workloads).toHaveLength(services);
    const { user, system } = process.threadCpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

describe('compile', () => {
  it('takes well under half a second for 8,000 pods and 800 services', () => {
    expect(leastMs(800)).toBeLessThan(500);
  });
});
