// What the runs of vitest add up to, and what a person has to see of it.
import { relative } from 'node:path';
import { z } from 'zod';

/** The part of vitest's JSON report that is read. */
export const vitestReport = z.object({
  success: z.boolean(),
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
});
export type VitestReport = z.infer<typeof vitestReport>;

export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** `report` undefined: the run ended before it could write one. `exitCode` not 0 is a failure even where every test passed. */
export function totalsOf(report: VitestReport | undefined, exitCode: number): Totals {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 };
  // A file that does not even load has no test that could fail.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  const failed = report.numFailedTests + brokenFiles.length;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && (exitCode !== 0 || !report.success) ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** "sidecar/http1/oracle.test.ts: reads what llhttp reads", of each test that failed; of a file that does not load its name alone. */
export function failedTests(report: VitestReport | undefined, root: string): string[] {
  const names: string[] = [];
  for (const { name, status, assertionResults } of report?.testResults ?? []) {
    const file = relative(root, name);
    if (status === 'failed' && assertionResults.length === 0) names.push(`${file}: it could not be run`);
    for (const test of assertionResults) if (test.status === 'failed') names.push(`${file}: ${test.fullName}`);
  }
  return names;
}

export function add(a: Totals, b: Totals): Totals {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** Lines in a frame that nobody overlooks in a log. */
export function boxed(lines: readonly string[]): string {
  const width = Math.max(...lines.map((line) => line.length));
  const bar = '═'.repeat(width + 2);
  return [`╔${bar}╗`, ...lines.map((line) => `║ ${line.padEnd(width)} ║`), `╚${bar}╝`].join('\n');
}
