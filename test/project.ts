// Runs one project of vitest as a process of its own, and reads what became of it.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolder } from './harness/temporary-folder.ts';
import { failedTests, type Totals, totalsOf, type VitestReport, vitestReport } from './report.ts';

export const root = resolve(import.meta.dirname, '..');

/** What cannot run is a failure here, not only a remark. */
export const everythingRequired = process.env['CI'] === 'true' || process.env['BREAKWATER_REQUIRE_ALL'] === '1';

/**
 * Runs a program of ours to its end beside us; signals that we get reach it. Resolves to its exit code, 1 where a signal ended it. `output`: a
 * file that its output goes to.
 */
export function runProgram(args: readonly string[], output?: number): Promise<number> {
  return new Promise((done) => {
    const to = output ?? 'inherit';
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', to, to] });
    const signals: NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];
    const forward = (signal: NodeJS.Signals) => child.kill(signal);
    for (const signal of signals) process.on(signal, forward);
    child.once('exit', (code) => {
      for (const signal of signals) process.off(signal, forward);
      done(code ?? 1);
    });
  });
}

export interface Ended {
  totals: Totals;
  /** Names of the tests that failed. */
  failed: string[];
  /** What it had to say, where that was kept back. */
  output: string;
}

export interface ProjectRun {
  /** Files at a time. */
  workers: number;
  /** Parts of paths; none: all files. */
  filters: readonly string[];
  /** Not to talk into what another one says. */
  keepBack?: boolean;
}

export async function runProject(project: string, { workers, filters, keepBack = false }: ProjectRun): Promise<Ended> {
  const folder = temporaryFolder('test');
  const file = join(folder, 'report.json');
  const log = join(folder, 'output.txt');
  const output = keepBack ? openSync(log, 'w') : undefined;
  try {
    const args = [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      `--project=${project}`,
      `--maxWorkers=${workers}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
      ...(filters.length > 0 ? ['--passWithNoTests', ...filters] : []),
    ];
    const code = await runProgram(args, output);
    const report = readReport(file);
    return {
      totals: totalsOf(report, code),
      failed: failedTests(report, root),
      output: keepBack ? readFileSync(log, 'utf8') : '',
    };
  } finally {
    if (output !== undefined) closeSync(output);
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(file: string): VitestReport | undefined {
  try {
    return vitestReport.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    process.stderr.write(`vitest left no report that can be read: ${String(error)}\n`);
    return undefined;
  }
}
