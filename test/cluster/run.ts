// `npm run test:cluster`: the cluster tests. With KUBECONFIG set they run against that cluster, else against one that is built and started
// here and removed afterwards, however the tests end. Arguments go to vitest: `npm run test:cluster -- breaker`.
//
// Another cluster needs a way to get images into it: BREAKWATER_LOAD_IMAGE is a command that is given the path of an archive as its last
// argument, `kind load image-archive` for example.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { add, failedTests, totalsOf, type VitestReport, vitestReport } from '../report.ts';
import { ALL_IMAGES, buildAndLoad, imageTarget, REPOSITORY_ROOT } from './images.ts';
import { inCluster, installBreakwater } from './install.ts';
import { buildKubernetes } from './kubernetes/build.ts';
import { clusterExists, stopCluster, thisCluster } from './kubernetes/node.ts';
import { takeLock } from './lock.ts';
import { bringUp } from './up.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const log = (line: string) => console.error(line);

interface Target {
  kubeconfig: string;
  inside: readonly string[];
  isOurs: boolean;
  end(): Promise<void>;
}

async function useGiven(kubeconfig: string): Promise<Target> {
  const ours = thisCluster();
  const isOurs = kubeconfig === ours.kubeconfig;
  await buildKubernetes('all', log); // kubectl, helm and buildah are needed in any case.
  const inside = isOurs ? ours.inside : [];
  await buildAndLoad(ALL_IMAGES, imageTarget(kubeconfig), log);
  await installBreakwater(inCluster(kubeconfig, inside, ours.bin));
  return { kubeconfig, inside, isOurs, end: () => Promise.resolve() };
}

async function useOwn(): Promise<Target> {
  if (clusterExists()) {
    // Nobody works on a CI machine: what is there was left by a run that was killed.
    if (process.env['CI'] !== 'true') {
      throw new Error(
        `a cluster runs here already: set KUBECONFIG=${thisCluster().kubeconfig} to use it, or "npm run cluster:down"`,
      );
    }
    await stopCluster();
  }
  // The one moment at which there is no child that an interruption ends first.
  const interrupted = () => void stopCluster().finally(() => process.exit(130));
  for (const signal of SIGNALS) process.once(signal, interrupted);
  try {
    const cluster = await bringUp(log);
    return { kubeconfig: cluster.kubeconfig, inside: cluster.inside, isOurs: true, end: stopCluster };
  } catch (error) {
    await stopCluster();
    throw error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

/** `cluster` measures times, so `beside`, which needs no cluster, gets what is left of the processors. */
const LANES = { cluster: [], beside: ['nice', '-n', '10'] } as const;

async function runLane(lane: keyof typeof LANES, target: Target, filters: readonly string[], directory: string) {
  const report = join(directory, `${lane}.json`);
  const exitCode = await runVitest(lane, target, filters, report);
  const read = readReport(report);
  return { totals: totalsOf(read, exitCode), failed: failedTests(read, REPOSITORY_ROOT) };
}

function runVitest(
  lane: keyof typeof LANES,
  target: Target,
  filters: readonly string[],
  report: string,
): Promise<number> {
  const vitest = join(REPOSITORY_ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const config = join(import.meta.dirname, 'vitest.config.ts');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const [command = '', ...rest] = [
    ...target.inside,
    ...LANES[lane],
    process.execPath,
    vitest,
    'run',
    '--config',
    config,
    `--project=${lane}`,
    ...reporters,
    // Those who name tests of one lane have none in the other.
    ...(filters.length === 0 ? [] : ['--passWithNoTests', ...filters]),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(command, rest, {
      stdio: ['ignore', 'inherit', 'inherit'],
      cwd: REPOSITORY_ROOT,
      env: { ...process.env, KUBECONFIG: target.kubeconfig, PATH: `${thisCluster().bin}:${process.env['PATH'] ?? ''}` },
    });
    for (const signal of SIGNALS) process.once(signal, () => child.kill(signal));
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function readReport(file: string): VitestReport | undefined {
  try {
    return vitestReport.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    log(`vitest left no report that can be read: ${String(error)}`);
    return undefined;
  }
}

const release = takeLock();
const given = process.env['KUBECONFIG'];
const filters = process.argv.slice(2);
const started = performance.now();
const target = given === undefined || given === '' ? await useOwn() : await useGiven(given);
const directory = mkdtempSync(join(tmpdir(), 'breakwater-cluster-tests-'));
try {
  const lanes = Object.keys(LANES) as (keyof typeof LANES)[];
  const runs = lanes.map((lane) => runLane(lane, target, filters, directory));
  const ended = await Promise.all(runs);
  let totals = ended.map((it) => it.totals).reduce(add);
  // Whoever names some tests wants the others skipped, and on a cluster that is not ours a few cannot run; nobody else skips anything.
  if (filters.length === 0 && target.isOurs && totals.skipped > 0) {
    log(`${totals.skipped} tests were skipped: this run has failed`);
    totals = add(totals, { passed: 0, failed: 1, skipped: 0 });
  }
  console.log(`\ncluster tests: ${Math.round((performance.now() - started) / 1000)} s`);
  for (const name of ended.flatMap((it) => it.failed)) console.log(`failed: ${name}`);
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
  process.exitCode = totals.failed === 0 ? 0 : 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
  await target.end();
  release();
}
