import { describe, expect, it } from 'vitest';
import { mainThreadInstructions, reportInstructions } from './instructions.ts';

const dump = `# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 17327
cmd:  node --single-threaded-gc main.js
part: 1
thread: 1


desc: I1 cache: 
desc: D1 cache: 
desc: LL cache: 

desc: Timerange: Basic block 0 - 125087239
desc: Trigger: Program termination

positions: line
events: Ir
summary: 347043533


ob=(4) /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30
fl=(19) ???
fn=(1278) operator new(unsigned long)
0 38784
`;

describe('what callgrind writes', () => {
  it('has the instructions of one thread', () => {
    expect(mainThreadInstructions(dump)).toBe(347_043_533);
  });

  it.each([
    ['another thread', dump.replace('thread: 1', 'thread: 3')],
    ['nothing counted', dump.replace(/^summary: .*$/m, 'summary: 0')],
    ['other events', dump.replace('events: Ir', 'events: Ir Dr')],
    ['nothing', ''],
  ])('is refused where it holds %s', (_what, text) => {
    expect(() => mainThreadInstructions(text)).toThrow('something else than the instructions');
  });
});

describe('the report of instructions', () => {
  const report = (...policies: number[]) =>
    reportInstructions(
      new Map([
        ['forwarding', [100_000, 110_000]],
        ['policies', policies],
      ]),
    );

  it('compares the cheapest windows, and the middle ones', () => {
    const { lines, records } = report(130_000, 119_000);
    const [cheapest, middle] = [1.19, 1.186];
    expect(records).toEqual([
      { case: 'instructions', forwarding: 100_000, policies: 119_000, ratio: cheapest, medianRatio: middle },
    ]);
    expect(lines[2]).toBe('policies    119000 (windows: 130000, 119000)');
  });

  it('fails the gate above 1.2', () => {
    expect(report(120_000).failures).toEqual([]);
    expect(report(120_100).failures).toEqual(['instructions: 1.201 of forwarding alone, the limit is 1.2']);
    expect(report(110_000, 150_000).failures).toEqual(['instructions: 1.238 of forwarding alone, the limit is 1.2']);
    expect(report(Number.NaN).failures).toHaveLength(2);
  });
});
