// What every operator does, wherever its worlds come from: compile them, give each sidecar its part, keep statuses true.
import { systemRandom } from '../runtime/random.ts';
import type { Certificates } from './certificates/certificates.ts';
import { compile } from './compile/compile.ts';
import { emptyWorkload } from './compile/workloads.ts';
import type { Session } from './distribute/acknowledgements.ts';
import { createDistributorMetrics } from './distribute/metrics.ts';
import { createDistributor } from './distribute/stream-server.ts';
import { PeerServer } from './peers/peer-server.ts';
import { Peers } from './peers/peers.ts';
import type { Platform, Tools } from './platform.ts';
import { CircuitEvents } from './reconcile/circuit-events.ts';
import { MissedPods } from './reconcile/missed-pods.ts';
import { Reconciler } from './reconcile/reconciler.ts';
import { StatusKeeper } from './reconcile/status-keeper.ts';
import { statusOf } from './status/conditions.ts';

export interface Core {
  /** The other replicas, and what they are told; undefined where there can be none. */
  peers: { own: PeerServer; others: Peers } | undefined;
  distributor: ReturnType<typeof createDistributor>;
  reconciler: Reconciler;
  /** The only part that writes for all replicas: runs in the one that leads. */
  keeper: { start(): void; stop(): Promise<void>; observe(): void };
  /** What the source tells its changes to. */
  listener: { onWorld(): void; onStatus(key: string): void };
}

export function createCore(platform: Platform, trust: Certificates, tools: Tools): Core {
  const { source, events } = platform;
  const { metrics } = tools;
  const peers = createPeers(platform, trust, tools, {
    sessions: () => distributor.sessionsHere(),
    onPeerChange: () => distributor.peersChanged(),
  });
  const distributor: Core['distributor'] = createDistributor({
    clock: tools.clock,
    log: tools.log,
    authenticator: platform.authenticator,
    // The pod's present labels decide, never what the client says.
    workloadOfPod: (pod) => reconciler.workloadOfPod(pod),
    trust,
    metrics: createDistributorMetrics(metrics.registry),
    ...(peers === undefined ? {} : { peers: peers.others }),
  });
  const reconciler: Reconciler = new Reconciler({
    ...tools,
    source,
    compile,
    emptyWorkload,
    publish: (result) => distributor.publish(result),
    onResult: (_result, world) => {
      peers?.others.update(world);
      keeper.changed();
    },
  });
  const keeper = new StatusKeeper({
    ...tools,
    source,
    result: () => reconciler.result,
    isCompiled: (object) => reconciler.isCompiled(object),
    summaries: () => distributor.summaries(),
    statusOf: (object, result, summaries, nowUnixMs) => statusOf(object, result, summaries, timestamp(nowUnixMs)),
    sink: platform.statuses,
    circuits: new CircuitEvents({ ...tools, source, events, circuits: () => distributor.summaries().circuits }),
    missedPods: new MissedPods(events),
  });
  distributor.onChange(() => keeper.changed());
  return {
    peers,
    distributor,
    reconciler,
    keeper,
    listener: { onWorld: () => reconciler.worldChanged(), onStatus: (key) => keeper.statusChanged(key) },
  };
}

function createPeers(
  { peers }: Platform,
  trust: Certificates,
  { clock, log, metrics }: Tools,
  local: { sessions: () => ReadonlyMap<string, Readonly<Session>>; onPeerChange: () => void },
): Core['peers'] {
  if (peers === undefined) return undefined;
  const { authenticator, ...identity } = peers;
  const own = new PeerServer({ authenticator, sessions: local.sessions, clock, log });
  const others = new Peers({
    ...identity,
    trustBundle: () => trust.trustBundle(),
    onLocalChange: () => own.changed(),
    onPeerChange: local.onPeerChange,
    clock,
    random: systemRandom,
    log,
    metrics,
  });
  return { own, others };
}

/** RFC 3339 to the second, as Kubernetes writes times. */
function timestamp(unixMs: number): string {
  return new Date(unixMs).toISOString().replace(/\.\d+Z$/, 'Z');
}
