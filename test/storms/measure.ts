// Runs one outage under one protection, in virtual time, and counts second by second.
import { compile } from '../../operator/compile/compile.ts';
import {
  endpointSlice,
  type Manifest,
  pod,
  policy,
  service,
  serviceDependency,
  TARGETS,
} from '../../operator/compile/testing.ts';
import { addObject, buildWorld, createWorldBuilder } from '../../operator/compile/world-builder.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createSidecarMetrics } from '../../sidecar/metrics/sidecar-metrics.ts';
import { createDataPlane } from '../../sidecar/proxy/data-plane.ts';
import { Dice } from '../simulation/dice.ts';
import { Host } from '../simulation/host.ts';
import { SimulatedNetwork } from '../simulation/network.ts';
import type { Answer } from '../simulation/pod.ts';
import { SimulatedServer } from '../simulation/server.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';
import type { Result } from './http-client.ts';
import type { Outage } from './outages.ts';
import { type CallerOptions, ClientLibrary, EnvoyModel, OurSidecar, type Pod, type Protection } from './protections.ts';

export const PROTECTIONS = ['library', 'envoy', 'breakwater'] as const;
export type ProtectionName = (typeof PROTECTIONS)[number];

/** What acts in the sidecars of ours: the blocks with their defaults, and a circuit that looks again after five seconds. */
export const POLICY = {
  timeouts: { request: '800ms' },
  retries: {},
  circuitBreaker: { openFor: '5s' },
  outlierDetection: {},
  bulkhead: {},
};

export interface Second {
  answered: number;
  failed: number;
  refused: number;
  /** Requests that reached a pod. */
  reached: number;
  /** Requests of applications that wait for an answer, at the end of the second. */
  waiting: number;
}

const SEED = 1;
/** What a pod lets wait before it answers 503; a request behind so many has no hope, and the pod does not know it. */
const POD_QUEUE = 1_000;
const CLUSTER_IP = '10.96.0.1';
const OUTBOUND_PORT = 15_001;

const ANSWER: Answer = {
  workMs: 0,
  status: 200,
  fields: '',
  bodyBytes: 100,
  framing: 'Length',
  pieceMs: 0,
  nonsense: null,
  resetAfterBytes: Number.POSITIVE_INFINITY,
  early: false,
  closeAfter: false,
};

export async function measure(outage: Outage, name: ProtectionName): Promise<Second[]> {
  const time = new VirtualTime();
  const network = new SimulatedNetwork(time, new Dice(SEED, 'network'));
  const seconds: Second[] = [];
  const second = (): Second => {
    const index = Math.floor(time.nowMs / 1_000);
    while (seconds.length <= index) seconds.push({ answered: 0, failed: 0, refused: 0, reached: 0, waiting: 0 });
    return seconds[index] as Second;
  };
  const pods = Array.from({ length: outage.pods }, (_, index) =>
    startPod(outage, index, time, network, () => {
      second().reached += 1;
    }),
  );
  let waiting = 0;
  for (let index = 0; index < outage.callers; index += 1) {
    const dice = new Dice(SEED, `caller ${index}`);
    const host = new Host(`caller-${index}`, time, 0);
    const protection = await protect(name, { network, host, random: new Dice(SEED, `${name} ${index}`).random, pods });
    const everyMs = (outage.callers * 1_000) / outage.requestsPerSecond;
    const call = () => {
      if (time.nowMs >= outage.durationMs) return;
      waiting += 1;
      protection.call((result) => {
        waiting -= 1;
        count(second(), result);
      });
      time.after(-Math.log(1 - dice.random()) * everyMs, call);
    };
    time.after(dice.random() * everyMs, call);
  }
  for (let atMs = 1_000; atMs <= outage.durationMs; atMs += 1_000) {
    await time.settleUntil(atMs - 1e-6);
    second().waiting = waiting;
  }
  return seconds;
}

function count(second: Second, result: Result): void {
  if (result === 'answered') second.answered += 1;
  else if (result === 'refused') second.refused += 1;
  else second.failed += 1;
}

function startPod(
  outage: Outage,
  index: number,
  time: VirtualTime,
  network: SimulatedNetwork,
  onRequest: () => void,
): Pod {
  const dice = new Dice(SEED, `pod ${index}`);
  const host = new Host(`payments-${index}`, time, 0);
  const state = () => outage.state(index, time.nowMs);
  const server = new SimulatedServer(
    host,
    `10.1.0.${index + 1}`,
    9_000,
    {
      fate: () => (state().refusing ? 'Refused' : 'Accepted'),
      answer: () => {
        if (dice.chance(state().failing)) return { ...ANSWER, status: 500, workMs: 1 };
        return { ...ANSWER, workMs: () => -Math.log(1 - dice.random()) * state().workMs };
      },
      keepAliveMs: Number.POSITIVE_INFINITY,
    },
    { onRequest, onContent: () => {} },
  );
  server.workers = state().workers;
  server.maxQueued = POD_QUEUE;
  server.start(network);
  return { address: server.address, port: server.port };
}

async function protect(name: ProtectionName, options: CallerOptions): Promise<Protection> {
  switch (name) {
    case 'library':
      return new ClientLibrary(options);
    case 'envoy':
      return new EnvoyModel(options);
    case 'breakwater':
      break;
  }
  return startSidecar(options);
}

async function startSidecar({ network, host, random, pods }: CallerOptions): Promise<Protection> {
  const sidecar = new Host(`sidecar of ${host.name}`, host.time, 0);
  const dataPlane = createDataPlane({
    capture: 'iptables',
    bootstrap: null,
    outboundPort: OUTBOUND_PORT,
    bindHost: '127.0.0.1',
    originalDestination: (fd) => network.originalOf(fd),
    names: {
      watch: () => {},
      addresses: () => null,
      find: () => Promise.resolve([]),
      onChange: () => {},
      view: () => [],
    },
    network: network.of(sidecar, () => {}),
    clock: sidecar,
    random,
    log: silentLogger,
    metrics: createSidecarMetrics(),
  });
  const { workloads, endpointSets } = compile(buildWorld(manifests(pods), 'cluster.local'));
  const [workload] = workloads;
  if (workload === undefined) throw new Error('the manifests of a storm make no plan');
  dataPlane.applyPlan(workload.plan);
  dataPlane.applyEndpointsSnapshot([...endpointSets.values()], false);
  dataPlane.setEndpointsStreamUp(true);
  await dataPlane.listen();
  const original = { address: CLUSTER_IP, port: 8080 };
  return new OurSidecar(host, () => network.connect(host, `${sidecar.name} 127.0.0.1`, OUTBOUND_PORT, null, original));
}

function manifests(pods: readonly Pod[]) {
  const builder = createWorldBuilder();
  const slice = endpointSlice(
    'payments-1',
    'payments',
    pods.map(({ address }) => address),
  );
  const objects: Manifest[] = [
    service('payments', { spec: { clusterIP: CLUSTER_IP, clusterIPs: [CLUSTER_IP] } }),
    slice,
    pod('caller'),
    serviceDependency('checkout'),
    policy('payments', [TARGETS.dependency('checkout', 'payments')], POLICY),
  ];
  for (const object of objects) addObject(builder, object);
  return builder;
}
