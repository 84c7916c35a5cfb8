// A real sidecar: its data path, its subscription and its reports, on a simulated network and with a simulated way to the operator.
import { silentLogger } from '../../runtime/log.ts';
import { SIDECAR_METRICS } from '../../sidecar/metrics/definitions.ts';
import { createSidecarMetrics, type SidecarMetrics } from '../../sidecar/metrics/sidecar-metrics.ts';
import type { DataPlaneOptions } from '../../sidecar/proxy/data-plane.ts';
import { createSubscribeMetrics } from '../../sidecar/subscribe/metrics.ts';
import type { OperatorConnection } from '../../sidecar/subscribe/operator-client.ts';
import { Subscriber } from '../../sidecar/subscribe/subscriber.ts';
import { type Shadows, SimulatedDataPlane } from './data-plane.ts';
import type { Dice } from './dice.ts';
import { Host } from './host.ts';
import type { SimulatedNetwork } from './network.ts';
import type { SimulatedSocket } from './socket.ts';
import type { VirtualTime } from './virtual-time.ts';

const OUTBOUND_PORT = 15_001;
const NO_NAMES = {
  watch: () => {},
  addresses: () => null,
  find: () => Promise.resolve([]),
  onChange: () => {},
  view: () => [],
};

export interface SidecarOptions {
  pod: string;
  time: VirtualTime;
  network: SimulatedNetwork;
  dice: Dice;
  shadows: Shadows;
  /** Makes the way to the operator from this process. */
  operator(host: Host): OperatorConnection;
  /** A connection to a server is about to be made. */
  onConnect(socket: SimulatedSocket): void;
}

export class SimulatedSidecar {
  readonly host: Host;
  readonly pod: string;
  readonly metrics: SidecarMetrics;
  readonly dataPlane: SimulatedDataPlane;
  readonly subscriber: Subscriber;
  readonly #options: SidecarOptions;

  constructor(options: SidecarOptions) {
    const { pod, time, dice, network } = options;
    this.#options = options;
    this.pod = pod;
    this.host = new Host(`sidecar of ${pod}`, time, dice.between(0, 1_000_000));
    this.metrics = createSidecarMetrics();
    const shared = { clock: this.host, random: dice.random, log: silentLogger };
    const path: DataPlaneOptions = {
      ...shared,
      capture: 'iptables',
      bootstrap: null,
      outboundPort: OUTBOUND_PORT,
      bindHost: '127.0.0.1',
      originalDestination: (fd) => network.originalOf(fd),
      names: NO_NAMES,
      metrics: this.metrics,
      network: network.of(this.host, (socket) => options.onConnect(socket)),
    };
    this.dataPlane = new SimulatedDataPlane(path, options.shadows);
    this.subscriber = new Subscriber({
      ...shared,
      operator: options.operator(this.host),
      operatorUrl: new URL('https://operator.invalid'),
      tokenFile: '',
      caBundle: null,
      caFile: null,
      stateDirectory: null,
      lookup: () => {},
      dataPlane: this.dataPlane,
      locallyDisabled: () => false,
      onPlanApplied: () => {},
      metrics: createSubscribeMetrics(this.metrics.registry, () => this.host.monotonicMs()),
    });
  }

  async start(): Promise<void> {
    await this.subscriber.restore();
    await this.dataPlane.listen();
    this.subscriber.start();
  }

  async stop(): Promise<void> {
    await this.subscriber.stop();
    this.dataPlane.close();
  }

  /** How often policies in shadow would have done something so far, by block. */
  async shadowDecisions(): Promise<Record<string, number>> {
    const found = this.metrics.registry
      .getMetricsAsJSON()
      .find(({ name }) => name === SIDECAR_METRICS.shadowDecisions.name);
    const counts: Record<string, number> = {};
    for (const { labels, value } of found?.values ?? []) {
      const { policy = '' } = labels as Record<string, string>;
      counts[policy] = (counts[policy] ?? 0) + value;
    }
    return counts;
  }

  /** The application connects, and the kernel redirects it to the sidecar. */
  dial(application: Host, address: string, port: number): SimulatedSocket {
    return this.#options.network.connect(application, `${this.host.name} 127.0.0.1`, OUTBOUND_PORT, null, {
      address,
      port,
    });
  }
}
