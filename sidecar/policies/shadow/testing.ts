// For the tests of this folder: what happens to a request, told to its shadows as the data path tells it.
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { Outcome } from '../circuit-breaker.ts';
import { type BlockShadow, NO_HEAD, ShadowCall, type ShadowedHead, shadowCounts } from './block-shadow.ts';
import { SHADOW_SLOTS } from './decisions.ts';
import { RouteShadow } from './route-shadow.ts';

export interface Happens {
  endpoint?: BalancedEndpoint;
  startMs?: number;
  endMs: number;
  connectedMs?: number;
  headMs?: number;
  outcome?: number;
  bits?: number;
  answered?: boolean;
  unsent?: boolean;
  replayable?: boolean;
  responseMs?: number;
  status?: number;
  retryAfterMs?: number;
  refusesRetry?: boolean;
}

/** What the data path tells, without a data path. Where nothing else is said an attempt goes to one and the same endpoint. */
export class Route {
  readonly counts = shadowCounts();
  readonly endpoint = new BalancedEndpoint('10.0.0.1:80');
  readonly shadow: RouteShadow;
  /** What the next request is told to. */
  nextCall = (): ShadowCall => new ShadowCall();

  constructor(...blocks: BlockShadow[]) {
    this.shadow = new RouteShadow(blocks, this.counts);
  }

  begin(
    nowMs: number,
    method = 'GET',
    deadlineMs = Number.POSITIVE_INFINITY,
    head: Partial<ShadowedHead> = {},
  ): ShadowCall {
    const call = this.nextCall();
    call.head = { ...NO_HEAD, method, target: '/', host: 'a', ...head };
    this.shadow.begin(call, deadlineMs, nowMs);
    this.shadow.admit(call, nowMs);
    return call;
  }

  attempt(call: ShadowCall, nowMs: number, endpoint = this.endpoint): void {
    this.shadow.attempt(call, endpoint, nowMs);
  }

  endAttempt(call: ShadowCall, it: Happens): void {
    call.connectedMs = it.connectedMs ?? 0;
    call.headMs = it.headMs ?? 0;
    this.facts(call, it);
    this.shadow.attemptEnded(call, it.endMs);
  }

  facts(call: ShadowCall, it: Happens): void {
    call.failureBits = it.bits ?? 0;
    call.outcome = it.outcome ?? (call.failureBits === 0 ? Outcome.Success : Outcome.Failure);
    call.answered = it.answered ?? call.outcome === Outcome.Success;
    call.unsent = it.unsent ?? false;
    call.replayable = it.replayable ?? true;
    call.status = it.status ?? 0;
    call.retryAfterMs = it.retryAfterMs ?? -1;
    call.refusesRetry = it.refusesRetry ?? false;
    call.responseMs = it.responseMs ?? it.endMs - call.attemptStartMs;
  }

  /** A request of one attempt. */
  request(it: Happens, method = 'GET', deadlineMs = Number.POSITIVE_INFINITY): ShadowCall {
    const call = this.begin(it.startMs ?? 0, method, deadlineMs);
    this.attempt(call, it.startMs ?? 0, it.endpoint);
    this.endAttempt(call, it);
    this.shadow.end(call, it.endMs);
    return call;
  }

  get decisions(): Record<string, number> {
    const told = SHADOW_SLOTS.map(({ decision }, slot) => [decision, this.counts.decisions[slot] ?? 0] as const);
    return Object.fromEntries(told.filter(([, count]) => count > 0));
  }
}
