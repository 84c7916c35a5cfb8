// Hedged requests against a small model: several applications share a bulkhead and a budget, and what happens to whom is a random script. All of
// it lies on the ticks of the data path, so that the model knows each of them.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { ResponseHead } from '../../http1/response-head.ts';
import { RetryBudget } from '../../policies/retry-budget.ts';
import { RouteTable } from '../../route/match.ts';
import { type FakeApplication, fakeWorld, START_MS } from '../testing/exchange-fixtures.ts';
import { dependencyPlan, HEDGING, NO_POLICY, RETRIES } from '../testing/fixtures.ts';

const TICK_MS = 5;
const DELAY_MS = 50;
const PLACES = 4;
const APPLICATIONS = 4;
/** As many calls as have to be seen before anything is hedged. */
const ENOUGH_CALLS = 20;
const BUDGET = { budgetPercent: 50, budgetMinPerSecond: 0 };

interface Setting {
  maxHedges: number;
  endpoints: number;
  attemptMs: number;
  requestMs: number;
}

function policyOf({ maxHedges, attemptMs, requestMs }: Setting): Partial<PolicyPlan> {
  return {
    timeouts: { ...NO_POLICY.timeouts, requestMs, attemptMs },
    retries: { ...RETRIES, ...BUDGET, maxAttempts: 1 },
    hedging: { ...HEDGING, minDelayMs: DELAY_MS, maxDelayMs: DELAY_MS, maxHedges },
    bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: PLACES, maxQueued: 0, queueTimeoutMs: 0, adaptive: null },
  };
}

function world(setting: Setting) {
  const made = fakeWorld(policyOf(setting), setting.endpoints, APPLICATIONS);
  const { hedging, bulkhead, metrics: counts } = made.dependency.policies.row(0);
  for (let call = 0; call < ENOUGH_CALLS; call += 1) hedging?.record(10, START_MS);
  return { ...made, bulkhead, counts };
}

// ---- the model ----------------------------------------------------------------------------------------------------------------------

interface Request {
  /** By copy, in the order in which they were sent: whether it is out. */
  copies: boolean[];
  /** The status of the answer that is passed on; 0: none is. */
  answering: number;
  deadlineMs: number;
  /** By the plan under which it began. */
  maxHedges: number;
}

class Model {
  readonly requests: (Request | null)[] = Array.from({ length: APPLICATIONS }, () => null);
  readonly ends: string[][] = Array.from({ length: APPLICATIONS }, () => []);
  readonly suppressed = { endpoint: 0, bulkhead: 0, budget: 0 };
  hedges = 0;
  /** By the newest plan. */
  maxHedges: number;
  readonly #setting: Setting;
  readonly #budget = new RetryBudget(BUDGET, START_MS);
  /** What is to happen; of what is for the same time, what was armed first comes first. */
  #dues: { atMs: number; run: () => void }[] = [];

  constructor(setting: Setting) {
    this.#setting = setting;
    this.maxHedges = setting.maxHedges;
  }

  /** All copies that are out. */
  get places(): number {
    return this.requests.reduce((sum, request) => sum + (request === null ? 0 : outOf(request)), 0);
  }

  passUntil(untilMs: number): void {
    for (;;) {
      const atMs = Math.min(...this.#dues.map((due) => due.atMs));
      const index = this.#dues.findIndex((due) => due.atMs === atMs);
      if (atMs > untilMs || index < 0) return;
      for (const { run } of this.#dues.splice(index, 1)) run();
    }
  }

  begin(application: number, safe: boolean, nowMs: number): void {
    this.#budget.recordRequest(nowMs);
    if (this.places >= PLACES) {
      this.#tell(application, 'bulkhead-full');
      return;
    }
    const { maxHedges } = this;
    const request: Request = { copies: [], answering: 0, deadlineMs: nowMs + this.#setting.requestMs, maxHedges };
    this.requests[application] = request;
    if (safe) this.#armHedge(application, request, nowMs);
    this.#send(application, request, nowMs);
  }

  #armHedge(application: number, request: Request, nowMs: number): void {
    const atMs = nowMs + DELAY_MS;
    this.#dues.push({ atMs, run: () => this.#hedge(application, request, atMs) });
  }

  #send(application: number, request: Request, nowMs: number): void {
    const copy = request.copies.push(true) - 1;
    const { attemptMs } = this.#setting;
    const atMs = Math.min(request.deadlineMs, attemptMs > 0 ? nowMs + attemptMs : Number.POSITIVE_INFINITY);
    this.#dues.push({
      atMs,
      run: () => {
        if (request.copies[copy] !== true) return;
        if (request.answering > 0) this.#over(application, 'cut');
        else if (atMs >= request.deadlineMs) this.#over(application, 'deadline');
        else this.fail(application, copy, 'attempt-timeout');
      },
    });
  }

  #hedge(application: number, request: Request, nowMs: number): void {
    const { endpoints } = this.#setting;
    if (this.requests[application] !== request || request.answering > 0 || nowMs >= request.deadlineMs) return;
    if (outOf(request) >= endpoints) this.suppressed.endpoint += 1;
    else if (this.places >= PLACES) this.suppressed.bulkhead += 1;
    else if (!this.#budget.tryWithdraw(nowMs)) this.suppressed.budget += 1;
    else {
      this.hedges += 1;
      // The first copy is none.
      if (request.copies.length < request.maxHedges) this.#armHedge(application, request, nowMs);
      this.#send(application, request, nowMs);
    }
  }

  /** The head of an answer: it is passed on where it is good, or the last that may come. */
  answer(application: number, copy: number, status: number): void {
    const request = this.requests[application];
    if (!request || request.answering > 0) return;
    if (status !== 200 && outOf(request) > 1) {
      request.copies[copy] = false;
      return;
    }
    request.copies = request.copies.map((_, nth) => nth === copy);
    request.answering = status;
  }

  finish(application: number): void {
    const request = this.requests[application];
    if (request && request.answering > 0) this.#over(application, String(request.answering));
  }

  fail(application: number, copy: number, reason: string): void {
    const request = this.requests[application];
    if (!request) return;
    if (request.answering > 0) this.#over(application, 'cut');
    else if (outOf(request) > 1) request.copies[copy] = false;
    else this.#over(application, reason);
  }

  cancel(application: number): void {
    if (this.requests[application]) this.#over(application, '');
  }

  #over(application: number, how: string): void {
    const request = this.requests[application];
    if (request) request.copies = request.copies.map(() => false);
    this.requests[application] = null;
    if (how !== '') this.#tell(application, how);
  }

  #tell(application: number, how: string): void {
    this.ends[application]?.push(how);
  }
}

const outOf = ({ copies }: Request): number => copies.filter((out) => out).length;

// ---- both together ------------------------------------------------------------------------------------------------------------------

const KINDS = [
  'begin',
  'begin',
  'begin',
  'pass',
  'pass',
  'pass',
  'good',
  'bad',
  'lose',
  'finish',
  'cancel',
  'plan',
] as const;
const script = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS),
    application: fc.nat({ max: APPLICATIONS - 1 }),
    which: fc.nat({ max: 5 }),
    ticks: fc.integer({ min: 1, max: 30 }),
  }),
  { minLength: 10, maxLength: 120, size: 'max' },
);
type Step = { kind: (typeof KINDS)[number]; application: number; which: number; ticks: number };

const answerHead = (status: number): ResponseHead => Object.assign(new ResponseHead(), { status, contentLength: 0 });
const sum = (values: Iterable<number>): number => Array.from(values).reduce((total, value) => total + value, 0);

class Trial {
  readonly world: ReturnType<typeof world>;
  readonly model: Model;
  readonly #setting: Setting;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.world = world(setting);
    this.model = new Model(setting);
  }

  step({ kind, application, which, ticks }: Step): void {
    const { time } = this.world;
    const client = this.world.applications[application];
    const out = client?.legs.filter(({ alive }) => alive) ?? [];
    const leg = out[which % Math.max(1, out.length)];
    const copy = leg === undefined ? -1 : (client?.legs.indexOf(leg) ?? -1);
    if (kind === 'pass') {
      time.runUntil(time.nowMs + ticks * TICK_MS);
      this.model.passUntil(time.nowMs);
    } else if (kind === 'begin') {
      if (client && this.model.requests[application] === null) this.#begin(client, application, which > 0);
    } else if (kind === 'cancel') {
      client?.exchange.cancel(true);
      this.model.cancel(application);
    } else if (kind === 'plan') {
      this.#replan(1 + (which % 3));
    } else if (kind === 'finish') {
      if (this.model.requests[application]?.answering) leg?.receiver?.onResponseEnd('');
      this.model.finish(application);
    } else if (leg === undefined) {
      return;
    } else if (kind === 'lose') {
      leg.lose();
      this.model.fail(application, copy, 'reset');
    } else if (this.model.requests[application]?.answering === 0) {
      leg.receiver?.onResponseHead(answerHead(kind === 'good' ? 200 : 503));
      this.model.answer(application, copy, kind === 'good' ? 200 : 503);
    }
  }

  #begin(client: FakeApplication, application: number, safe: boolean): void {
    client.legs = [];
    client.head.method = safe ? 'GET' : 'POST';
    client.head.target = '/';
    client.head.path = '/';
    client.exchange.begin('a', 'id', false);
    this.model.begin(application, safe, this.world.time.nowMs);
  }

  /** The same state goes on under other numbers. */
  #replan(maxHedges: number): void {
    const plan = dependencyPlan(policyOf({ ...this.#setting, maxHedges }));
    this.world.dependency.update(plan, new RouteTable(plan));
    this.model.maxHedges = maxHedges;
  }

  check(): void {
    const { applications, bulkhead, counts, endpoints } = this.world;
    const { model } = this;
    const { endpoint, bulkhead: full, budget } = model.suppressed;
    const outOfEach = applications.map(({ legs }) => legs.filter(({ alive }) => alive));
    // In one comparison, for there are thousands of them.
    expect({
      copies: applications.map(({ legs }, nth) => (model.requests[nth] ? legs.map(({ alive }) => alive) : null)),
      ends: applications.map(({ ends }) => ends),
      places: bulkhead?.inFlight,
      load: sum(endpoints.map(({ inFlight }) => inFlight)),
      legs: sum(endpoints.map(({ legs }) => legs.size)),
      suppressed: [...counts.hedgesSuppressed],
      // Each at an endpoint of its own, and nothing twice that must not be.
      shared: outOfEach.filter((out) => new Set(out.map((leg) => leg.endpoint)).size < out.length),
      repeated: applications.filter(({ head, legs }) => head.method === 'POST' && legs.length > 1),
    }).toEqual({
      copies: model.requests.map((request) => request && request.copies),
      ends: model.ends,
      places: model.places,
      load: model.places,
      legs: model.places,
      suppressed: [0, endpoint, 0, full, budget],
      shared: [],
      repeated: [],
    });
  }

  /** All applications go away. */
  end(): void {
    const { applications, bulkhead, context, counts, endpoints, ticker } = this.world;
    for (const [nth, { exchange }] of applications.entries()) {
      exchange.cancel(true);
      this.model.cancel(nth);
    }
    this.check();
    expect(sum(counts.hedges)).toBe(this.model.hedges);
    expect([bulkhead?.inFlight, ticker.size, context.active, context.replayPool.usedBytes]).toEqual([0, 0, 0, 0]);
    expect(endpoints.flatMap(({ legs }) => [...legs])).toEqual([]);
    expect(applications.flatMap(({ legs }) => legs).filter(({ receiver }) => receiver !== null)).toEqual([]);
  }
}

describe('hedged requests', () => {
  it('send what the model says, take the first good answer, and give everything back, whatever happens when', () => {
    const seen = { hedges: 0, endpoint: 0, bulkhead: 0, budget: 0 };
    const ends = new Set<string>();
    fc.assert(
      fc.property(
        script,
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(1, 4, 4, 4),
        fc.constantFrom(0, 130),
        // With the shortest the first hedge is due just when it passes.
        fc.constantFrom(DELAY_MS, 400, 400, 400),
        (steps, maxHedges, endpoints, attemptMs, requestMs) => {
          const trial = new Trial({ maxHedges, endpoints, attemptMs, requestMs });
          for (const step of steps) {
            trial.step(step);
            trial.check();
          }
          trial.end();
          seen.hedges += trial.model.hedges;
          for (const cause of ['endpoint', 'bulkhead', 'budget'] as const) seen[cause] += trial.model.suppressed[cause];
          for (const end of trial.model.ends.flat()) ends.add(end);
        },
      ),
      { numRuns: 120 },
    );
    // The trial means something only if everything happened.
    expect([...ends].sort()).toEqual(['200', '503', 'attempt-timeout', 'bulkhead-full', 'cut', 'deadline', 'reset']);
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(10);
  }, 120_000);
});
