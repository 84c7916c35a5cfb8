// The books of a simulated run: every request of every application, what the sidecar did with it, and how often a server may have run it.
// They are kept apart from the sidecar, from what is seen on its wires, and throw a Violation at the moment at which a promise is broken.
import type { RoutePolicy } from '../../sidecar/proxy/dependency/route-policies.ts';
import { idOf } from './correlation.ts';
import type { SeenRequest } from './request-reader.ts';
import type { SeenResponse } from './response-reader.ts';
import { demand } from './violation.ts';

/** How a request ended for the application. Cut: the answer had begun. Unanswered: the connection ended before the sidecar took it up. */
export const CALL_OUTCOMES = ['answered', 'local', 'cut', 'cancelled', 'unanswered', 'upgraded'] as const;
export type CallOutcome = (typeof CALL_OUTCOMES)[number];

export interface CallRecord {
  readonly id: number;
  readonly caller: string;
  readonly method: string;
  readonly keyed: boolean;
  readonly sentMs: number;
  /** When the sidecar took it up; -1: it did not (yet), or the connection is a tunnel. */
  begunMs: number;
  /** By the timeouts of its policies; infinity: none bounds it. */
  deadlineMs: number;
  policy: RoutePolicy | null;
  /** How often its head reached a server. */
  heads: number;
  /** Heads that were on their way to a server when the request was sent to another dependency: they may arrive yet. */
  lateHeads: number;
  /** Of those that reached a server, how many it said it does not execute. */
  refused: number;
  /** Somebody said on the wire that an attempt is not executed: it may be sent once more, whatever policies say. */
  mayGoAgain: boolean;
  /** It was, at the cost of nobody's budget. */
  wentAgain: boolean;
  /** How often its head left the sidecar. */
  attempts: number;
  response: SeenResponse | null;
  cancelled: boolean;
  outcome: CallOutcome | null;
}

export interface Tally {
  requests: number;
  outcomes: Record<CallOutcome, number>;
  /** By breakwater-reason of the answers that the sidecar gave itself. */
  reasons: Map<string, number>;
  /** Attempts beyond the first. */
  retries: number;
}

export function emptyTally(): Tally {
  const outcomes = Object.fromEntries(CALL_OUTCOMES.map((outcome) => [outcome, 0])) as Record<CallOutcome, number>;
  return { requests: 0, outcomes, reasons: new Map(), retries: 0 };
}

function deadlineOf({ plan }: RoutePolicy, fromMs: number): number {
  const { requestMs } = plan.timeouts;
  return requestMs === 0 ? Number.POSITIVE_INFINITY : fromMs + requestMs;
}

/** Without any policy: one more, where the first was not executed. */
function maxAttempts({ mayGoAgain }: CallRecord, { retries }: RoutePolicy): number {
  return retries === null ? 2 : retries.maxAttempts + (mayGoAgain ? 1 : 0);
}

/** Copies beside the attempts. */
function maxHedges({ method, keyed }: CallRecord, { hedging, retries, plan }: RoutePolicy): number {
  if (hedging === null || retries === null) return 0;
  const mayRunBeside = keyed || retries.methods === 'All' || ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method);
  return mayRunBeside ? (plan.hedging?.maxHedges ?? 0) : 0;
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export class Ledger {
  readonly tally = emptyTally();
  readonly #nowMs: () => number;
  readonly #trace: (text: string) => void;
  readonly #calls = new Map<number, CallRecord>();
  #nextId = 1;

  constructor(nowMs: () => number, trace: (text: string) => void) {
    this.#nowMs = nowMs;
    this.#trace = trace;
  }

  /** An application sends a request. */
  call({ caller, method, keyed }: Pick<CallRecord, 'caller' | 'method' | 'keyed'>): CallRecord {
    const call: CallRecord = {
      id: this.#nextId,
      caller,
      method,
      keyed,
      sentMs: this.#nowMs(),
      begunMs: -1,
      deadlineMs: Number.POSITIVE_INFINITY,
      policy: null,
      heads: 0,
      lateHeads: 0,
      refused: 0,
      mayGoAgain: false,
      wentAgain: false,
      attempts: 0,
      response: null,
      cancelled: false,
      outcome: null,
    };
    this.#nextId += 1;
    this.#calls.set(call.id, call);
    this.tally.requests += 1;
    this.#trace(`request ${call.id}: ${caller} sends ${method}${keyed ? ' with a key' : ''}`);
    return call;
  }

  get(id: number): CallRecord {
    const call = this.#calls.get(id);
    demand(call !== undefined, () => `request ${id} was never sent`);
    return call as CallRecord;
  }

  get calls(): IterableIterator<CallRecord> {
    return this.#calls.values();
  }

  /** The sidecar took it up, under this policy. */
  begun(id: number, policy: RoutePolicy): void {
    const call = this.get(id);
    demand(call.begunMs < 0, () => `request ${id} was taken up twice`);
    call.begunMs = this.#nowMs();
    call.policy = policy;
    call.deadlineMs = deadlineOf(policy, call.begunMs);
    this.#trace(`request ${id}: taken up under rule ${policy.plan.rule}`);
  }

  /** A fallback sends it to another dependency, whose own policies count its attempts anew. */
  redirected(id: number, from: RoutePolicy, to: RoutePolicy): void {
    // What applications write that is no HTTP may begin as a request.
    if (id === 0) return;
    const call = this.get(id);
    demand(
      from.fallback?.allMethods === true || ['GET', 'HEAD', 'OPTIONS'].includes(call.method),
      () => `request ${id}, a ${call.method}, was sent to another dependency, and no policy says that it may`,
    );
    call.policy = to;
    call.deadlineMs = Math.min(call.deadlineMs, deadlineOf(to, this.#nowMs()));
    call.lateHeads += call.attempts - call.heads;
    call.attempts = 0;
    call.heads = 0;
    call.refused = 0;
    call.mayGoAgain = false;
    call.wentAgain = false;
    this.#trace(`request ${id}: sent to another dependency, under rule ${to.plan.rule}`);
  }

  /** Its head left the sidecar for a server. */
  attempted(id: number): CallRecord {
    const call = this.get(id);
    call.attempts += 1;
    if (call.attempts > 1) this.tally.retries += 1;
    // One that was not taken up passes through a tunnel.
    const limit = call.policy === null ? 1 : maxAttempts(call, call.policy) + maxHedges(call, call.policy);
    demand(call.attempts <= limit, () => `request ${id} was sent ${call.attempts} times, ${limit} are allowed`);
    return call;
  }

  /** Its head reached a server: from here on it may have been executed. */
  reached({ headers, method }: SeenRequest, server: string): void {
    const id = idOf(headers.get('x-correlation-id'));
    // What applications write that is no HTTP may begin as a request.
    if (id === 0) return;
    const call = this.get(id);
    demand(method === call.method, () => `request ${id} is a ${call.method} and arrived as a ${method}`);
    demand(headers.has('idempotency-key') === call.keyed, () => `the key of request ${id} was lost or invented`);
    call.heads += 1;
    this.#trace(`request ${id}: reached ${server}, time ${call.heads}`);
    if (call.heads <= 1 + call.lateHeads + call.refused) return;
    const mayRepeat = call.policy?.retries !== null && this.#mayRunTwice(call);
    demand(
      mayRepeat,
      () => `request ${id}, a ${call.method} that may not run twice, reached servers ${call.heads} times`,
    );
  }

  /** A server that it reached has said that it is not executed. */
  refused({ headers }: SeenRequest, server: string): void {
    const id = idOf(headers.get('x-correlation-id'));
    if (id === 0) return;
    this.get(id).refused += 1;
    this.#trace(`request ${id}: refused by ${server}`);
  }

  /** It was said of an attempt that it is not executed, be it that it never got there. */
  mayGoAgain(id: number): void {
    if (id !== 0) this.get(id).mayGoAgain = true;
  }

  /** A server has read all of it. */
  received({ headers }: SeenRequest, bytes: number): void {
    const id = idOf(headers.get('x-correlation-id'));
    const sent = Number(headers.get('x-sent-bytes'));
    demand(id === 0 || bytes === sent, () => `request ${id} was sent with ${sent} bytes and arrived with ${bytes}`);
  }

  /** The head of the answer has come to the application. */
  answered(call: CallRecord, response: SeenResponse): void {
    demand(call.response === null, () => `request ${call.id} got a second answer`);
    call.response = response;
    const seed = response.headers.get('x-body-seed');
    const lastGood = response.headers.get('breakwater-fallback')?.endsWith('last-good') === true;
    demand(
      seed === undefined || Number(seed) === call.id || (lastGood && this.#mayBeKept(Number(seed))),
      () => `request ${call.id} got the answer to request ${seed}`,
    );
    const reason = response.headers.get('breakwater-reason');
    demand(
      reason !== undefined || call.heads > 0,
      () => `request ${call.id} got status ${response.status}, and no server ever saw it`,
    );
    this.#trace(`request ${call.id}: answered ${response.status} ${reason ?? ''}`);
    if (response.status === 101) this.#end(call, 'upgraded');
  }

  /** The whole answer has come. */
  completed(call: CallRecord, isWhole: boolean): void {
    demand(isWhole, () => `the answer to request ${call.id} ended early and looks whole`);
    const reason = call.response?.headers.get('breakwater-reason');
    if (reason !== undefined) this.tally.reasons.set(reason, (this.tally.reasons.get(reason) ?? 0) + 1);
    this.#end(call, reason === undefined ? 'answered' : 'local');
  }

  cancelled(call: CallRecord): void {
    if (call.outcome === 'upgraded') return;
    call.cancelled = true;
    this.#end(call, 'cancelled');
  }

  /** The connection of the application ended without a whole answer. */
  lost(call: CallRecord): void {
    if (call.outcome !== null) return;
    if (call.response !== null) {
      this.#end(call, 'cut');
      return;
    }
    demand(call.begunMs < 0, () => `request ${call.id} was taken up and its connection ended without an answer`);
    this.#end(call, 'unanswered');
  }

  /** Through a tunnel come the bytes of the server, whatever they are. */
  nonsense(call: CallRecord | null, what: string): void {
    demand(call === null || call.begunMs < 0, () => `the application read ${what} (request ${call?.id ?? 'none'})`);
  }

  /** All is over. */
  close(): void {
    for (const call of this.#calls.values()) demand(call.outcome !== null, () => `request ${call.id} has no outcome`);
  }

  #end(call: CallRecord, outcome: CallOutcome): void {
    demand(call.outcome === null, () => `request ${call.id} ended twice: ${call.outcome} and ${outcome}`);
    call.outcome = outcome;
    this.tally.outcomes[outcome] += 1;
    this.#trace(`request ${call.id}: ${outcome}`);
  }

  /** Only answers to GET are. Zero: what an application wrote that is no HTTP may begin as one. */
  #mayBeKept(id: number): boolean {
    return id === 0 || this.get(id).method === 'GET';
  }

  #mayRunTwice(call: CallRecord): boolean {
    return call.keyed || SAFE_METHODS.has(call.method) || call.policy?.retries?.methods === 'All';
  }
}
