import { describe, expect, it } from 'vitest';
import { ReportQueue } from './report-queue.ts';

const queue = () => new ReportQueue({ initialMs: 500, maxMs: 10_000 }, () => 0.5);

describe('ReportQueue', () => {
  it('waits for what comes shortly after, and sends it once', () => {
    const reports = queue();
    reports.add('circuits', 0, 100);
    reports.add('circuits', 60, 100);
    expect(reports.deadlineMs).toBe(100);
    expect(reports.next(99)).toBeNull();
    expect(reports.next(100)).toBe('circuits');
    reports.sent();
    expect(reports.next(1e9)).toBeNull();
    expect(reports.deadlineMs).toBe(Number.POSITIVE_INFINITY);
  });

  it('takes what is urgent out of its wait', () => {
    const reports = queue();
    reports.add('circuits', 0, 100);
    reports.add('circuits', 10, 0);
    expect(reports.next(10)).toBe('circuits');
  });

  it('sends one at a time, the plan first', () => {
    const reports = queue();
    reports.add('endpoints', 0, 0);
    reports.add('plan', 0, 0);
    expect(reports.next(0)).toBe('plan');
    expect(reports.next(0)).toBeNull();
    expect(reports.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    reports.sent();
    expect(reports.next(0)).toBe('endpoints');
  });

  it('keeps what changed while it was on its way', () => {
    const reports = queue();
    reports.add('circuits', 0, 0);
    reports.next(0);
    reports.add('circuits', 1, 100);
    reports.sent();
    expect(reports.next(100)).toBeNull();
    expect(reports.next(101)).toBe('circuits');
  });

  it('repeats what was not taken, ever more slowly, until the operator is back', () => {
    const reports = queue();
    reports.add('plan', 0, 0);
    const waits: number[] = [];
    let nowMs = 0;
    for (let turn = 0; turn < 4; turn++) {
      expect(reports.next(nowMs)).toBe('plan');
      reports.failed(nowMs);
      expect(reports.next(nowMs)).toBeNull();
      waits.push(reports.deadlineMs - nowMs);
      nowMs = reports.deadlineMs;
    }
    expect(waits).toEqual([250, 750, 1500, 3000]);
    reports.next(nowMs);
    reports.failed(nowMs);
    reports.resume();
    expect(reports.next(nowMs)).toBe('plan');
  });
});
