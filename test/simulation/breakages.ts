// Promises broken on purpose, one at a time, in the real code: the simulation proves something only where it notices each of them. A breakage
// is put on before the probes are, so that what they watch is the broken thing.
import { Distributor } from '../../operator/distribute/distributor.ts';
import type { EndpointSet } from '../../plan/endpoints.ts';
import { NO_KEY } from '../../sidecar/balance/balancer.ts';
import { ConsistentHash } from '../../sidecar/balance/consistent-hash.ts';
import { mix } from '../../sidecar/balance/hash.ts';
import { LoadBalancer } from '../../sidecar/balance/load-balancer.ts';
import { RoundRobin } from '../../sidecar/balance/round-robin.ts';
import { BucketTable } from '../../sidecar/policies/bucket-table.ts';
import { Admission, Bulkhead } from '../../sidecar/policies/bulkhead.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { HealthChecks } from '../../sidecar/policies/health-check.ts';
import { OutlierDetection } from '../../sidecar/policies/outlier-detection.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { TimerWheel } from '../../sidecar/policies/timer-wheel.ts';
import { TokenBucket } from '../../sidecar/policies/token-bucket.ts';
import { ClientConnection } from '../../sidecar/proxy/application/client-connection.ts';
import { ProxyDataPlane } from '../../sidecar/proxy/data-plane.ts';
import { EndpointChoice } from '../../sidecar/proxy/dependency/endpoint-choice.ts';
import { Attempt } from '../../sidecar/proxy/exchange/attempt.ts';
import { AttemptBooks } from '../../sidecar/proxy/exchange/attempt-books.ts';
import { Attempts } from '../../sidecar/proxy/exchange/attempts.ts';
import { Hedges } from '../../sidecar/proxy/exchange/hedges.ts';
import { ReplayBody } from '../../sidecar/proxy/exchange/replay-body.ts';
import { RequestTimer } from '../../sidecar/proxy/exchange/request-timer.ts';
import type { UpstreamEndpoint } from '../../sidecar/proxy/exchange/upstream.ts';
import type { Http1Connection } from '../../sidecar/proxy/upstream/http1-connection.ts';
import { Http1Endpoint } from '../../sidecar/proxy/upstream/http1-endpoint.ts';
import { EndpointsFollower } from '../../sidecar/subscribe/endpoints-follower.ts';
import { wrap } from './wrap.ts';

const balancer: LoadBalancer<UpstreamEndpoint> = LoadBalancer.prototype;
const turns: RoundRobin<UpstreamEndpoint> = RoundRobin.prototype;
const hash: ConsistentHash<UpstreamEndpoint> = ConsistentHash.prototype;

/** Breaks a promise; the returned function mends it. */
export type Breakage = () => () => void;

export const BREAKAGES: Readonly<Record<string, Breakage>> = {
  'a budget that always has some left': () =>
    wrap(RetryBudget.prototype, 'tryWithdraw', (original) => {
      return function (this: RetryBudget, nowMs) {
        original.call(this, nowMs);
        return true;
      };
    }),
  'a conductor that does not ask the budget': () =>
    wrap(Attempts.prototype, 'nextAtMs', (original) => {
      return function (this: Attempts, ...failed) {
        const mend = wrap(RetryBudget.prototype, 'tryWithdraw', () => () => true);
        const atMs = original.apply(this, failed);
        mend();
        return atMs;
      };
    }),
  'hedges that nobody pays for': () =>
    wrap(Hedges.prototype, 'expire', (original) => {
      return function (this: Hedges, nowMs) {
        const mend = wrap(RetryBudget.prototype, 'tryWithdraw', () => () => true);
        original.call(this, nowMs);
        mend();
      };
    }),
  'a copy that goes on when another one was answered': () => wrap(Attempt.prototype, 'overtaken', () => () => {}),
  'a conductor that sends again whatever failed': () =>
    wrap(Attempts.prototype, 'nextAtMs', (original) => {
      return function (this: Attempts, failureBits, result, _unsent, ...rest) {
        return original.call(this, failureBits, result, true, ...rest);
      };
    }),
  'a conductor that does not count attempts': () =>
    wrap(Attempts.prototype, 'started', (original) => {
      return function (this: Attempts) {
        original.call(this);
        this.count = 1;
      };
    }),
  'a request that goes elsewhere for ever': () => wrap(Attempts.prototype, 'rerouted', () => () => true),
  'a body of which half is kept for a retry': () =>
    wrap(ReplayBody.prototype, 'add', (original) => {
      return function (this: ReplayBody, buffer, start, end) {
        original.call(this, buffer, start, Math.ceil((start + end) / 2));
      };
    }),
  'a bulkhead without walls': () =>
    wrap(Bulkhead.prototype, 'acquire', (original) => {
      return function (this: Bulkhead, waiter) {
        const admission = original.call(this, waiter);
        if (admission === Admission.Queued) this.cancel(waiter);
        return Admission.Granted;
      };
    }),
  'a bulkhead that lets nobody in who waited': () => wrap(Bulkhead.prototype, 'takeGrantable', () => () => null),
  'a bulkhead whose queue nobody can leave': () => wrap(Bulkhead.prototype, 'cancel', () => () => {}),
  'an attempt that keeps its place': () => wrap(AttemptBooks.prototype, 'givePlace', () => () => {}),
  'an open circuit that lets everything through': () => wrap(CircuitBreaker.prototype, 'look', () => () => true),
  'a half-open circuit without a limit': () =>
    wrap(CircuitBreaker.prototype, 'look', (original) => {
      return function (this: CircuitBreaker, nowMs) {
        return original.call(this, nowMs) || this.state(nowMs) === BreakerState.HalfOpen;
      };
    }),
  'a circuit that keeps the permits of cancelled calls': () =>
    wrap(CircuitBreaker.prototype, 'settle', (original) => {
      return function (this: CircuitBreaker, permit, outcome, ...rest) {
        if (outcome !== Outcome.Ignored) original.call(this, permit, outcome, ...rest);
      };
    }),
  'an ejection of one too many': () =>
    wrap(OutlierDetection.prototype, 'setEndpoints', (original) => {
      return function (this: OutlierDetection, names, nowMs) {
        original.call(this, [...names, 'nobody', 'nobody else'], nowMs);
      };
    }),
  'an ejection that never ends': () => wrap(OutlierDetection.prototype, 'sweep', () => () => {}),
  'an ejection of which nobody is told': () => wrap(EndpointChoice.prototype, 'refresh', () => () => {}),
  'a late result that ejects who has come back': () =>
    wrap(OutlierDetection.prototype, 'record', (original) => {
      return function (this: OutlierDetection, member, _generation, bits, nowMs) {
        original.call(this, member, member.generation, bits, nowMs);
      };
    }),
  'checks that always pass': () =>
    wrap(HealthChecks.prototype, 'settle', (original) => {
      return function (this: HealthChecks, endpoint, _problem, nowMs) {
        original.call(this, endpoint, '', nowMs);
      };
    }),
  'a balancer that knows no price': () =>
    wrap(AttemptBooks.prototype, 'begin', (original) => {
      return function (this: AttemptBooks, endpoint, ...rest) {
        original.call(this, endpoint, ...rest);
        endpoint.latencyMs = 0;
        endpoint.failureMs = 0;
      };
    }),
  'a balancer that sends a retry to where it failed': () =>
    wrap(balancer, 'pick', (original) => {
      return function (this: typeof balancer, avoid, key, nowMs) {
        return avoid[0] ?? original.call(this, avoid, key, nowMs);
      };
    }),
  'a balancer that keeps endpoints which are gone': () =>
    wrap(balancer, 'setEndpoints', (original) => {
      return function (this: typeof balancer, endpoints) {
        const before = this.candidates.all.filter(({ name }) => endpoints.every((endpoint) => endpoint.name !== name));
        original.call(this, [...endpoints, ...before]);
      };
    }),
  'turns that are not kept': () =>
    wrap(turns, 'pick', (original) => {
      return function (this: typeof turns, avoid, key, nowMs) {
        original.call(this, avoid, key, nowMs);
        return original.call(this, avoid, key, nowMs);
      };
    }),
  'keys that wander': () =>
    wrap(hash, 'pick', (original) => {
      return function (this: typeof hash, avoid, key, nowMs) {
        return original.call(this, avoid, key === NO_KEY ? key : mix(key + Math.floor(nowMs)), nowMs);
      };
    }),
  'a set of endpoints that end where others live': () =>
    wrap(Distributor.prototype, 'publish', (original) => {
      const everKnown = new Map<string, EndpointSet>();
      return function (this: Distributor, result) {
        const endpointSets = new Map(
          Array.from(result.endpointSets, ([key, set]) => {
            const known = everKnown.get(key)?.endpoints ?? [];
            const gone = known.filter(({ address }) => set.endpoints.every((endpoint) => endpoint.address !== address));
            const all = { key, endpoints: [...set.endpoints, ...gone] };
            everKnown.set(key, all);
            return [key, all];
          }),
        );
        original.call(this, { ...result, endpointSets });
      };
    }),
  'a limit that knows nobody again': () =>
    wrap(BucketTable.prototype, 'take', (original) => {
      return function (this: BucketTable, value, nowUs) {
        return original.call(this, `${value} ${nowUs}`, nowUs);
      };
    }),
  'a limit that forgets who used it up': () =>
    wrap(TokenBucket.prototype, 'update', (original) => {
      return function (this: TokenBucket, rate, nowUs) {
        original.call(this, rate, nowUs);
        for (let given = 0; given < rate.burst; given += 1) this.giveBack();
      };
    }),
  'timers that come late': () =>
    wrap(TimerWheel.prototype, 'arm', (original) => {
      return function (this: TimerWheel, node, atMs) {
        original.call(this, node, atMs + 50);
      };
    }),
  'a deadline twice as long': () =>
    wrap(RequestTimer.prototype, 'begin', (original) => {
      return function (this: RequestTimer, nowMs, requestMs) {
        original.call(this, nowMs, requestMs * 2);
      };
    }),
  'an answer that is given twice': () =>
    wrap(ClientConnection.prototype, 'answerLocally', (original) => {
      return function (this: ClientConnection, ...answer) {
        original.apply(this, answer);
        original.apply(this, answer);
      };
    }),
  'a refusal that is never said': () => wrap(ClientConnection.prototype, 'answerLocally', () => () => {}),
  'an answer that is not taken back': () => wrap(ClientConnection.prototype, 'takeBack', () => () => false),
  'a connection that two requests use at once': () => {
    const last = new WeakMap<Http1Endpoint, Http1Connection>();
    return wrap(Http1Endpoint.prototype, 'takeIdle', (original) => {
      return function (this: Http1Endpoint, ...when) {
        const taken = original.apply(this, when) ?? last.get(this) ?? null;
        if (taken !== null) last.set(this, taken);
        return taken !== null && taken.socket.destroyed ? null : taken;
      };
    });
  },
  'a sidecar that keeps its first plan': () => {
    const applied = new WeakSet<ProxyDataPlane>();
    return wrap(ProxyDataPlane.prototype, 'applyPlan', (original) => {
      return function (this: ProxyDataPlane, plan) {
        if (!applied.has(this)) original.call(this, plan);
        applied.add(this);
      };
    });
  },
  'a sidecar that misses changes of endpoints': () =>
    wrap(EndpointsFollower.prototype, 'onLine', (original) => {
      return function (this: EndpointsFollower, line) {
        return line.startsWith('{"kind":"update"') ? { kind: 'confirmed' } : original.call(this, line);
      };
    }),
  'an operator that keeps news to itself': () => {
    let publications = 0;
    return wrap(Distributor.prototype, 'publish', (original) => {
      return function (this: Distributor, result) {
        publications += 1;
        if (publications % 3 !== 0) original.call(this, result);
      };
    });
  },
};
