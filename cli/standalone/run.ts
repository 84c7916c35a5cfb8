// `breakwater standalone DIR`: the operator in this process, a sidecar process for each workload of the folder, everything on loopback. The
// compiler, the sidecar, the streams and their TLS are those of a cluster; what is missing is the cluster: injection, capture and identity.
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningOperator, startOperator } from '../../operator/main.ts';
import type { FolderHandle } from '../../operator/platform.ts';
import { systemClock as clock } from '../../runtime/clock.ts';
import { createLogger, type Logger, type LogLevel } from '../../runtime/log.ts';
import { CertificateFolder } from './certificate-folder.ts';
import { Fleet } from './fleet.ts';
import type { ReadyLine } from './ready-line.ts';

const STATE_PREFIX = 'breakwater-standalone-';
const OPERATOR_READY_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 10;
const LOOPBACK = { host: '127.0.0.1', port: 0 } as const;

export interface StandaloneOptions {
  /** Checked by checkFolder. */
  folder: string;
  logLevel: LogLevel;
  /** The sidecar as its image holds it (sidecar/image/bundle.ts), an absolute path; null: from its sources. */
  sidecarBundle: string | null;
  /** Called once, when every sidecar enforces its plan. */
  onReady: (line: ReadyLine) => void;
}

/** Runs until SIGTERM, SIGINT or SIGHUP; a second signal ends everything at once. Throws where it cannot start. */
export async function runStandalone(options: StandaloneOptions): Promise<void> {
  const log = createLogger('standalone', options.logLevel);
  await removeAbandonedState(log);
  const state = await mkdtemp(join(tmpdir(), `${STATE_PREFIX}${process.pid}-`));
  const running: Running = { operator: undefined, fleet: undefined };
  const stopping = stopSignal(running);
  try {
    await Promise.race([serve(options, state, log, running), stopping.then(() => undefined)]);
    await stopping;
    log.info('standalone stops');
  } finally {
    await running.fleet?.stop();
    await running.operator?.stop();
    await rm(state, { recursive: true, force: true });
  }
}

interface Running {
  operator: RunningOperator | undefined;
  fleet: Fleet | undefined;
}

/** Resolves at the first signal. */
function stopSignal(running: Running): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    let stoppedMs = 0;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // A terminal sends its SIGINT to the whole group, and the launcher passes its own on: that is one and the same.
        if (isStopping && clock.monotonicMs() - stoppedMs < 500) return;
        if (isStopping) {
          running.fleet?.kill();
          process.exit(1);
        }
        isStopping = true;
        stoppedMs = clock.monotonicMs();
        resolve();
      });
    }
  });
}

/** Resolves when everything is ready and said so. */
async function serve(
  { folder, logLevel, sidecarBundle, onReady }: StandaloneOptions,
  state: string,
  log: Logger,
  running: Running,
): Promise<void> {
  const stateFolder = join(state, 'operator');
  await mkdir(stateFolder, { mode: 0o700 });
  const operator = await startOperator(
    {
      source: { kind: 'folder', folder, stateFolder },
      clusterDomain: 'cluster.local',
      https: LOOPBACK,
      admin: LOOPBACK,
      logLevel,
    },
    undefined,
    createLogger('operator', logLevel),
  );
  running.operator = operator;
  const handle = await readyHandle(operator);
  const caFile = join(state, 'ca.crt');
  await writeFile(caFile, operator.trustBundle());
  const certificates = new CertificateFolder(join(state, 'certificates'));
  const writeCertificates = () =>
    certificates.write(handle.certificates()).catch((error: unknown) => {
      log.error({ err: error }, 'certificates of the folder could not be laid out; sidecars keep those they have');
    });
  await writeCertificates();
  const fleet = new Fleet({
    folder: state,
    operatorUrl: `https://127.0.0.1:${operator.httpsPort}`,
    caFile,
    certificatesOf: (namespace) => certificates.of(namespace),
    sidecarLogLevel: logLevel,
    sidecarBundle,
    clock,
    log,
    setTokens: (table) => handle.setTokens(table),
  });
  running.fleet = fleet;
  handle.onChange(() => {
    void writeCertificates();
    fleet.reconcile(handle.sidecars());
  });
  fleet.reconcile(handle.sidecars());
  await fleet.ready();
  onReady({ ready: true, workloads: fleet.workloads() });
}

async function readyHandle(operator: RunningOperator): Promise<FolderHandle> {
  const deadlineMs = clock.monotonicMs() + OPERATOR_READY_WITHIN_MS;
  while (operator.waitingFor().length > 0) {
    if (clock.monotonicMs() > deadlineMs)
      throw new Error(`the operator still waits for ${operator.waitingFor().join(', ')}`);
    await clock.sleep(LOOK_EVERY_MS);
  }
  if (operator.folder === undefined) throw new Error('the operator does not read a folder');
  return operator.folder;
}

/** Removes what runs that were killed could not remove: it holds keys. Only what is ours, and whose process is gone. */
async function removeAbandonedState(log: Logger): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(new RegExp(`^${STATE_PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (!Number.isInteger(pid) || isAlive(pid)) continue;
    const path = join(tmpdir(), name);
    try {
      if ((await stat(path)).uid === process.getuid?.()) await rm(path, { recursive: true, force: true });
    } catch (error) {
      log.debug({ err: error, path }, 'an abandoned folder could not be removed');
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
