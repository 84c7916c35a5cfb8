// What each algorithm is good for, shown on a service in virtual time. The numbers hold for these seeds, with room.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { RoundRobin } from '../round-robin.ts';
import { TwoChoices } from '../two-choices.ts';
import { exponential, quantile } from './distributions.ts';
import { type Behaviour, type MakeBalancer, type Served, simulate } from './simulated-service.ts';

const peakEwma: MakeBalancer = (candidates, random) => new TwoChoices(candidates, 'PeakEwma', 0, random);
const leastRequest: MakeBalancer = (candidates, random) => new TwoChoices(candidates, 'InFlight', 0, random);
const roundRobin: MakeBalancer = (candidates, random) => new RoundRobin(candidates, 0, random);

const healthy: Behaviour = { workers: 4, serviceMs: (_atMs, random) => exponential(5, random) };
const slow: Behaviour = { workers: 4, serviceMs: (_atMs, random) => exponential(50, random) };
const failing = (share: number): Behaviour => ({ ...healthy, fails: (_atMs, random) => random() < share });

interface Run {
  sidecars?: number;
  requestsPerSecond?: number;
  seed?: number;
}

function run(makeBalancer: MakeBalancer, endpoints: readonly Behaviour[], given: Run = {}): Served[] {
  const { sidecars = 4, requestsPerSecond = 1_200, seed = 7 } = given;
  return simulate({
    endpoints,
    sidecars,
    requestsPerSecond,
    untilMs: 20_000,
    makeBalancer,
    random: seededRandom(seed),
  });
}

const shareOf = (served: readonly Served[], endpoint: number) =>
  served.filter((one) => one.endpoint === endpoint).length / served.length;
const p99 = (served: readonly Served[]) =>
  quantile(
    served.map(({ tookMs }) => tookMs),
    0.99,
  );
const failures = (served: readonly Served[]) => served.filter(({ failed }) => failed).length / served.length;

describe('one slow endpoint of five', () => {
  const service = [healthy, healthy, healthy, healthy, slow];

  it('gets next to nothing from peak-EWMA, and the answers stay as fast as without it', () => {
    const served = run(peakEwma, service);
    expect(shareOf(served, 4)).toBeLessThan(0.01);
    expect(p99(served)).toBeLessThan(30);
  });

  it('is felt with least request, and breaks round robin', () => {
    expect(p99(run(leastRequest, service))).toBeGreaterThan(80);
    expect(p99(run(roundRobin, service))).toBeGreaterThan(10_000);
  });
});

describe('one endpoint of five that fails at once', () => {
  const service = [healthy, healthy, healthy, healthy, failing(1)];

  it('attracts nothing with peak-EWMA, and more than its share with least request', () => {
    expect(failures(run(peakEwma, service))).toBeLessThan(0.001);
    expect(failures(run(leastRequest, service))).toBeGreaterThan(0.21);
  });
});

describe('failures that every endpoint has', () => {
  it('leave peak-EWMA as even and as fast as without them, rare or frequent', () => {
    for (const share of [0, 0.0001, 0.001, 0.01, 0.1]) {
      const service = [failing(share), failing(share), failing(share)];
      const served = run(peakEwma, service, { sidecars: 1, requestsPerSecond: 1_680 });
      for (const endpoint of service.keys()) expect(shareOf(served, endpoint)).toBeLessThan(0.42);
      expect(p99(served.filter(({ failed }) => !failed))).toBeLessThan(30);
    }
  });
});

describe('an endpoint that recovers', () => {
  it('has its share again within two minutes', () => {
    const recovering: Behaviour = { ...healthy, fails: (atMs) => atMs < 5_000 };
    const served = simulate({
      endpoints: [recovering, healthy, healthy],
      sidecars: 2,
      requestsPerSecond: 300,
      untilMs: 150_000,
      makeBalancer: peakEwma,
      random: seededRandom(3),
    });
    const between = (fromMs: number, toMs: number) =>
      served.filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs < toMs);
    expect(shareOf(between(5_000, 30_000), 0)).toBeLessThan(0.01);
    expect(shareOf(between(120_000, 150_000), 0)).toBeGreaterThan(0.25);
  });
});
