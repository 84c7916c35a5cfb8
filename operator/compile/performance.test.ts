// A world of 2,000 pods and 200 services, as one namespace in the worst case. The bound is far above what it takes, and far below what a
// step that compares everything with everything would take; doubling the world must not quadruple the time.
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
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

function fastestMs(services: number): number {
  const input = large(services);
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const startedMs = systemClock.monotonicMs();
    expect(compile(input).workloads).toHaveLength(services);
    fastest = Math.min(fastest, systemClock.monotonicMs() - startedMs);
  }
  return fastest;
}

describe('compile', () => {
  it('takes well under a second for 2,000 pods and 200 services', () => {
    expect(fastestMs(200)).toBeLessThan(500);
  });

  it('grows with the world, not with its square', () => {
    const small = fastestMs(100);
    expect(fastestMs(400)).toBeLessThan(Math.max(small, 5) * 10);
  });
});
