// Exchanges between applications and endpoints that are made of nothing, in a time of its own: for tests that decide about every event, and run
// thousands of them. The exchanges are the real ones, with their timers, policies and books.
import type { PolicyPlan } from '../../../plan/plan.ts';
import type { Clock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { NO_KEY } from '../../balance/balancer.ts';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { createSidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { RouteTable } from '../../route/match.ts';
import { ProxyContext } from '../context.ts';
import { DependencyRuntime } from '../dependency/dependency.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import type { Downstream } from '../exchange/downstream.ts';
import { Exchange } from '../exchange/exchange.ts';
import { ReplayPool } from '../exchange/replay-body.ts';
import type { LegSource, ResponseReceiver, UpstreamEndpoint, UpstreamLeg } from '../exchange/upstream.ts';
import { type Network, systemNetwork } from '../sockets/network.ts';
import { Ticker } from '../ticker.ts';
import { dependencyPlan } from './fixtures.ts';

export const START_MS = 1_000;

/** Time that passes by `runUntil` alone, and without a promise between two timers. */
export class TimeOfItsOwn implements Clock {
  nowMs = START_MS;
  #timers: { atMs: number; callback: () => void }[] = [];

  monotonicMs(): number {
    return this.nowMs;
  }

  unixMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  sleep(): Promise<void> {
    return Promise.reject(new Error('nobody waits for promises here'));
  }

  runUntil(untilMs: number): void {
    for (;;) {
      const [next] = this.#timers.toSorted((one, other) => one.atMs - other.atMs);
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = next.atMs;
      next.callback();
    }
    this.nowMs = untilMs;
  }
}

/** Carries one copy of a request. */
export class FakeLeg implements UpstreamLeg {
  receiver: ResponseReceiver | null = null;
  readonly endpoint: FakeEndpoint;

  constructor(endpoint: FakeEndpoint) {
    this.endpoint = endpoint;
  }

  get alive(): boolean {
    return this.endpoint.legs.has(this);
  }

  sendHead(receiver: ResponseReceiver, { head }: OutgoingRequest): void {
    this.receiver = receiver;
    this.endpoint.legs.add(this);
    this.endpoint.onSent(this, head);
  }

  /** What the dependency does. */
  lose(): void {
    const { receiver } = this;
    this.receiver = null;
    this.destroy();
    receiver?.onUpstreamClosed(null, false);
  }

  release(): void {
    this.destroy();
  }
  abort(): void {
    this.destroy();
  }
  finish(): void {
    this.destroy();
  }
  destroy(): void {
    this.endpoint.legs.delete(this);
  }

  sendData(): void {}
  flush = (): boolean => true;
  sendTunnelData(): void {}
  sendEnd(): void {}
  resume(): void {}
  becomeTunnel(): void {}
  endWriting(): void {}
  giveUpConnecting(): void {}
}

/** Takes every request at once, and answers none by itself. */
export class FakeEndpoint extends BalancedEndpoint implements UpstreamEndpoint {
  readonly address: string;
  readonly port: number;
  readonly legs = new Set<FakeLeg>();
  readonly idleCount = 0;
  /** Called with the head of each request that comes. */
  readonly onSent: (leg: FakeLeg, head: RequestHead) => void;

  constructor(address: string, port: number, onSent: (leg: FakeLeg, head: RequestHead) => void) {
    super(`${address}:${port}`);
    this.address = address;
    this.port = port;
    this.onSent = onSent;
  }

  get http2(): LegSource {
    return this;
  }

  takeIdle(): FakeLeg {
    return new FakeLeg(this);
  }

  connect(): FakeLeg {
    throw new Error('there is always an idle connection');
  }

  sweep(): void {}
  remove(): void {}
}

/** An application with one request at a time; counts what comes of them. */
export class FakeApplication implements Downstream {
  readonly http2 = false;
  readonly originalDestination = null;
  readonly blocked = false;
  readonly handsOn = false;
  readonly exchange: Exchange;
  readonly head = new RequestHead();
  /** The copies of its request, in the order in which they were sent. */
  legs: FakeLeg[] = [];
  /** How each request ended: a status of the dependency, or a reason of ours. */
  readonly ends: string[] = [];
  #status = 0;

  constructor(context: ProxyContext, dependency: DependencyRuntime) {
    this.exchange = new Exchange(this, context, dependency, this.head);
  }

  beginResponse(head: ResponseHead): void {
    this.#status = head.status;
  }
  responseDone(): void {
    this.ends.push(String(this.#status));
  }
  answerLocally({ code }: { code: string }): void {
    this.ends.push(code);
  }
  breakOff(): void {
    this.ends.push('cut');
  }

  responseData(): void {}
  flush = (): boolean => true;
  tunnelData(): void {}
  takeBack = (): boolean => false;
  resumeBody(): void {}
  informational(): void {}
  endResponse(): void {}
  give(): void {}
  switchProtocols(): void {}
  becomeTunnel(): void {}
  endWriting(): void {}
  destroyAfterFlush(): void {}
}

export interface FakeWorld {
  readonly time: TimeOfItsOwn;
  readonly ticker: Ticker;
  readonly context: ProxyContext;
  readonly dependency: DependencyRuntime;
  readonly applications: readonly FakeApplication[];
  readonly endpoints: readonly FakeEndpoint[];
}

/** A dependency under this policy with so many endpoints, and so many applications that call it. */
export function fakeWorld(
  policy: Partial<PolicyPlan>,
  endpointCount: number,
  applicationCount: number,
  network: Network = systemNetwork,
): FakeWorld {
  const time = new TimeOfItsOwn();
  const ticker = new Ticker(time);
  const random = seededRandom(7);
  const metrics = createSidecarMetrics();
  const context = new ProxyContext(ticker, random, metrics, silentLogger, network);
  const plan = dependencyPlan(policy);
  const all: FakeEndpoint[] = [];
  const applications: FakeApplication[] = [];
  const dependency = new DependencyRuntime(plan, new RouteTable(plan), 'payments', {
    metrics,
    random,
    nowMs: () => time.nowMs,
    unixMs: () => time.nowMs,
    lastGoodPool: new ReplayPool(0),
    shadowRandom: random,
    shadowLastGoodPool: new ReplayPool(0),
    ownKey: () => NO_KEY,
    find: () => undefined,
    placement: () => ({ node: '', zone: '' }),
    locallyDisabled: () => false,
    onTransition: () => {},
    createEndpoint: (address, port) => {
      const endpoint = new FakeEndpoint(address, port, (leg, head) => {
        applications.find((application) => application.head === head)?.legs.push(leg);
      });
      all.push(endpoint);
      return endpoint;
    },
    mayDialClusterIp: () => false,
    createOrigination: () => {
      throw new Error('nobody speaks TLS here');
    },
  });
  context.setEndpointsStreamUp(true);
  dependency.endpoints.set(
    Array.from({ length: endpointCount }, (_, nth) => ({ address: `10.0.0.${nth + 1}`, port: 80 })),
    false,
  );
  for (let nth = 0; nth < applicationCount; nth += 1) applications.push(new FakeApplication(context, dependency));
  return { time, ticker, context, dependency, applications, endpoints: all };
}
