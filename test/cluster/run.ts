// `npm run test:cluster`: the cluster tests. With KUBECONFIG set they run against that cluster, else against two that are built and started
// here and removed afterwards, however the tests end. The second one has half of the tests that take the operator away: its run is this program
// once more, with other names in its environment. Arguments go to vitest, and then one cluster does: `npm run test:cluster -- breaker`.
//
// Another cluster needs a way to get images into it: BREAKWATER_LOAD_IMAGE is a command that is given the path of an archive as its last
// argument, `kind load image-archive` for example.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { add, failedTests, totalsOf, type VitestReport, vitestReport } from '../report.ts';
import { ALL_IMAGES, buildImages, type ImageWithId, imageTarget, loadImages, REPOSITORY_ROOT } from './images.ts';
import { inCluster, installBreakwater } from './install.ts';
import { buildKubernetes } from './kubernetes/build.ts';
import { cacheLayout, SECOND_CLUSTER } from './kubernetes/layout.ts';
import { ImageStore } from './kubernetes/load-image.ts';
import { clusterExists, stopCluster, thisCluster } from './kubernetes/node.ts';
import { takeLock } from './lock.ts';
import { bringUp } from './up.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const log = (line: string) => console.error(line);

interface Place {
  kubeconfig: string;
  /** Put before a command to run it there. */
  inside: readonly string[];
}

interface Target extends Place {
  isOurs: boolean;
  end(): Promise<void>;
}

async function useGiven(kubeconfig: string): Promise<Target> {
  const ours = thisCluster();
  const isOurs = kubeconfig === ours.kubeconfig;
  const inside = isOurs ? ours.inside : [];
  await loadImages(await buildImages(ALL_IMAGES, log), imageTarget(kubeconfig), log);
  await installBreakwater(inCluster(kubeconfig, inside, ours.bin));
  return { kubeconfig, inside, isOurs, end: () => Promise.resolve() };
}

async function useOwn(images?: Images): Promise<Target> {
  if (clusterExists()) {
    // Nobody works on a CI machine: what is there was left by a run that was killed.
    if (process.env['CI'] !== 'true') {
      throw new Error(
        `a cluster runs here already: set KUBECONFIG=${thisCluster().kubeconfig} to use it, or "npm run cluster:down"`,
      );
    }
    await stopCluster();
  }
  // The one moment at which nobody waits for a child that an interruption ends first.
  const interrupted = () =>
    void stopCluster().finally(() => {
      rmSync(directory, { recursive: true, force: true });
      process.exit(130);
    });
  for (const signal of SIGNALS) process.once(signal, interrupted);
  try {
    const cluster = await bringUp(log, images);
    return { kubeconfig: cluster.kubeconfig, inside: cluster.inside, isOurs: true, end: stopCluster };
  } catch (error) {
    await stopCluster();
    throw error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

interface LaneOptions {
  /** Put before the command. */
  under: readonly string[];
  /** Files at a time. */
  files: number;
}

/**
 * `together` and then `first` run on one cluster, `second` on the other one beside them; `alone` comes when all others are over. They measure
 * times, so `beside`, which needs no cluster and begins before there is one, gets what is left of the processors.
 */
const LANES = {
  together: { under: [], files: 2 },
  first: { under: [], files: 1 },
  second: { under: [], files: 1 },
  beside: { under: ['nice', '-n', '10'], files: 1 },
  alone: { under: [], files: 1 },
} as const satisfies Record<string, LaneOptions>;
type Lane = keyof typeof LANES;

/** Set in the second run: the file that its result goes to. */
const RESULT_FILE = 'BREAKWATER_CLUSTER_RESULT';

const result = z.object({
  totals: z.object({ passed: z.number(), failed: z.number(), skipped: z.number() }),
  failed: z.array(z.string()),
});
type Result = z.infer<typeof result>;

type Images = Promise<readonly ImageWithId[]>;

/** For both clusters, the second of which gets them from us. */
function buildForBoth(folder: string): Images {
  const second = { ...cacheLayout(), containerd: SECOND_CLUSTER.BREAKWATER_CLUSTER_CONTAINERD };
  const stores = [new ImageStore(), new ImageStore(SECOND_CLUSTER.BREAKWATER_CLUSTER_STATE, second)];
  const images = buildImages(ALL_IMAGES, log, { folder, stores });
  // Whoever waits for them is told.
  images.catch(() => undefined);
  return images;
}

const imageList = z.array(z.object({ name: z.string(), id: z.string(), archive: z.string().optional() }));

/** In the second run: those that the first one builds. */
async function imagesOfFirst(): Images {
  const gone = new AbortController();
  process.once('disconnect', () => gone.abort(new Error('the run that builds the images has ended')));
  const [message] = (await once(process, 'message', { signal: gone.signal })) as unknown[];
  process.disconnect?.();
  return imageList.parse(message);
}

/** What the lane `beside` runs against: it brings what it needs. */
const NO_CLUSTER: Place = { kubeconfig: '', inside: [] };

async function runLane(lane: Lane, target: Place, filters: readonly string[], directory: string): Promise<Result> {
  const report = join(directory, `${lane}.json`);
  const exitCode = await runVitest(lane, target, filters, report);
  const read = readReport(report);
  return { totals: totalsOf(read, exitCode), failed: failedTests(read, REPOSITORY_ROOT) };
}

/** Those of one cluster, one after the other; none is begun once one was interrupted. */
async function runLanes(
  lanes: readonly Lane[],
  target: Target,
  filters: readonly string[],
  directory: string,
): Promise<Result> {
  const results: Result[] = [];
  for (const lane of lanes) if (!isInterrupted) results.push(await runLane(lane, target, filters, directory));
  return sum(results);
}

/** The lane `second`, on a cluster of its own, which starts beside ours. What it says is kept until it has ended. */
async function runSecond(directory: string, images: Images): Promise<Result> {
  const file = join(directory, 'second.json');
  const output = join(directory, 'second.txt');
  const to = openSync(output, 'w');
  const env = { ...process.env, ...SECOND_CLUSTER, [RESULT_FILE]: file };
  const child = spawn(process.execPath, [import.meta.filename], { stdio: ['ignore', to, to, 'ipc'], env });
  images.then(
    (built) => child.connected && child.send(built),
    () => undefined,
  );
  const ended = new Promise<void>((resolve, reject) => child.on('error', reject).on('exit', () => resolve()));
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of SIGNALS) process.once(signal, forward);
  inVain.signal.addEventListener('abort', () => child.kill());
  await ended;
  closeSync(to);
  process.stdout.write(readFileSync(output));
  try {
    return result.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    return {
      totals: { passed: 0, failed: 1, skipped: 0 },
      failed: [`the second cluster: its run left no result (${String(error)})`],
    };
  }
}

function sum(results: readonly Result[]): Result {
  return {
    totals: results.map(({ totals }) => totals).reduce(add, { passed: 0, failed: 0, skipped: 0 }),
    failed: results.flatMap(({ failed }) => failed),
  };
}

function runVitest(lane: Lane, target: Place, filters: readonly string[], report: string): Promise<number> {
  const vitest = join(REPOSITORY_ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const config = join(import.meta.dirname, 'vitest.config.ts');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const [command = '', ...rest] = [
    ...target.inside,
    ...LANES[lane].under,
    process.execPath,
    vitest,
    'run',
    '--config',
    config,
    `--project=${lane}`,
    ...(LANES[lane].files === 1 ? [] : ['--fileParallelism', `--maxWorkers=${LANES[lane].files}`]),
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
    inVain.signal.addEventListener('abort', () => child.kill());
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

/** Aborted where what runs already would run for nothing. */
const inVain = new AbortController();
/** kubectl, helm and buildah, hundreds of times: the start of each takes less where Go does not collect during it. */
process.env['GOGC'] ??= '400';
const release = takeLock();
const given = process.env['KUBECONFIG'] ?? '';
const filters = process.argv.slice(2);
const resultFile = process.env[RESULT_FILE];
const started = performance.now();
let isInterrupted = false;
for (const signal of SIGNALS) process.on(signal, () => (isInterrupted = true));
const directory = temporaryFolder('cluster-tests');
let target: Target | undefined;
try {
  await buildKubernetes('all', log);
  if (resultFile === undefined) await runFirst(given);
  else {
    target = await useOwn(imagesOfFirst());
    writeFileSync(resultFile, JSON.stringify(await runLane('second', target, filters, directory)));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
  await target?.end();
  release();
}

async function runFirst(kubeconfig: string): Promise<void> {
  const hasTwo = kubeconfig === '' && filters.length === 0;
  const images = hasTwo ? buildForBoth(directory) : undefined;
  const elsewhere = [runLane('beside', NO_CLUSTER, filters, directory)];
  if (images !== undefined) elsewhere.push(runSecond(directory, images));
  try {
    target = kubeconfig === '' ? await useOwn(images) : await useGiven(kubeconfig);
  } catch (error) {
    inVain.abort();
    await Promise.all(elsewhere);
    throw error;
  }
  const here = runLanes(hasTwo ? ['together', 'first'] : ['together', 'first', 'second'], target, filters, directory);
  const ended = await Promise.all([here, ...elsewhere]);
  report(sum([...ended, await runLanes(['alone'], target, filters, directory)]), target.isOurs);
}

function report({ totals, failed }: Result, isOurs: boolean): void {
  // Whoever names some tests wants the others skipped, and on a cluster that is not ours a few cannot run; nobody else skips anything.
  const incomplete = isInterrupted || (filters.length === 0 && isOurs && totals.skipped > 0);
  if (incomplete)
    log(isInterrupted ? 'it was interrupted' : `${totals.skipped} tests were skipped: this run has failed`);
  const all = incomplete ? add(totals, { passed: 0, failed: 1, skipped: 0 }) : totals;
  console.log(`\ncluster tests: ${Math.round((performance.now() - started) / 1000)} s`);
  for (const name of failed) console.log(`failed: ${name}`);
  console.log(`${all.passed} passed, ${all.failed} failed`);
  process.exitCode = all.failed === 0 ? 0 : 1;
}
