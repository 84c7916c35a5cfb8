import { describe, expect, it } from 'vitest';
import { seededRandom } from '../runtime/random.ts';
import { reportReady } from './ready.ts';

const start = (readyMs: number) => ({ readyMs, readyCpuMs: readyMs - 50.2, firstAnswerMs: readyMs + 10 });
const envoy = [start(100), start(110), start(120)];

function report(...ours: number[]) {
  return reportReady(
    new Map([
      ['breakwater', ours.map(start)],
      ['envoy', envoy],
    ]),
    seededRandom(1),
  );
}

describe('the report of starts', () => {
  it('has medians with their intervals, one record for each proxy', () => {
    const { records, lines } = report(240, 200, 220);
    expect(records).toMatchObject([
      { case: 'ready', proxy: 'breakwater', readyMs: 220, readyMsLow: 200, readyMsHigh: 240, rounds: 3 },
      { proxy: 'envoy', readyMs: 110, readyCpuMs: 60, firstAnswerMs: 120 },
    ]);
    expect(lines[0]).toContain('medians of 3 starts');
    expect(lines[1]).toBe(
      'breakwater  ready ms 220 (200–240)  CPU-ms until then 170 (150–190)  first answer ms 230 (210–250)',
    );
  });

  it('fails the gate where our median is above the limit', () => {
    expect(report(240, 250, 900).failures).toEqual([]);
    expect(report(240, 251, 900).failures).toEqual(['ready: after 251 ms, the limit is 250']);
  });
});
