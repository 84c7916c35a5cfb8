import { array, assert, constantFrom, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConnectionResult, Verdict } from './connection-result.ts';

const { Nothing, Reset, Success, Unknown } = Verdict;
type Event = 'answered' | 'applicationEnded' | 'ended' | 'cut' | 'stood' | 'dropped';

function happen(result: ConnectionResult, event: Event): number {
  if (event === 'ended') return result.dependencyEnded(true);
  if (event === 'cut') return result.dependencyEnded(false);
  return result[event]();
}

function verdictsOf(events: readonly Event[]): number[] {
  const result = new ConnectionResult();
  return events.map((event) => happen(result, event));
}

describe('what a connection says of its dependency', () => {
  it.each<[string, Event[], number[]]>([
    ['an answer', ['answered', 'cut'], [Success, Nothing]],
    ['a cut before any answer', ['cut'], [Reset]],
    ['its end before any answer', ['ended'], [Reset]],
    [
      'its end after that of the application, though it never answered',
      ['applicationEnded', 'ended'],
      [Nothing, Success],
    ],
    ['a cut after the end of the application', ['applicationEnded', 'cut'], [Nothing, Unknown]],
    ['an application that goes away', ['dropped'], [Unknown]],
    [
      'an answer after the end of the application',
      ['applicationEnded', 'answered', 'ended'],
      [Nothing, Success, Nothing],
    ],
    ['a connection that stands', ['stood', 'cut'], [Success, Nothing]],
  ])('%s', (_name, events, verdicts) => {
    expect(verdictsOf(events)).toEqual(verdicts);
  });

  it('is known once it was said', () => {
    const result = new ConnectionResult();
    result.applicationEnded();
    expect(result.judged).toBe(false);
    result.dropped();
    expect(result.judged).toBe(true);
  });

  it('is said once, and never blames the dependency after an answer or the end of the application', () => {
    const event = constantFrom<Event>('answered', 'applicationEnded', 'ended', 'cut', 'stood', 'dropped');
    assert(
      property(array(event, { maxLength: 12, size: 'max' }), (events) => {
        const said = verdictsOf(events).flatMap((verdict, at) => (verdict === Nothing ? [] : [{ verdict, at }]));
        expect(said.length).toBeLessThanOrEqual(1);
        for (const { verdict, at } of said) {
          const before = events.slice(0, at);
          if (verdict === Reset) {
            expect(['ended', 'cut']).toContain(events[at]);
            expect(before).not.toContain('applicationEnded');
            expect(before).not.toContain('answered');
          }
          if (events[at] === 'dropped') expect(verdict).toBe(Unknown);
        }
        if (events.some((each) => each !== 'applicationEnded')) expect(said).toHaveLength(1);
      }),
    );
  });
});
