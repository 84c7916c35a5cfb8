// The composition root: everything that runs in an operator, in the order in which it starts; it stops in reverse.
import { systemClock as clock } from '../runtime/clock.ts';
import { Lifecycle } from '../runtime/lifecycle.ts';
import { createLogger, type Logger } from '../runtime/log.ts';
import { AdminServer } from './admin-server.ts';
import { createCertificates } from './certificates/certificates.ts';
import { compile } from './compile/compile.ts';
import { emptyWorkload } from './compile/workloads.ts';
import { type OperatorConfig, readOperatorConfig } from './config.ts';
import { createDistributorMetrics } from './distribute/metrics.ts';
import { createDistributor } from './distribute/stream-server.ts';
import { HttpsServer } from './https-server.ts';
import { createOperatorMetrics } from './metrics.ts';
import { createPlatform, type FolderHandle } from './platform.ts';
import { CircuitEvents } from './reconcile/circuit-events.ts';
import { MissedPods } from './reconcile/missed-pods.ts';
import { Reconciler } from './reconcile/reconciler.ts';
import { StatusKeeper } from './reconcile/status-keeper.ts';
import { statusOf } from './status/conditions.ts';

export interface RunningOperator {
  /** Where it listens. */
  httpsPort: number;
  adminPort: number;
  /** PEM: the authorities that sidecars must trust. */
  trustBundle(): string;
  /** What readiness waits for; empty: ready. */
  waitingFor(): readonly string[];
  /** Standalone: which sidecars the folder asks for, and their tokens. Undefined in a cluster. */
  folder: FolderHandle | undefined;
  stop(): Promise<void>;
}

/** Resolves when everything was started, which is before it is ready. Aborting the signal stops it, also while it starts. */
export async function startOperator(
  config: OperatorConfig,
  signal?: AbortSignal,
  log: Logger = createLogger('operator', config.logLevel),
): Promise<RunningOperator> {
  const lifecycle = new Lifecycle(log);
  const metrics = createOperatorMetrics();
  const platform = createPlatform(config, { clock, log, metrics });
  const { source, events } = platform;
  const certificates = createCertificates({ ...platform.certificates, clock, log });
  const webhook = platform.createWebhook(certificates);

  const distributor = createDistributor({
    clock,
    log,
    authenticator: platform.authenticator,
    // The pod's present labels decide, never what the client says.
    workloadOfPod: (pod) => reconciler.workloadOfPod(pod),
    trust: certificates,
    metrics: createDistributorMetrics(metrics.registry),
  });
  const reconciler: Reconciler = new Reconciler({
    source,
    compile,
    publish: (result) => distributor.publish(result),
    emptyWorkload,
    onResult: () => keeper.changed(),
    clock,
    log,
    metrics,
  });
  const keeper = new StatusKeeper({
    source,
    result: () => reconciler.result,
    summaries: () => distributor.summaries(),
    statusOf: (object, result, summaries, nowUnixMs) => statusOf(object, result, summaries, timestamp(nowUnixMs)),
    sink: platform.statuses,
    circuits: new CircuitEvents(source, () => distributor.summaries().circuits, events),
    missedPods: new MissedPods(events),
    clock,
    log,
    metrics,
  });
  const waitingFor = () => {
    const notCompiled = source.hasSynced && reconciler.result === undefined ? ['the first compilation'] : [];
    return [...source.waitingFor(), ...notCompiled, ...webhook.waitingFor()];
  };
  const admin = new AdminServer({
    listen: config.admin,
    waitingFor,
    registry: metrics.registry,
    beforeScrape: () => [reconciler, keeper].forEach((one) => one.observe()),
  });
  const https = new HttpsServer({
    listen: config.https,
    certificates,
    register: (server) => {
      distributor.register(server);
      webhook.register(server);
    },
    closeStreams: () => distributor.close(),
    clock,
  });

  const listener = { onWorld: () => reconciler.worldChanged(), onStatus: (key: string) => keeper.statusChanged(key) };
  distributor.onChange(() => keeper.changed());
  const stop = async () => {
    // Ends a start that still waits for certificates; everything else stops by itself in order.
    certificates.stop();
    await lifecycle.stop();
  };
  signal?.addEventListener('abort', () => void stop(), { once: true });
  await lifecycle.start([
    // First, for the kubelet asks from the first second.
    admin,
    // Connections to the API server are closed last of all that use them.
    { name: 'platform', start: () => undefined, stop: () => platform.close() },
    // Caches fill while certificates are made; streams answer "not synced" until both are there.
    { name: 'source', start: () => source.start(listener), stop: () => source.stop() },
    { name: 'reconciler', start: () => reconciler.start(), stop: () => reconciler.stop() },
    { name: 'certificates', start: () => certificates.start(), stop: () => certificates.stop() },
    https,
    // Only now that somebody answers may the API server be told to trust us.
    { name: 'webhook', start: () => webhook.start(), stop: () => webhook.stop() },
    // The only part that writes for all replicas: an election would start and stop it.
    { name: 'status keeper', start: () => keeper.start(), stop: () => keeper.stop() },
  ]);
  log.info({ httpsPort: https.port, adminPort: admin.port, source: config.source.kind }, 'the operator runs');
  return {
    httpsPort: https.port,
    adminPort: admin.port,
    trustBundle: () => certificates.trustBundle(),
    waitingFor,
    folder: platform.folder,
    stop,
  };
}

/** RFC 3339 to the second, as Kubernetes writes times. */
function timestamp(unixMs: number): string {
  return new Date(unixMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Entry of the image: reads the environment, runs until SIGTERM or SIGINT. */
async function main(): Promise<void> {
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort(new Error(name)));
  const config = readOperatorConfig();
  await startOperator(config, stopping.signal);
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    createLogger('operator', 'info').fatal({ err: error }, 'the operator did not start');
    process.exitCode = 1;
  });
}
