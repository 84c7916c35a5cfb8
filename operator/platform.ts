// What differs between a cluster and a folder of manifests: where worlds come from, who proves who asks, where certificates, statuses and
// Events go. Everything else of the operator is the same in both.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { systemRandom } from '../runtime/random.ts';
import type { Certificates } from './certificates/certificates.ts';
import type { Lifetimes } from './certificates/decide.ts';
import { createFolderStore } from './certificates/folder-store.ts';
import { createSecretStore } from './certificates/secret-store.ts';
import type { CertificateStore } from './certificates/store.ts';
import { createWebhookBundle } from './certificates/webhook-bundle.ts';
import { type ClusterConfig, type FolderConfig, injectionDefaults, type OperatorConfig } from './config.ts';
import { type Authenticator, createTokenReviewer, PEER_AUDIENCE } from './distribute/authenticate.ts';
import { createStaticAuthenticator, type TokenTable } from './distribute/static-tokens.ts';
import { ELECTION_TIMES, type ElectionTimes } from './elect/election.ts';
import { ALWAYS_LEADING, Elector, type Leadership } from './elect/elector.ts';
import { fencedApi } from './elect/fenced-api.ts';
import { createLeaseStore } from './elect/lease-store.ts';
import { Declarations } from './inject/declared.ts';
import { createInjectionMetrics, registerInjector } from './inject/webhook.ts';
import type { OperatorMetrics } from './metrics.ts';
import { EventRecorder, type EventSink } from './reconcile/events.ts';
import { reportInjection } from './reconcile/injection-events.ts';
import { StatusLog } from './status/log.ts';
import { type StatusSink, StatusWriter } from './status/writer.ts';
import { OPERATOR_VERSION } from './version.ts';
import { ApiClient } from './watch/api-client.ts';
import { ClusterSource } from './watch/cluster.ts';
import { type FolderSidecar, FolderSource } from './watch/folder.ts';
import { DEFAULT_TIMINGS, type ReflectorTimings } from './watch/reflector.ts';
import type { WorldSource } from './watch/world-source.ts';

type HttpsInstance = Parameters<typeof registerInjector>[0];

export interface Webhook {
  register(server: HttpsInstance): void;
  start(): void;
  stop(): void;
  /** For people; empty: pods can be injected. */
  waitingFor(): readonly string[];
}

/** How standalone mode steers its operator. */
export interface FolderHandle {
  /** One for each Pod of the folder, and for each ServiceDependency that selects none there. */
  sidecars(): readonly FolderSidecar[];
  /** Called after every change of the folder's content. The returned function removes the listener. */
  onChange(listener: () => void): () => void;
  /** What Secrets and ConfigMaps of the folder hold for TLS to hosts, by "<namespace>/<path>". */
  certificates(): ReadonlyMap<string, string>;
  /** Files whose last version is not in force, and why. */
  problems(): readonly string[];
  /** Which token belongs to which sidecar; replaces all before. */
  setTokens(table: TokenTable): void;
  /** The status of an object of ours, "ServiceDependency/shop/checkout"; undefined before it was first computed. */
  status(key: string): object | undefined;
}

export interface Platform {
  source: WorldSource;
  leadership: Leadership;
  /** Undefined where there can be one operator only. */
  elector: Elector | undefined;
  authenticator: Authenticator;
  /** How replicas find and know each other; undefined where there can be one operator only. */
  peers: PeerPlatform | undefined;
  certificates: { store: CertificateStore; names: readonly string[]; lifetimes?: Lifetimes };
  statuses: StatusSink;
  events: EventSink;
  createWebhook(certificates: Certificates): Webhook;
  /** As in Timings; 0 where no Service leads callers here. */
  drainMs: number;
  folder: FolderHandle | undefined;
  close(): Promise<void>;
}

export interface PeerPlatform {
  authenticator: Authenticator;
  /** Name of this pod. */
  self: string;
  service: { namespace: string; name: string };
  serverName: string;
  tokenFile: string;
}

/** How long is waited for the API server, for the other replicas, and for callers that have not heard of the end. */
export interface Timings {
  election: ElectionTimes;
  reflector: ReflectorTimings;
  /** Milliseconds for which the webhook and the streams still answer a caller once the operator was told to stop. */
  drainMs: number;
}

/** A kube-proxy follows the endpoints within a second or two, a busy one later. */
export const TIMINGS: Timings = { election: ELECTION_TIMES, reflector: DEFAULT_TIMINGS, drainMs: 5_000 };

export interface Tools {
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
}

export async function createPlatform(config: OperatorConfig, tools: Tools, timings: Timings): Promise<Platform> {
  return config.source.kind === 'cluster'
    ? await clusterPlatform(config, config.source, tools, timings)
    : folderPlatform(config, config.source, tools);
}

async function clusterPlatform(
  config: OperatorConfig,
  cluster: ClusterConfig,
  tools: Tools,
  timings: Timings,
): Promise<Platform> {
  // Here, so that a folder does not load it.
  const { loadKubeConfig } = await import('./watch/kube-config.ts');
  const { clock, log, metrics } = tools;
  const { namespace, serviceName } = cluster;
  const random = systemRandom;
  const api: ApiClient = new ApiClient({
    kubeConfig: loadKubeConfig(cluster.kubeconfig),
    clock,
    random,
    onRequest: (method, code) => metrics.restClientRequests.inc({ code, method, host: api.host }),
  });
  const injection = { capture: cluster.sidecar.capture, podSecurityDefault: cluster.podSecurityDefault };
  const { clusterDomain } = config;
  const source = new ClusterSource({
    api,
    clusterDomain,
    systemNamespace: namespace,
    injection,
    random,
    timings: timings.reflector,
    ...tools,
  });
  const elector = createElector(api, cluster, tools, timings.election);
  /** For what only the replica that leads writes. */
  const leaderApi = fencedApi(api, elector);
  const recorder = { instance: cluster.podName, clock, log, metrics };
  const events = new EventRecorder({ ...recorder, api: leaderApi });
  // Whoever answers the webhook tells what it decided.
  const injectionEvents = new EventRecorder({ ...recorder, api });
  const host = `${serviceName}.${namespace}.svc`;
  return {
    source,
    leadership: elector,
    elector,
    authenticator: createTokenReviewer({ api, clock }),
    peers: {
      authenticator: createTokenReviewer({
        api,
        clock,
        accepted: { audience: PEER_AUDIENCE, account: { namespace, name: cluster.serviceAccount } },
      }),
      self: cluster.podName,
      service: { namespace, name: serviceName },
      serverName: host,
      tokenFile: cluster.peerTokenFile,
    },
    certificates: {
      store: createSecretStore({ api: leaderApi, namespace, name: cluster.certificateSecret }),
      lifetimes: cluster.lifetimes,
      names: [host, `${serviceName}.${namespace}`, `${host}.${config.clusterDomain}`],
    },
    statuses: new StatusWriter(leaderApi, metrics),
    events,
    createWebhook(certificates) {
      const { sidecar } = cluster;
      const bundle = createWebhookBundle({
        api: leaderApi,
        name: cluster.webhookConfiguration,
        certificates,
        leadership: elector,
        clock,
        log,
      });
      const declarations = new Declarations(source);
      const injector = {
        clock,
        log,
        namespaceOf: (name: string) => source.namespace(name),
        declared: (namespace: string, labels: Readonly<Record<string, string>>) => declarations.of(namespace, labels),
        clusterDomain: config.clusterDomain,
        caBundle: () => certificates.trustBundle(),
        operatorUrl: `https://${host}:${cluster.servicePort}`,
        version: OPERATOR_VERSION,
        defaults: injectionDefaults(sidecar),
        imagePullPolicy: sidecar.imagePullPolicy,
        podSecurityDefault: cluster.podSecurityDefault,
        report: reportInjection(injectionEvents),
        metrics: createInjectionMetrics(metrics.registry),
      };
      return {
        register: (server) => registerInjector(server, injector),
        start: () => bundle.start(),
        stop: () => bundle.stop(),
        waitingFor: () => (bundle.live() ? [] : [`the webhook's caBundle (${bundle.problem()})`]),
      };
    },
    drainMs: timings.drainMs,
    folder: undefined,
    async close() {
      await Promise.all([events.stop(), injectionEvents.stop()]);
      await api.close();
    },
  };
}

function createElector(
  api: ApiClient,
  { namespace, lease, podName }: ClusterConfig,
  tools: Tools,
  times: ElectionTimes,
): Elector {
  return new Elector({
    // Several tries fit into the time in which the lead must be renewed.
    store: createLeaseStore({ api, namespace, name: lease, timeoutMs: times.renewWithinMs / 3 }),
    leaseName: lease,
    // The name alone would be that of the process before as well, where only the container was restarted.
    identity: `${podName}_${randomUUID()}`,
    times,
    random: systemRandom,
    ...tools,
  });
}

function folderPlatform(
  config: OperatorConfig,
  { folder, stateFolder }: FolderConfig,
  { clock, log }: Tools,
): Platform {
  const statuses = new StatusLog(log);
  const source = new FolderSource({ folder, clusterDomain: config.clusterDomain, statuses, clock, log });
  const authenticator = createStaticAuthenticator([]);
  return {
    source,
    leadership: ALWAYS_LEADING,
    elector: undefined,
    authenticator,
    peers: undefined,
    certificates: { store: createFolderStore(stateFolder), names: ['localhost', '127.0.0.1'] },
    statuses,
    events: {
      record: ({ regarding, type, reason, note }) => {
        const fields = { object: `${regarding.kind}/${regarding.namespace}/${regarding.name}`, reason, note };
        if (type === 'Warning') log.warn(fields, 'event');
        else log.info(fields, 'event');
      },
    },
    // Nothing is injected: whoever runs the folder starts the sidecars.
    createWebhook: () => ({
      register: () => undefined,
      start: () => undefined,
      stop: () => undefined,
      waitingFor: () => [],
    }),
    drainMs: 0,
    folder: {
      sidecars: () => source.sidecars(),
      onChange: (listener) => source.onChange(listener),
      certificates: () => source.certificates(),
      problems: () => source.problems(),
      setTokens: (table) => authenticator.replace(table),
      status: (key) => statuses.get(key),
    },
    close: () => Promise.resolve(),
  };
}
