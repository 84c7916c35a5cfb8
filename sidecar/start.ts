// The composition root of the running sidecar: builds the parts, wires them, starts them in order. Nothing is decided here.
import { systemClock as clock } from '../runtime/clock.ts';
import { Lifecycle } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/log.ts';
import { systemRandom as random } from '../runtime/random.ts';
import { startAdminServer } from './admin/admin-server.ts';
import { ReadinessGate } from './admin/readiness.ts';
import { serverPart } from './admin/server.ts';
import { BypassWatch, readKernelTables } from './bypass/bypass-watch.ts';
import { loadOriginalDestination } from './capture/original-destination.ts';
import type { SidecarConfig } from './config.ts';
import { Announcer, announceToParent } from './control/announcer.ts';
import { startControlServer } from './control/control-server.ts';
import { KillSwitch } from './control/kill-switch.ts';
import { portsOf, readListening, writeListening } from './control/listening-file.ts';
import { drainDataPlane } from './control/shutdown.ts';
import { statusLines } from './control/status.ts';
import type { DataPlane } from './data-plane.ts';
import { startPages } from './memory/start-pages.ts';
import { createSidecarMetrics } from './metrics/sidecar-metrics.ts';
import { createMemoryReader } from './overload/cgroup-memory.ts';
import { createLoopReader } from './overload/load-sampler.ts';
import { maxConnections } from './overload/open-files.ts';
import type { DataPlaneOptions } from './proxy/data-plane.ts';
import { createDnsQuery } from './resolve/dns-query.ts';
import { createLookup } from './resolve/lookup.ts';
import { NameDirectory } from './resolve/name-directory.ts';
import { createSubscribeMetrics } from './subscribe/metrics.ts';
import { Subscriber } from './subscribe/subscriber.ts';
import { CertificateFiles } from './tls/certificate-files.ts';

export interface RunningSidecar {
  dataPlane: DataPlane;
  adminPort: number;
  controlPort: number;
  /** Requests in progress go on, up to the configured bound or until the signal; false when some were left. */
  drain(signal: AbortSignal): Promise<boolean>;
  stop(): Promise<void>;
}

/** Starts everything and resolves when it serves; what could not start is thrown, and then nothing is left running. */
export async function startSidecar(
  config: SidecarConfig,
  log: Logger,
  parts: { createDataPlane(options: DataPlaneOptions): DataPlane },
): Promise<RunningSidecar> {
  const { capture, bootstrap, outboundPort, stateDirectory } = config;
  const metrics = createSidecarMetrics();
  const ours = createSubscribeMetrics(metrics.registry, () => clock.monotonicMs());
  const originalDestination = capture === 'iptables' ? await loadOriginalDestination() : null;
  const shared = { clock, random, log };
  const standalone = capture === 'explicit' && bootstrap === null;
  const before = standalone ? await readListening(stateDirectory) : null;
  const portBefore = (dependency: string) => before?.dependencies[dependency];
  const query = createDnsQuery({ servers: config.dnsServers, podIp: config.podIp, clock, log });
  const countResolution = (result: string) => metrics.countDnsResolution(result);
  const names = new NameDirectory({ ...shared, query, countResolution });
  const { podIp } = config;
  const listen = { capture, podIp, bootstrap, outboundPort, bindHost: '127.0.0.1', originalDestination, portBefore };
  const load = { readMemory: createMemoryReader(), readLoop: createLoopReader() };
  const certificates = new CertificateFiles({ directory: config.certificatesDirectory, clock });
  const dataPlane = parts.createDataPlane({
    ...listen,
    ...shared,
    names,
    certificates,
    tlsHosts: config.tlsHosts,
    metrics,
    load,
    maxConnections: maxConnections(),
  });
  const killSwitch = new KillSwitch(stateDirectory, log, (disabled) => {
    dataPlane.setLocallyDisabled(disabled);
    ours.setLocallyDisabled(disabled);
    subscriber.localSwitchChanged();
  });
  const subscriber: Subscriber = new Subscriber({
    ...config,
    ...shared,
    dataPlane,
    lookup: createLookup(query),
    metrics: ours,
    locallyDisabled: () => killSwitch.isDisabled,
    onPlanApplied: () => announcer.look(),
  });
  const gate = new ReadinessGate(clock, log, () => subscriber.status().planVersion);
  const ports = { admin: 0, control: 0 };
  let announced: Promise<void> = Promise.resolve();
  const announcer = new Announcer({
    admin: () => (standalone && ports.admin !== 0 && gate.judge().ready ? `http://127.0.0.1:${ports.admin}` : null),
    addresses: () => dataPlane.addresses(),
    expected: () => subscriber.plan?.dependencies.length ?? 0,
    // What is told holds over a restart, so it is written down first.
    announce(message) {
      announced = announced
        .then(() => (stateDirectory === null ? undefined : writeListening(stateDirectory, portsOf(message))))
        .catch((error: unknown) => log.error({ err: error }, 'after a restart the sidecar will listen elsewhere'))
        .then(() => announceToParent(message));
    },
    clock,
  });
  const facts = () => ({
    ...subscriber.status(),
    ...gate.judge(),
    locallyDisabled: killSwitch.isDisabled,
    circuits: dataPlane.circuits(),
    choices: dataPlane.choices(),
    adaptiveLimits: dataPlane.adaptiveLimits(),
    load: dataPlane.load(),
    tls: dataPlane.tls(),
    capture: dataPlane.capture(),
    bypassed: Object.fromEntries(bypass.counts()),
  });
  const onWaitOver = () => {
    ours.setFirstPlanWaitOver();
    announcer.look();
  };

  const bypass = new BypassWatch({
    dependencies: () => subscriber.plan?.dependencies ?? null,
    readTables: readKernelTables,
    ownUid: process.getuid?.() ?? -1,
    countBypassed: (dependency, by) => metrics.countBypassed(dependency, by),
    clock,
    log,
  });

  const { registry } = metrics;
  const startAdmin = (port: number) =>
    startAdminServer({ host: config.adminHost, port, readiness: () => gate.judge(), registry, clock, log });

  const lifecycle = new Lifecycle(log);
  await lifecycle.start([
    // What was in force before a restart is in force again before the first connection is accepted.
    { name: 'last known good', start: () => killSwitch.restore().then(() => subscriber.restore()), stop: () => {} },
    { name: 'data path', start: () => dataPlane.listen(), stop: () => dataPlane.close() },
    { name: 'readiness', start: () => gate.listening(config.firstPlanWaitMs, onWaitOver), stop: () => gate.close() },
    startPages(clock, log),
    serverPart('admin server', ports, 'admin', () =>
      config.adminPort === 0 && before
        ? startAdmin(before.admin).catch(() => startAdmin(0))
        : startAdmin(config.adminPort),
    ),
    serverPart('control server', ports, 'control', () =>
      startControlServer({
        port: config.controlPort,
        stateDirectory,
        status: () => statusLines(facts(), clock.unixMs()),
        plan: () => ({ ...facts(), plan: subscriber.plan }),
        isDisabled: () => killSwitch.isDisabled,
        setDisabled: (disabled) => killSwitch.set(disabled),
        clock,
        log,
      }),
    ),
    // After whatever answers: what it loads and begins takes a fifth of the start, and nobody has to wait for it.
    { name: 'subscription', start: () => subscriber.start(), stop: () => subscriber.stop() },
    { name: 'certificates', start: () => certificates.start(), stop: () => certificates.close() },
    {
      name: 'names',
      start: () => {},
      stop: () => names.close(),
    },
    {
      name: 'bypass watch',
      start: () => (bootstrap === null ? undefined : bypass.start()),
      stop: () => bypass.stop(),
    },
    {
      name: 'announcer',
      start: () => announcer.look(),
      stop() {
        announcer.close();
        return announced;
      },
    },
  ]);
  return {
    dataPlane,
    adminPort: ports.admin,
    controlPort: ports.control,
    drain(signal) {
      gate.draining();
      return drainDataPlane(dataPlane, config.drainTimeoutMs, clock, signal);
    },
    stop: () => lifecycle.stop(),
  };
}
