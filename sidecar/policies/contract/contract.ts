// What every policy must keep, whatever becomes of the calls that it sees.
//
// TO JOIN: put a function that makes a `Subject` around your state machine into a file of this folder, and add one row for it to the table
// in ../contract.test.ts. A subject says
//  - begin         A call comes. Null: the policy refuses it, and holds nothing for it.
//  - end           The call is over, once, by an `Ending`. Do here what the conductor does with your machine in that case; an ending that
//                  makes no difference to it needs no branch. Return what the machine decides thereby, if anything.
//  - abortedAfter  The caller goes away when its call is over already. Only where your machine can be told of that.
//  - update        A new plan. The same configuration number is an equal configuration, another number has other numbers in it.
//  - held          What is lent out now: slots, places in a queue, permits, timers, listeners.
//  - counted       How many results it remembers, where it can be asked that; and `counts`, asked before `end`, whether this ending of this
//                  call is to be one of them, null where it may also make the machine forget.
//  - situation     Where the machine is, by a word of your own; the row lists the words that the runs must come to, so that they prove something.
//  - idle          All calls are over: fails where not everything can be had again. The last thing that a subject is asked.
// The policy is then held to this, over sequences of calls that end in every way and order, with time and plans passing in between:
//  1. a refused call holds nothing; when all calls are over nothing is held, and everything can be had again;
//  2. an ending counts once or not at all, never twice;
//  3. an equal plan changes nothing, whenever it comes: a twin that never saw it answers the same.
// On the wire the same is asked of a whole data path, with real connections: sidecar/proxy/contract.test.ts, which has a table of its own.
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { expect } from 'vitest';

/** How a call ends. Its caller aborts it; `Threw` is what should not happen: an exception in whoever drives the policy. */
const ENDINGS = ['AbortedBefore', 'AbortedDuring', 'Answered', 'Failed', 'TimedOut', 'Threw'] as const;
export type Ending = (typeof ENDINGS)[number];

export interface Subject<Call> {
  begin(nowMs: number): Call | null;
  end(call: Call, ending: Ending, nowMs: number): unknown;
  abortedAfter?(call: Call): void;
  update(configuration: number, nowMs: number): void;
  held(): number;
  counted?(nowMs: number): number;
  counts?(call: Call, ending: Ending, nowMs: number): boolean | null;
  situation(nowMs: number): string;
  idle(nowMs: number): void;
}

export interface Row {
  name: string;
  keepsContract: () => void;
}

const step = fc.record({
  kind: fc.constantFrom('begin', 'begin', 'begin', 'end', 'end', 'end', 'pass', 'update', 'equalPlan', 'equalPlan'),
  number: fc.nat({ max: 1000 }),
});
type Step = { kind: string; number: number };

/**
 * A row of the table. `reaches`: the situations that the runs must have come to. `start` makes the subject with a configuration.
 */
export function policy<Call>(
  name: string,
  reaches: readonly string[],
  start: (configuration: number) => Subject<Call>,
): Row {
  const keepsContract = () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(fc.nat({ max: 50 }), fc.array(step, { maxLength: 150, size: 'max' }), (configuration, steps) => {
        const answers = run(start(configuration), configuration, steps, true, reached);
        mustEqual(run(start(configuration), configuration, steps, false, reached), answers);
      }),
      { numRuns: 300 },
    );
    expect([...reached]).toEqual(expect.arrayContaining([...reaches]));
  };
  return { name, keepsContract };
}

/** `expect` says what differs; a hundred thousand times over it takes longer than the policies to find that nothing does. */
function mustEqual(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
}

/** Everything that the subject answered. */
function run<Call>(
  subject: Subject<Call>,
  first: number,
  steps: readonly Step[],
  equalPlans: boolean,
  reached: Set<string>,
): unknown[] {
  const answers: unknown[] = [];
  const calls: Call[] = [];
  let configuration = first;
  let nowMs = 0;
  for (const { kind, number } of steps) {
    if (kind === 'pass') {
      nowMs += number / 4;
    } else if (kind === 'update') {
      // Every other one, so that a configuration is not gone before it has done anything.
      if (number % 2 === 0) configuration = number;
      if (number % 2 === 0) subject.update(number, nowMs);
    } else if (kind === 'equalPlan') {
      if (equalPlans) subject.update(configuration, nowMs);
    } else if (kind === 'begin') {
      const before = subject.held();
      const call = subject.begin(nowMs);
      if (call !== null) calls.push(call);
      else mustEqual(subject.held(), before);
      answers.push(call !== null);
    } else {
      answers.push(endOne(subject, calls, number, nowMs));
    }
    reached.add(subject.situation(nowMs));
    answers.push(subject.held(), subject.counted?.(nowMs));
  }
  while (calls.length > 0) endOne(subject, calls, first + calls.length, nowMs);
  mustEqual(subject.held(), 0);
  subject.idle(nowMs);
  return answers;
}

function endOne<Call>(subject: Subject<Call>, calls: Call[], number: number, nowMs: number): unknown {
  const [call] = calls.splice(number % Math.max(calls.length, 1), 1);
  if (call === undefined) return undefined;
  const ending = ENDINGS[number % ENDINGS.length] ?? 'Threw';
  const counts = subject.counts?.(call, ending, nowMs) ?? null;
  const before = subject.counted?.(nowMs) ?? 0;
  const answer = subject.end(call, ending, nowMs);
  if (subject.counted && counts !== null) mustEqual(subject.counted(nowMs) - before, counts ? 1 : 0);
  const held = subject.held();
  subject.abortedAfter?.(call);
  mustEqual(subject.held(), held);
  return answer;
}
