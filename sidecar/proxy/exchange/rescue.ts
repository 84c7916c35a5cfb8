// What becomes of a request that failed where its policy has a fallback: a fixed answer, the last good one, or another dependency. One
// object per client connection, reused for every request on it. It finds; the exchange, which knows what has to be ended first, gives.
import type { ResponseHead } from '../../http1/response-head.ts';
import { FALLBACKS, REASON_UPSTREAM, reasonSlot } from '../../metrics/route-metrics.ts';
import { isSafe } from '../../policies/fallback.ts';
import { mayBeGiven, mayBeKept } from '../../policies/keepable.ts';
import { type AnswerWatch, Recording } from '../../policies/last-good.ts';
import { KeptAndMeasured } from '../../policies/shadow/last-good-shadow.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { RouteFallback, RoutePolicy } from '../dependency/route-policies.ts';
import { ATTEMPT_FLOOR_MS } from './attempts.ts';
import type { CurrentRequest } from './current-request.ts';
import { type GivenAnswer, lastGoodAnswer } from './given-answer.ts';

/** A plan has no circle of fallbacks; one that had all the same must not lead a request round for ever. */
const MAX_HOPS = 8;

export class Rescue {
  readonly request: CurrentRequest;
  /** Found: the answer to give; null: there is none. */
  given: GivenAnswer | null = null;
  /** Found: the dependency to ask; null: there is none. */
  target: DependencyRuntime | null = null;
  /** The reason of what the first fallback took the place of; empty while none did. */
  code = '';
  /** What was given, in order: "dependency, response". */
  names = '';
  #hops = 0;

  constructor(request: CurrentRequest) {
    this.request = request;
  }

  begin(): void {
    this.code = '';
    this.names = '';
    this.#hops = 0;
  }

  /** Slot of the reason that the request is counted by. */
  get reason(): number {
    return this.code === '' ? REASON_UPSTREAM : reasonSlot(this.code);
  }

  /** Field lines of a refusal that nothing takes the place of any more. */
  get marksOfRefusal(): string {
    const { faultMark } = this.request;
    return this.names === '' ? faultMark : `${faultMark}\r\nBreakwater-Fallback: ${this.names}`;
  }

  /** Whether the request may be sent to another dependency, so that its body has to be kept. */
  mayAskAnother({ fallback }: RoutePolicy): boolean {
    return fallback !== null && fallback.dependency !== '' && this.#applies(fallback);
  }

  /** Looks for what takes the place of a failure of this kind (`FallbackBit`s), and counts where there is nothing. */
  find(bits: number, deadlineMs: number, nowMs: number): boolean {
    const { fallback, metrics } = this.request.policy;
    if (fallback === null || (fallback.mask & bits) === 0 || !this.#applies(fallback)) return false;
    this.given = this.#answer(fallback, nowMs);
    this.target = this.given ? null : this.#target(fallback, deadlineMs, nowMs);
    if (this.given || this.target) return true;
    metrics.fallbacksMissed[fallback.kind] = (metrics.fallbacksMissed[fallback.kind] ?? 0) + 1;
    return false;
  }

  /** What was found is taken. `code`: the reason of what it takes the place of. */
  take(code: string): void {
    const { fallback, metrics } = this.request.policy;
    if (fallback === null) return;
    metrics.countFallback(fallback.kind, reasonSlot(code));
    const name = FALLBACKS[fallback.kind] ?? '';
    this.names = this.names === '' ? name : `${this.names}, ${name}`;
    if (this.code === '') this.code = code;
    if (this.target) this.#hops++;
    this.request.marks = `${this.request.faultMark}\r\nBreakwater-Reason: ${this.code}\r\nBreakwater-Fallback: ${this.names}`;
  }

  /** From here on another dependency is asked, by its own name and under its own policies. */
  redirect(target: DependencyRuntime): void {
    const { request } = this;
    const { method, path, fields } = request.head;
    request.dependency = target;
    request.host = target.plan.authority;
    request.policy = target.policyFor(method, path, fields);
  }

  #applies(fallback: RouteFallback): boolean {
    return fallback.allMethods || isSafe(this.request.head.method);
  }

  #answer(fallback: RouteFallback, nowMs: number): GivenAnswer | null {
    if (fallback.response) return fallback.response;
    const { lastGood } = fallback;
    const { method, fields } = this.request.head;
    if (!lastGood || !mayBeGiven(method, fields, lastGood.spec)) return null;
    const good = lastGood.find(this.#key(), fields, nowMs);
    return good && lastGoodAnswer(good, nowMs);
  }

  #target(fallback: RouteFallback, deadlineMs: number, nowMs: number): DependencyRuntime | null {
    const { dependency, replay } = this.request;
    const inTime = deadlineMs - nowMs >= ATTEMPT_FLOOR_MS;
    if (fallback.dependency === '' || !inTime || !replay.complete || this.#hops === MAX_HOPS) return null;
    return dependency.sibling(fallback.dependency);
  }

  /** Host and target: what an answer is kept by. */
  #key(): string {
    const { host, head } = this.request;
    return `${host} ${head.target}`;
  }

  /** An answer that begins to pass by, where it may be given again, or could be by what is in shadow; else null. */
  recording(response: ResponseHead, nowMs: number): AnswerWatch | null {
    const kept = this.#recording(response, nowMs);
    const measured = this.request.shadow.measure(response, nowMs);
    return kept === null || measured === null ? (kept ?? measured) : new KeptAndMeasured(kept, measured);
  }

  #recording(response: ResponseHead, nowMs: number): Recording | null {
    const { context, head, policy } = this.request;
    const lastGood = policy.fallback === null ? null : policy.fallback.lastGood;
    if (lastGood === null || response.contentLength > lastGood.spec.maxAnswerBytes) return null;
    if (!mayBeKept(head.method, head.fields, response, lastGood.spec)) return null;
    return new Recording(lastGood, context.lastGoodPool, this.#key(), head.fields, response.fields, nowMs);
  }
}
