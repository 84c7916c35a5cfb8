// The composition root: everything that runs in an operator, in the order in which it starts; it stops in reverse.
import { systemClock as clock } from '../runtime/clock.ts';
import { EnvironmentError } from '../runtime/environment.ts';
import { Lifecycle } from '../runtime/lifecycle.ts';
import { createLogger, type Logger } from '../runtime/log.ts';
import { AdminServer } from './admin-server.ts';
import { createCertificates } from './certificates/certificates.ts';
import { type OperatorConfig, readOperatorConfig } from './config.ts';
import { createCore } from './core.ts';
import { Duties } from './elect/duties.ts';
import { HttpsServer } from './https-server.ts';
import { createOperatorMetrics } from './metrics.ts';
import { createPlatform, type FolderHandle, TIMINGS } from './platform.ts';

export interface RunningOperator {
  /** Where it listens. */
  httpsPort: number;
  adminPort: number;
  /** PEM: the authorities that sidecars must trust. */
  trustBundle(): string;
  /** What readiness waits for, for people; empty: ready. */
  waitingFor(): readonly string[];
  /** Standalone: which sidecars the folder asks for, and their tokens. Undefined in a cluster. */
  folder: FolderHandle | undefined;
  /** Resolves when another replica has taken the lead from this one: nothing is written any more, and the process is to end. */
  leadLost: Promise<void>;
  /** Resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}

/** Resolves when everything was started, which is before it is ready. Aborting the signal ends a start that takes too long: it rejects. */
export async function startOperator(
  config: OperatorConfig,
  signal?: AbortSignal,
  log: Logger = createLogger('operator', config.logLevel),
  timings = TIMINGS,
): Promise<RunningOperator> {
  const tools = { clock, log, metrics: createOperatorMetrics() };
  const platform = await createPlatform(config, tools, timings);
  // What comes while it loads has nobody yet to hear it.
  signal?.throwIfAborted();
  const { source, leadership, elector } = platform;
  const certificates = createCertificates({ ...platform.certificates, leadership, clock, log });
  const webhook = platform.createWebhook(certificates);
  const { distributor, reconciler, keeper, peers, listener } = createCore(platform, certificates, tools);

  let isStopping = false;
  const waitingFor = () => {
    if (isStopping) return ['the end: it is stopping'];
    const compilation = source.hasSynced && reconciler.result === undefined ? ['the first compilation'] : [];
    return [...source.waitingFor(), ...compilation, ...webhook.waitingFor()];
  };
  const admin = new AdminServer({
    listen: config.admin,
    waitingFor,
    registry: tools.metrics.registry,
    beforeScrape: () => [source, reconciler, keeper, peers?.others].forEach((part) => part?.observe()),
  });
  const https = new HttpsServer({
    listen: config.https,
    certificates,
    register: (server) => {
      distributor.register(server);
      webhook.register(server);
      peers?.own.register(server);
    },
    closeStreams: () => {
      distributor.close();
      // Afterwards, so that the others hear that no stream is open here any more.
      peers?.own.close();
    },
    clock,
    drainMs: platform.drainMs,
  });

  const duties = new Duties(leadership, keeper);
  const leadLost = new Promise<void>((resolve) => {
    leadership.onChange(() => {
      if (leadership.role !== 'Lost') return;
      // A start that waits for the lead waits in vain.
      certificates.stop();
      resolve();
    });
  });

  const lifecycle = new Lifecycle(log);
  const stop = async () => {
    isStopping = true;
    await lifecycle.stop();
  };
  // The only part whose start may take for ever; the others follow it out.
  signal?.addEventListener('abort', () => certificates.stop(), { once: true });
  await lifecycle.start([
    // First, for the kubelet asks from the first second.
    admin,
    // Connections to the API server are closed after all that use them.
    { name: 'platform', start: () => undefined, stop: () => platform.close() },
    // Before the certificates, which the replica that leads makes.
    // It ends with the part `lead`, or here where the start did not come so far.
    { name: 'election', start: () => elector?.start(), stop: () => elector?.stop() },
    // Caches fill while certificates are made; streams answer "not synced" until there is a first result.
    { name: 'source', start: () => source.start(listener), stop: () => source.stop() },
    { name: 'reconciler', start: () => reconciler.start(), stop: () => reconciler.stop() },
    { name: 'certificates', start: () => certificates.start(), stop: () => certificates.stop() },
    https,
    { name: 'peers', start: () => peers?.others.start(), stop: () => peers?.others.stop() },
    // Only now that somebody answers may the API server be told to trust us.
    { name: 'webhook', start: () => webhook.start(), stop: () => webhook.stop() },
    // The lead goes to another replica as soon as nothing is written any more, long before the last stream has ended.
    { name: 'lead', start: () => undefined, stop: () => elector?.stop() },
    // Last, so that it is the first to end: nothing is written about a world that is being taken down.
    duties,
  ]);
  const { port: httpsPort } = https;
  const { port: adminPort } = admin;
  log.info({ httpsPort, adminPort, source: config.source.kind }, 'the operator runs');
  const { folder } = platform;
  return { httpsPort, adminPort, trustBundle: () => certificates.trustBundle(), waitingFor, folder, leadLost, stop };
}

/** Parts that do not end within this time are left behind: whatever they hold, it is not worth a kill by the kubelet. */
const STOP_TIMEOUT_MS = TIMINGS.drainMs + 10_000;

class LeadLostError extends Error {
  override name = 'LeadLostError';
}

/** Entry of the image: reads the environment and runs until SIGTERM or SIGINT. */
async function main(): Promise<void> {
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()));
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort(new Error(name)));
  try {
    const operator = await startOperator(readOperatorConfig(), stopping.signal);
    const isLost = await Promise.race([stopped.then(() => false), operator.leadLost.then(() => true)]);
    await Promise.race([operator.stop(), clock.sleep(STOP_TIMEOUT_MS)]);
    if (isLost) throw new LeadLostError('another replica took the lead; this one begins anew as a follower');
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
  }
}

if (import.meta.main) {
  const code = await main().then(
    () => 0,
    (error: unknown) => {
      const known = error instanceof EnvironmentError || error instanceof LeadLostError;
      createLogger('operator', 'info').fatal(
        known ? { problem: error.message } : { err: error },
        error instanceof LeadLostError ? 'the operator ends' : 'the operator cannot run',
      );
      return 1;
    },
  );
  process.exit(code);
}
