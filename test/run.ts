// `npm test`: the project `unit` of vitest and, beside it, `api-server` where a real kube-apiserver is on this machine or can be built here:
// each of them waits more than it computes. What cannot run is never passed over in silence, and is a failure where CI=true or
// BREAKWATER_REQUIRE_ALL=1. Arguments go to vitest: `npm test -- sidecar/policies`.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CONTROL_PLANE, controlPlaneAvailable, controlPlaneBinaries } from './harness/control-plane.ts';
import { add, boxed, failedTests, type Totals, totalsOf, type VitestReport, vitestReport } from './report.ts';

const root = resolve(import.meta.dirname, '..');
const filters = process.argv.slice(2);
const everythingRequired = process.env['CI'] === 'true' || process.env['BREAKWATER_REQUIRE_ALL'] === '1';

/**
 * Runs a command to its end beside us; signals that we get reach it. Resolves to its exit code, 1 where a signal ended it. `output`: a
 * file that its output goes to.
 */
function run(args: readonly string[], output?: number): Promise<number> {
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

interface Ended {
  totals: Totals;
  /** Names of the tests that failed. */
  failed: string[];
  /** What it had to say, where that was kept back. */
  output: string;
}

/** vitest leaves one processor free, and on a machine with two would run file after file, which wait more than they compute. */
const WORKERS = { unit: Math.max(2, availableParallelism() - 1), 'api-server': 1 } as const;

/** `keepBack`: not to talk into what another one says. */
async function runProject(project: keyof typeof WORKERS, keepBack: boolean): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'breakwater-test-'));
  const file = join(folder, 'report.json');
  const log = join(folder, 'output.txt');
  const output = keepBack ? openSync(log, 'w') : undefined;
  try {
    const args = [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      `--project=${project}`,
      `--maxWorkers=${WORKERS[project]}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
      ...(filters.length > 0 ? ['--passWithNoTests', ...filters] : []),
    ];
    const code = await run(args, output);
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

const hasGo = () => spawnSync('go', ['version'], { stdio: 'ignore' }).status === 0;

/** Why the tests against a real API server cannot run; empty where they can. Builds the server where Go is there to do it. */
async function prepareApiServer(): Promise<string[]> {
  if (controlPlaneAvailable()) return [];
  const missing = `Not all of ${CONTROL_PLANE.join(', ')} are in ${controlPlaneBinaries()},`;
  if (!hasGo()) return [missing, 'and no Go here to build it.'];
  const names = CONTROL_PLANE.join(', ');
  process.stderr.write(`building what is missing of ${names}: about 7 minutes, once for this machine …\n`);
  const code = await run([join(root, 'test/cluster/kubernetes/build.ts'), 'api']);
  if (code === 0 && controlPlaneAvailable()) return [];
  return [missing, `and building it failed (exit code ${code}); what it said stands above.`];
}

const reasons = await prepareApiServer();
const apiServer = reasons.length === 0 ? runProject('api-server', true) : undefined;
const ended = [await runProject('unit', false)];
if (apiServer !== undefined) {
  ended.push(await apiServer);
  process.stdout.write(ended[1]?.output ?? '');
} else {
  process.stdout.write(
    `\n${boxed([
      'NOT RUN: the tests against a real Kubernetes API server.',
      ...reasons,
      'With Go 1.26 installed, npm test builds it by itself.',
    ])}\n`,
  );
}

let totals = ended.map((it) => it.totals).reduce(add);
const incomplete = reasons.length > 0 || totals.skipped > 0;
if (totals.skipped > 0) process.stdout.write(`\n${totals.skipped} tests were skipped\n`);
if (incomplete && everythingRequired) {
  process.stdout.write(
    '\nEvery part is required here (CI=true or BREAKWATER_REQUIRE_ALL=1), so this run has failed.\n',
  );
  totals = add(totals, { passed: 0, failed: 1, skipped: 0 });
}
for (const name of ended.flatMap((it) => it.failed)) process.stdout.write(`failed: ${name}\n`);
process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed\n`);
process.exitCode = totals.failed === 0 ? 0 : 1;
