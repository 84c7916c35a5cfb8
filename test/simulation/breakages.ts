// Promises broken on purpose, one at a time, in the real code: the simulation proves something only where it notices each of them. A breakage
// is put on before the probes are, so that what they watch is the broken thing.
import { Distributor } from '../../operator/distribute/distributor.ts';
import { Admission, Bulkhead } from '../../sidecar/policies/bulkhead.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { TimerWheel } from '../../sidecar/policies/timer-wheel.ts';
import { AttemptBooks } from '../../sidecar/proxy/attempt-books.ts';
import { Attempts } from '../../sidecar/proxy/attempts.ts';
import { ClientConnection } from '../../sidecar/proxy/client-connection.ts';
import { ProxyDataPlane } from '../../sidecar/proxy/data-plane.ts';
import type { Http1Connection } from '../../sidecar/proxy/http1-connection.ts';
import { Http1Endpoint } from '../../sidecar/proxy/http1-endpoint.ts';
import { ReplayBody } from '../../sidecar/proxy/replay-body.ts';
import { RequestTimer } from '../../sidecar/proxy/request-timer.ts';
import { EndpointsFollower } from '../../sidecar/subscribe/endpoints-follower.ts';
import { wrap } from './probes.ts';

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
