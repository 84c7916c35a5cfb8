// The attempts to connect of several opaque connections at once, whose connections are made of nothing, in a time of its own: whatever happens to
// them and in whatever order, each comes to one end, and nothing stays taken.
import { array, assert, constantFrom, nat, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttemptResult } from '../../metrics/route-metrics.ts';
import { TCP_RESULTS } from '../../metrics/tcp-metrics.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import { onlyTarget } from '../intake/tunnel.ts';
import { type ByteStream, type ByteStreamOwner, NOBODY } from '../sockets/byte-stream.ts';
import { systemNetwork } from '../sockets/network.ts';
import { type FakeWorld, fakeWorld } from '../testing/exchange-fixtures.ts';
import { BREAKER, RETRIES } from '../testing/fixtures.ts';
import { BULKHEAD, TIMEOUTS } from '../testing/opaque-bench.ts';
import { ConnectionShadow } from './connection-shadow.ts';
import { OpaqueAttempts, type OpaqueAttemptsOwner } from './opaque-attempts.ts';

class Dialled implements ByteStream {
  owner: ByteStreamOwner = NOBODY;
  connecting = true;
  isClosed = false;
  hasEnded = false;

  connect(): void {
    this.connecting = false;
    this.owner.streamConnected(this);
  }

  close(code: string): void {
    this.isClosed = true;
    this.owner.streamClosed(this, code);
  }

  destroy(): void {
    this.isClosed = true;
  }

  readFor(): void {}
  resume(): void {}
  pause(): void {}
  pass = (): boolean => true;
  end(): void {}
  reset(): void {}
  probeAfter(): void {}
}

/** What opaque-connection.ts is to the attempts: it keeps their timer, and is told how they came out. */
class Connection implements OpaqueAttemptsOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly attempts: OpaqueAttempts;
  /** What it was told: `connected`, or why there is no connection. */
  readonly told: string[] = [];
  readonly #world: FakeWorld;

  constructor(world: FakeWorld) {
    this.#world = world;
    const { context, dependency } = world;
    const original = { address: '10.0.0.9', port: 80 };
    const options = { context, dependency, targets: onlyTarget(original), original };
    const shadow = new ConnectionShadow(null, context.ticker);
    this.attempts = new OpaqueAttempts(options, dependency.connectionPolicy, shadow, this);
  }

  /** It was not told that no attempt follows. */
  get goesOn(): boolean {
    return this.told.every((each) => each === 'connected');
  }

  waitUntil(untilMs: number): void {
    const { ticker } = this.#world;
    if (untilMs === Number.POSITIVE_INFINITY) ticker.disarm(this);
    else ticker.arm(this, untilMs);
  }

  expire(nowMs: number): void {
    this.attempts.timeOver(nowMs);
  }

  attemptConnected(): void {
    this.told.push('connected');
  }

  attemptMoved(): void {}

  attemptsOver(refusal: number): void {
    this.told.push(TCP_RESULTS[refusal] ?? '?');
  }
}

const POLICY = {
  timeouts: TIMEOUTS,
  retries: { ...RETRIES, backoffInitialMs: 20, backoffMaxMs: 40 },
  circuitBreaker: { ...BREAKER, consecutiveFailures: 3 },
  bulkhead: { ...BULKHEAD, maxConcurrent: 2, maxQueued: 2 },
};

class Setting {
  readonly dialled: Dialled[] = [];
  readonly world: FakeWorld;
  readonly connections: Connection[] = [];

  constructor(policy: Parameters<typeof fakeWorld>[0] = POLICY) {
    const dialStream = () => {
      const stream = new Dialled();
      this.dialled.push(stream);
      return stream;
    };
    this.world = fakeWorld(policy, 3, 0, { ...systemNetwork, dialStream });
  }

  begin(): Connection {
    const connection = new Connection(this.world);
    this.connections.push(connection);
    connection.attempts.start(this.world.time.nowMs);
    return connection;
  }

  get last(): Dialled | undefined {
    return this.dialled.at(-1);
  }

  get held() {
    const { dependency, ticker } = this.world;
    const { breaker, bulkhead } = dependency.connectionPolicy;
    const { inFlight = 0, queued = 0 } = bulkhead ?? {};
    return { inFlight, queued, load: dependency.endpoints.load, timers: ticker.size, probes: breaker?.probesInFlight };
  }
}

const NOTHING = { inFlight: 0, queued: 0, load: 0, timers: 0, probes: 0 };

describe('the attempts of an opaque connection', () => {
  it('go elsewhere where one fails, with a pause, and end by their number', () => {
    const setting = new Setting();
    const connection = setting.begin();
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      expect(setting.dialled).toHaveLength(attempt);
      expect(setting.held).toMatchObject({ inFlight: 1, load: 1 });
      setting.last?.close('ECONNREFUSED');
      // A pause holds no place.
      expect(setting.held).toMatchObject({ inFlight: 0, load: 0, timers: attempt < 3 ? 1 : 0 });
      setting.world.time.runUntil(setting.world.time.nowMs + 100);
    }
    expect(connection.told).toEqual(['connect-failed']);
    expect(setting.dialled).toHaveLength(3);
    const { attempts, retries } = setting.world.dependency.connectionPolicy.metrics;
    expect([attempts[AttemptResult.connectFailure], retries[AttemptResult.connectFailure]]).toEqual([3, 2]);
  });

  it('wait for a place, and no longer than they may', () => {
    const setting = new Setting();
    const [first, , third, fourth, fifth] = Array.from({ length: 5 }, () => setting.begin());
    expect(fifth?.told).toEqual(['bulkhead-full']);
    expect(setting.held).toMatchObject({ inFlight: 2, queued: 2 });
    setting.dialled[0]?.connect();
    first?.attempts.end(Outcome.Ignored, 0, AttemptResult.success, setting.world.time.nowMs);
    expect(setting.held).toMatchObject({ inFlight: 2, queued: 1 });
    expect(setting.dialled).toHaveLength(3);
    setting.dialled[2]?.connect();
    setting.world.time.runUntil(setting.world.time.nowMs + BULKHEAD.queueTimeoutMs + 20);
    expect([third?.told, fourth?.told]).toEqual([['connected'], ['queue-timeout']]);
  });

  it('leave nothing behind, whatever happens in whatever order', () => {
    const happening = record({
      what: constantFrom('begin', 'begin', 'connect', 'refuse', 'lose', 'wait', 'finish', 'leave'),
      which: nat({ max: 30 }),
      ms: constantFrom(1, 15, 60, 300),
    });
    const seen = new Map<string, number>();
    assert(
      property(array(happening, { minLength: 5, maxLength: 80, size: 'max' }), (happenings) => {
        const setting = new Setting({ ...POLICY, retries: { ...POLICY.retries, maxAttempts: 2 } });
        const { time } = setting.world;
        const left = new Set<Connection>();
        const leave = (connection: Connection) => {
          connection.attempts.abandon(true, time.nowMs);
          left.add(connection);
        };
        for (const { what, which, ms } of happenings) {
          const open = setting.dialled.filter(({ isClosed }) => !isClosed);
          const stream = open.filter(({ connecting }) => connecting === (what !== 'lose'))[which % 4];
          const connection = setting.connections.filter((each) => each.goesOn && !left.has(each))[which % 4];
          if (what === 'begin') setting.begin();
          else if (what === 'connect') stream?.connect();
          else if (what === 'refuse' || what === 'lose') stream?.close('ECONNREFUSED');
          else if (what === 'wait') time.runUntil(time.nowMs + ms);
          else if (what === 'leave' && connection) leave(connection);
          else if (what === 'finish' && connection?.attempts.connected) {
            connection.attempts.end(Outcome.Success, 0, AttemptResult.success, time.nowMs);
            leave(connection);
          }
          expect(setting.held.inFlight).toBeLessThanOrEqual(2);
          expect(setting.held.queued).toBe(
            setting.connections.filter(({ attempts }) => attempts.bulkheadQueued).length,
          );
          for (const { attempts } of left) expect(attempts.bulkheadQueued).toBe(false);
          expect(setting.held.load).toBe(setting.dialled.filter(({ isClosed }) => !isClosed).length);
        }
        for (const connection of setting.connections) if (connection.goesOn && !left.has(connection)) leave(connection);
        expect(setting.held).toEqual(NOTHING);
        time.runUntil(time.nowMs + 10_000);
        expect(setting.held).toEqual(NOTHING);
        for (const { told } of setting.connections) {
          // It may have been connected and lost, and once it is told that none follows, it is told nothing more.
          expect(told.slice(0, -1).every((each) => each === 'connected')).toBe(true);
          for (const each of told) seen.set(each, (seen.get(each) ?? 0) + 1);
        }
      }),
      { numRuns: 300 },
    );
    for (const end of ['connected', 'connect-failed', 'circuit-open', 'bulkhead-full', 'queue-timeout'])
      expect(seen.get(end) ?? 0, end).toBeGreaterThan(5);
  });
});
