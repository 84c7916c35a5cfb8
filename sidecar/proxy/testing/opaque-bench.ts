// For the tests of opaque connections: a data path whose one dependency is opaque, on real sockets and in virtual time.
import { expect } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { type Bench, type Client, connect, dependencyPlan, NO_POLICY, startBench } from './fixtures.ts';
import { opened } from './opened.ts';
import { type startUpstream, type Upstream } from './upstreams.ts';

export const TIMEOUTS = { ...NO_POLICY.timeouts, connectMs: 500, opaqueIdleMs: 60_000 };
export const BULKHEAD = {
  stateKey: 'bulkhead:base',
  maxConcurrent: 1,
  maxQueued: 1,
  queueTimeoutMs: 200,
  adaptive: null,
};
export const ROUND_ROBIN = {
  stateKey: 'loadBalancing:base',
  algorithm: 'RoundRobin',
  consistentHash: null,
  slowStart: null,
  zoneAware: 'Hints',
} as const;

export interface OpaqueBench {
  readonly open: { close(): unknown }[];
  readonly upstream: (...script: Parameters<typeof startUpstream>) => Promise<Upstream>;
  /** A data path whose dependency is opaque, unless `changes` say otherwise. */
  readonly tcp: (
    policy: Partial<PolicyPlan>,
    endpoints: readonly Endpoint[],
    changes?: Partial<DependencyPlan>,
  ) => Promise<Tcp>;
  /** Sends the last byte back. */
  readonly echo: () => Promise<Upstream>;
  /** Takes each connection and resets it. */
  readonly cutting: () => Promise<Upstream>;
}

export interface Tcp extends Bench {
  clock: ManualClock;
  /** A connection of the application. */
  client(): Client;
  /** Connections that ended so, by the metric. */
  result(result: string): Promise<number>;
}

/** Call it once, outside of all tests. */
export function opaqueBench(): OpaqueBench {
  const { open, upstream } = opened();
  return {
    open,
    upstream,
    echo: () => upstream((received, socket) => socket.write(received.slice(-1), 'latin1')),
    cutting: () =>
      upstream(
        () => {},
        (socket) => socket.resetAndDestroy(),
      ),
    async tcp(policy, endpoints, changes = {}) {
      const clock = new ManualClock();
      const plan = dependencyPlan({ timeouts: TIMEOUTS, ...policy }, { protocol: 'Opaque', ...changes });
      const bench = await startBench(plan, endpoints, { clock });
      open.push(bench);
      const client = () => {
        const made = connect(bench.port);
        made.socket.on('error', () => {});
        open.push({ close: () => made.socket.destroy() });
        return made;
      };
      const result = (name: string) => bench.metric('breakwater_tcp_connections_total', { result: name });
      return { ...bench, clock, client, result };
    },
  };
}

export async function answered(client: Client): Promise<void> {
  client.send('x');
  await client.until((text) => text.endsWith('x'));
}

export function until<T>(read: () => T | Promise<T>): ReturnType<typeof expect.poll<T>> {
  return expect.poll(read, { interval: 2, timeout: 5_000 });
}

/** Lets time pass in small steps while real sockets do what they do. */
export async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) await clock.advance(Math.min(10, ms - passed));
}

/** Longer than anything waits: the tick that comes late is taken for a process that stood still, the next one is not. */
export async function leap(clock: ManualClock, ms: number): Promise<void> {
  clock.block(ms);
  await clock.advance(20);
}

export async function nothingHeld(bench: Bench): Promise<void> {
  await until(() => Object.entries(bench.plane.held()).filter(([, count]) => count !== 0)).toEqual([]);
}
