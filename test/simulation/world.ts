// One simulated world: applications with real sidecars, pods that they call, replicas of the operator, and the trouble that comes over all
// of them, drawn from one seed.
import type { OperatorConnection } from '../../sidecar/subscribe/operator-client.ts';
import { OperatorError } from '../../sidecar/subscribe/operator-client.ts';
import { Application, type Manners } from './applications.ts';
import { ALL_MODES, behaviour, MODES, type Mode } from './behaviours.ts';
import { Cluster, ENDPOINT_PORT } from './cluster.ts';
import type { Shadows } from './data-plane.ts';
import { Dice } from './dice.ts';
import { Host } from './host.ts';
import { Http2Tap } from './http2-tap.ts';
import { Ledger } from './ledger.ts';
import { FAIR_WEATHER, placeOf, SimulatedNetwork } from './network.ts';
import { FAIR_LINKS, type LinkWeather, OperatorLink, OperatorReplica } from './operator.ts';
import type { Speaks } from './pod.ts';
import { Probes } from './probes.ts';
import { SimulatedServer } from './server.ts';
import { SimulatedSidecar } from './sidecar.ts';
import { VirtualTime } from './virtual-time.ts';
import { Wiretap } from './wiretap.ts';

/** Of a run that failed. */
const MAX_ENDS = 1_000;

export interface WorldOptions {
  seed: number;
  shadows: Shadows;
  /** Some of its Services and applications speak HTTP/2. */
  http2: boolean;
  trace(nowMs: number, text: string): void;
}

export class SimulatedWorld {
  readonly time: VirtualTime;
  /** What pods may come to. */
  readonly modes: readonly Mode[];
  readonly network: SimulatedNetwork;
  readonly ledger: Ledger;
  readonly probes: Probes;
  readonly cluster: Cluster;
  readonly sidecars: readonly SimulatedSidecar[];
  readonly applications: readonly Application[];
  readonly replicas: readonly OperatorReplica[];
  readonly servers = new Map<string, SimulatedServer[]>();
  linkWeather: LinkWeather = FAIR_LINKS;
  readonly trace: (text: string) => void;
  readonly #seed: number;
  readonly #serverDice: Dice;
  readonly #linkDice: Dice;
  readonly #tap: Wiretap;
  readonly #http2Tap: Http2Tap;
  readonly #terminating = new Set<SimulatedServer>();
  readonly #speaks = new Map<string, Speaks>();
  #unwatch: (() => void)[] = [];
  #isOver = false;
  #pods = 0;

  constructor(options: WorldOptions) {
    const { seed, shadows, http2 } = options;
    this.#seed = seed;
    this.time = new VirtualTime(0, http2);
    this.modes = http2 ? ALL_MODES : MODES;
    this.trace = (text) => {
      if (!this.#isOver) options.trace(this.time.nowMs, text);
    };
    this.#serverDice = this.dice('servers');
    this.#linkDice = this.dice('links');
    this.network = new SimulatedNetwork(this.time, this.dice('network'));
    this.network.weather = FAIR_WEATHER;
    this.ledger = new Ledger(() => this.time.nowMs, this.trace);
    this.probes = new Probes(this.ledger, (key, addresses) => this.cluster.wasAt(key, addresses));
    this.#tap = new Wiretap(this.ledger, this.probes);
    this.#http2Tap = new Http2Tap(this.ledger, this.#tap, this.trace);
    this.cluster = new Cluster(this.dice('cluster'), http2 ? this.dice('protocols') : null);
    const origins = this.dice('origins');
    this.replicas = ['operator-0', 'operator-1']
      .slice(0, origins.between(1, 2))
      .map((name) => new OperatorReplica(name, this.time, this.cluster, origins.between(0, 1_000_000)));
    this.sidecars = this.cluster.callers.map(
      (pod) =>
        new SimulatedSidecar({
          pod,
          time: this.time,
          network: this.network,
          dice: this.dice(`sidecar of ${pod}`),
          shadows,
          operator: (host) => this.#wayToOperator(pod, host),
          onConnect: (socket) => {
            this.#tap.upstream(socket);
            if (http2) this.#http2Tap.upstream(socket);
          },
        }),
    );
    const manners = this.#manners();
    this.applications = this.sidecars.map((sidecar) => {
      const host = new Host(sidecar.pod, this.time, 0);
      return new Application({
        name: sidecar.pod,
        host,
        cluster: this.cluster,
        dice: this.dice(`application in ${sidecar.pod}`),
        manners,
        ledger: this.ledger,
        onCancel: (call) => this.#tap.waited(call, sidecar.host),
        dial: (address, port) => this.#tap.downstream(sidecar.dial(host, address, port), sidecar.host),
        dialHttp2: (address, port) => sidecar.dial(host, address, port),
        watch: {
          owed: (call, isOwed) => this.#tap.owed(call, isOwed),
          over: (call) => this.#tap.waited(call, sidecar.host),
        },
      });
    });
    for (const { name, clusterIp, port, speaks } of this.cluster.services) {
      this.servers.set(name, []);
      this.#speaks.set(name, speaks === 'Always1' ? 'Http1' : speaks);
      const pods = this.#serverDice.between(1, 6);
      for (let count = 0; count < pods; count += 1) this.addServer(name);
      this.network.alias(placeOf(clusterIp, port), () => this.#behindClusterIp(name));
    }
  }

  /** Watches what the real code does, until `unwatch`. */
  watch(): void {
    this.probes.install();
    this.#unwatch = this.#http2Tap.install();
  }

  unwatch(): void {
    for (const undo of this.#unwatch.reverse()) undo();
    this.probes.remove();
  }

  /** Nothing of a run that failed goes on: sessions of node:http2 are ended before anybody collects them. */
  async end(): Promise<void> {
    if (this.network.open === 0) return;
    this.time.onTurn = () => {};
    this.#isOver = true;
    for (const application of this.applications) application.stop();
    // A process that stands still hears of it last. What anybody makes of it is of no interest any more.
    for (let tries = 0; tries < MAX_ENDS && this.network.open > 0; tries += 1) {
      this.network.cut();
      await this.time.settleUntil(this.time.nowMs + 10).catch(() => {});
    }
    await this.time.settleUntil(this.time.nowMs).catch(() => {});
  }

  demandNothingLeft(): void {
    this.#http2Tap.demandNothingLeft();
  }

  /** How often anything of each kind happened. */
  get counts(): Readonly<Record<string, number>> {
    return { ...this.probes.counts, ...this.#http2Tap.counts };
  }

  /** A stream of chance of its own. */
  dice(stream: string): Dice {
    return new Dice(this.#seed, stream);
  }

  async start(): Promise<void> {
    for (const replica of this.replicas) replica.publish();
    for (const sidecar of this.sidecars) await sidecar.start();
    for (const application of this.applications) application.start();
  }

  /** What is written down has changed: every replica learns of it in its own time. */
  announce(): void {
    for (const { host, publish } of this.replicas.map((replica) => ({
      host: replica.host,
      publish: () => replica.publish(),
    })))
      host.after(this.#linkDice.skewed(1, 300), publish);
  }

  addServer(service: string): void {
    this.#pods += 1;
    const host = new Host(`${service}-${this.#pods}`, this.time, 0);
    const server = new SimulatedServer(
      host,
      `10.1.${this.#pods >> 8}.${this.#pods & 255}`,
      ENDPOINT_PORT,
      behaviour(this.#serverDice.chance(0.7) ? 'Healthy' : this.#serverDice.pick(this.modes), this.#serverDice),
      {
        onRequest: (request) => this.ledger.reached(request, host.name),
        onContent: (request, bytes) => this.ledger.received(request, bytes),
        onRefused: (request) => this.ledger.refused(request, host.name),
      },
      this.#speaks.get(service),
    );
    server.start(this.network);
    this.servers.get(service)?.push(server);
    this.tellEndpoints(service);
    this.trace(`pod ${host.name} at ${server.address}`);
  }

  /** The oldest of them ends: at once, or after a while in which it still serves, as it should. */
  removeServer(service: string, drainMs: number): void {
    const server = this.servers.get(service)?.find((each) => !this.#terminating.has(each));
    if (server === undefined) return;
    if (drainMs > 0) {
      this.trace(`pod ${server.host.name} is to end`);
      this.#terminating.add(server);
      this.tellEndpoints(service);
    }
    this.time.after(drainMs, () => {
      this.trace(`pod ${server.host.name} is killed`);
      server.kill();
      const left = (this.servers.get(service) ?? []).filter((each) => each !== server);
      this.servers.set(service, left);
      this.tellEndpoints(service);
    });
  }

  /** The controller of endpoints writes down what is there. */
  tellEndpoints(service: string): void {
    const servers = this.servers.get(service) ?? [];
    const addressesOf = (terminating: boolean) =>
      servers.filter((server) => this.#terminating.has(server) === terminating).map(({ address }) => address);
    this.cluster.setAddresses(service, addressesOf(false), addressesOf(true));
    this.announce();
  }

  allServers(): SimulatedServer[] {
    return [...this.servers.values()].flat();
  }

  /** kube-proxy: any pod, as far as it knows. */
  #behindClusterIp(service: string): string | null {
    const addresses = this.cluster.addresses(service);
    return addresses.length === 0 ? null : placeOf(this.#serverDice.pick(addresses), ENDPOINT_PORT);
  }

  #manners(): Manners {
    const dice = this.dice('manners');
    return {
      pauseMs: dice.skewed(30, 600),
      bursts: dice.pick([0, 0.05, 0.2]),
      cancels: dice.pick([0, 0.05, 0.3]),
      slowReaders: dice.pick([0, 0.05, 0.2]),
      nonsense: dice.pick([0, 0.02]),
    };
  }

  #wayToOperator(pod: string, host: Host): OperatorConnection {
    const dice = this.#linkDice;
    return {
      open: (path, listener) => {
        const replica = dice.pick(this.replicas);
        const link = new OperatorLink(replica.host, host, dice, this.linkWeather, listener);
        this.time.after(1, () => {
          if (!replica.up || dice.chance(this.linkWeather.refused))
            link.fail(new OperatorError('unreachable', 'nobody answers'));
          else replica.host.run(() => void replica.open(pod, path, link));
        });
        return link;
      },
      post: async (path, body) => {
        await host.sleep(dice.between(1, 20));
        const [replica] = this.replicas;
        if (dice.chance(this.linkWeather.refused)) throw new OperatorError('unreachable', 'nobody answers');
        await replica?.report(pod, path, body);
      },
      close: () => {},
    };
  }
}
