import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { traceStateDeadline, withoutTraceStateDeadline, withTraceStateDeadline } from './trace-state.ts';

describe('the deadline in tracestate', () => {
  it.each([
    ['', -1],
    ['rojo=00f067aa0ba902b7', -1],
    ['breakwater=d:1764090000123', 1_764_090_000_123],
    ['rojo=1,breakwater=d:17', 17],
    ['rojo=1 ,\tbreakwater=d:17 , congo=2', 17],
    // Another key, or another's value.
    ['not-breakwater=d:17', -1],
    ['a@breakwater=d:17', -1],
    ['rojo=breakwater=d:17', -1],
    ['breakwater2=d:17', -1],
    ['Breakwater=d:17', -1],
    ['breakwater=17', Number.NaN],
    ['breakwater=d:', Number.NaN],
    ['breakwater=d:-5', Number.NaN],
    ['breakwater=d:17;x', Number.NaN],
    ['breakwater=d:9999999999999999', Number.NaN],
  ])('of %j is %j', (list, deadline) => expect(traceStateDeadline(list)).toBe(deadline));

  it.each([
    ['', 'breakwater=d:7'],
    ['rojo=1,congo=2', 'breakwater=d:7,rojo=1,congo=2'],
    ['breakwater=d:9', 'breakwater=d:7'],
    ['rojo=1,breakwater=d:9,congo=2', 'breakwater=d:7,rojo=1,congo=2'],
    ['rojo=1 , breakwater=d:9', 'breakwater=d:7,rojo=1'],
    ['breakwater=d:9,breakwater=d:8,rojo=1', 'breakwater=d:7,rojo=1'],
  ])('is written before %j', (list, written) => expect(withTraceStateDeadline(list, '7')).toBe(written));

  it('gives way to what others wrote: at most 32 entries and 512 characters', () => {
    const of = (count: number) => Array.from({ length: count }, (_, index) => `k${index}=v`).join(',');
    expect(withTraceStateDeadline(of(31), '7')).toBe(`breakwater=d:7,${of(31)}`);
    expect(withTraceStateDeadline(of(32), '7')).toBe(of(32));
    expect(withTraceStateDeadline(`${of(32)},breakwater=d:9`, '7')).toBe(of(32));
    const long = (length: number) => `k=${'v'.repeat(length - 2)}`;
    expect(withTraceStateDeadline(long(497), '7')).toHaveLength(512);
    expect(withTraceStateDeadline(long(498), '7')).toBe(long(498));
  });

  it('is read as it was written, and leaves every other entry where and as it was', () => {
    const key = fc
      .stringMatching(/^[a-z][a-z0-9_*/-]{0,11}(@[a-z][a-z0-9]{0,5})?$/, { size: 'max' })
      .filter((name) => name !== 'breakwater');
    const value = fc.stringMatching(/^[!-+\-.-<>-~]{1,24}$/, { size: 'max' });
    /** Lists of others, now and then with a deadline of ours among them. */
    const listOf = (other: fc.Arbitrary<string>) =>
      fc.array(fc.oneof({ weight: 12, arbitrary: other }, { weight: 1, arbitrary: ours }), {
        maxLength: 44,
        size: 'max',
      });
    const ours = fc.nat().map((at) => `breakwater=d:${at}`);
    const long = listOf(fc.tuple(key, value).map((pair) => pair.join('=')));
    const short = listOf(fc.constantFrom('a=1', 'b@c=2', 'd=x y'));
    const over = { entries: 0, characters: 0 };
    fc.assert(
      fc.property(fc.oneof(long, short), fc.constantFrom(',', ', ', ' ,'), fc.nat(), (all, comma, at) => {
        const list = all.join(comma);
        const others = all.filter((one) => !one.startsWith('breakwater='));
        const membersOf = (text: string) =>
          text
            .split(',')
            .map((one) => one.trim())
            .filter((one) => one !== '');
        const bare = withoutTraceStateDeadline(list);
        expect(membersOf(bare)).toEqual(others);
        if (others.length === all.length) expect(bare).toBe(list);
        const written = withTraceStateDeadline(list, String(at));
        const fits = others.length < 32 && written.length <= 512 && bare.length + String(at).length + 14 <= 512;
        expect(membersOf(written)).toEqual(fits ? [`breakwater=d:${at}`, ...others] : others);
        expect(traceStateDeadline(written)).toBe(fits ? at : -1);
        if (fits) expect(written.endsWith(bare)).toBe(true);
        else if (others.length >= 32) over.entries += 1;
        else over.characters += 1;
      }),
      { numRuns: 400 },
    );
    expect(Math.min(over.entries, over.characters)).toBeGreaterThan(5);
  });
});
