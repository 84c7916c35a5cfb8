import { describe, expect, it } from 'vitest';
import { add, boxed, failedTests, totalsOf, type VitestReport, vitestReport } from './report.ts';

const passed = { fullName: 'it works', status: 'passed' };
const report = (over: Partial<VitestReport> = {}): VitestReport => ({
  success: true,
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [{ name: 'a.test.ts', status: 'passed', assertionResults: [passed, passed, passed] }],
  ...over,
});

describe('totals of a test run', () => {
  it('counts what passed, failed and was skipped', () => {
    const counted = totalsOf(report({ success: false, numFailedTests: 2, numPendingTests: 1, numTodoTests: 1 }), 1);
    expect(counted).toEqual({ passed: 3, failed: 2, skipped: 2 });
    expect(add(counted, counted)).toEqual({ passed: 6, failed: 4, skipped: 4 });
  });

  it('counts a file that does not load as a failure', () => {
    const broken = { name: 'b.test.ts', status: 'failed', assertionResults: [] };
    expect(totalsOf(report({ success: false, testResults: [broken] }), 1)).toEqual({
      passed: 3,
      failed: 1,
      skipped: 0,
    });
  });

  it('names what failed', () => {
    const testResults = [
      {
        name: '/r/a.test.ts',
        status: 'failed',
        assertionResults: [passed, { fullName: 'two is one', status: 'failed' }],
      },
      { name: '/r/b.test.ts', status: 'failed', assertionResults: [] },
    ];
    expect(failedTests(report({ testResults }), '/r')).toEqual([
      'a.test.ts: two is one',
      'b.test.ts: it could not be run',
    ]);
    expect(failedTests(undefined, '/r')).toEqual([]);
  });

  it('never calls a run that ended badly a success', () => {
    expect(totalsOf(report(), 1).failed).toBe(1);
    expect(totalsOf(report({ success: false }), 0).failed).toBe(1);
    expect(totalsOf(undefined, 0).failed).toBe(1);
  });

  it('refuses a report of another form', () => {
    expect(vitestReport.safeParse({ success: true }).success).toBe(false);
  });

  it('draws a frame around the longest line', () => {
    expect(boxed(['a', 'longer'])).toBe('╔════════╗\n║ a      ║\n║ longer ║\n╚════════╝');
  });
});
