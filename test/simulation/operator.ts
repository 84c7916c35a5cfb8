// Replicas of the operator: the real compiler and the real distributor, behind links that are slow, break in the middle of a frame, or fall
// silent. Only sockets, TLS and the API server are missing.
import type { CompiledWorkload } from '../../operator/compile/result.ts';
import { emptyWorkload } from '../../operator/compile/workloads.ts';
import type { Admitted } from '../../operator/distribute/admission.ts';
import { Distributor, type StreamHandle } from '../../operator/distribute/distributor.ts';
import { Snapshots } from '../../operator/distribute/snapshots.ts';
import { type AcknowledgementReport, type CircuitReport, PATHS } from '../../plan/wire.ts';
import { silentLogger } from '../../runtime/log.ts';
import { OperatorError, type StreamListener } from '../../sidecar/subscribe/operator-client.ts';
import type { Cluster } from './cluster.ts';
import type { Dice } from './dice.ts';
import { Host } from './host.ts';
import type { VirtualTime } from './virtual-time.ts';

const NAMESPACE = 'shop';
const LATENCY_MS = 1;

export class OperatorReplica {
  readonly host: Host;
  readonly #cluster: Cluster;
  #distributor: Distributor;
  #snapshots = new Snapshots();
  #workloads: ReadonlyMap<string, CompiledWorkload> = new Map();
  #up = true;
  readonly #links = new Set<OperatorLink>();

  constructor(name: string, time: VirtualTime, cluster: Cluster, originMs: number) {
    this.host = new Host(name, time, originMs);
    this.#cluster = cluster;
    this.#distributor = this.#createDistributor();
  }

  get up(): boolean {
    return this.#up;
  }

  get distributor(): Distributor {
    return this.#distributor;
  }

  /** The newest plan of a pod's workload. */
  workloadOf(pod: string): CompiledWorkload | undefined {
    return this.#workloads.get(`${NAMESPACE}/${pod}`);
  }

  /** Version of the newest endpoints of a pod's workload. */
  endpointsOf(pod: string): string | undefined {
    return this.#snapshots.endpoints(this.workloadOf(pod)?.id ?? '')?.version;
  }

  /** Compiles what is written down now, and sends everybody what is new for them. */
  publish(): void {
    if (!this.#up) return;
    const result = this.#cluster.compile();
    this.#workloads = new Map(result.workloads.flatMap((workload) => workload.pods.map((pod) => [pod, workload])));
    this.#distributor.publish(result);
  }

  /** The process is gone, and with it all connections. */
  stop(gracefully: boolean): void {
    if (!this.#up) return;
    this.#up = false;
    if (gracefully) this.#distributor.close();
    for (const link of this.#links) link.cut();
    this.#distributor.close();
  }

  start(): void {
    if (this.#up) return;
    this.#up = true;
    this.#distributor = this.#createDistributor();
    this.publish();
  }

  async open(pod: string, path: string, link: OperatorLink): Promise<void> {
    const [kind, version] = path.startsWith(PATHS.plan)
      ? (['plan', versionOf(path)] as const)
      : (['endpoints', versionOf(path)] as const);
    const admitted = await this.#admit(pod);
    if (!admitted.ok) {
      link.fail(new OperatorError(admitted.status === 404 ? 'not-found' : 'unavailable', admitted.message));
      return;
    }
    if (link.closed) return;
    if (!this.#up) {
      link.cut();
      return;
    }
    this.#links.add(link);
    link.onEnd = () => this.#links.delete(link);
    link.opened();
    link.attach(this.#distributor.open(kind, admitted, version, link));
  }

  async report(pod: string, path: string, body: unknown): Promise<void> {
    const admitted = this.#up ? await this.#admit(pod) : null;
    if (admitted === null || !admitted.ok) throw new OperatorError('unavailable', 'not now');
    if (path === PATHS.circuits) this.#distributor.reportCircuits(admitted, body as CircuitReport);
    else this.#distributor.acknowledge(admitted, body as AcknowledgementReport);
  }

  #admit(pod: string): Promise<Admitted | { ok: false; status: number; message: string }> {
    return this.#distributor.admit(`Bearer ${pod}`, undefined);
  }

  #createDistributor(): Distributor {
    this.#snapshots = new Snapshots();
    return new Distributor({
      snapshots: this.#snapshots,
      clock: this.host,
      log: silentLogger,
      authenticator: {
        authenticate: (authorization) => {
          const name = authorization?.replace('Bearer ', '') ?? '';
          const pod = { namespace: NAMESPACE, name, uid: name };
          return Promise.resolve({ ok: true, pod, expiresUnixMs: Number.POSITIVE_INFINITY });
        },
      },
      workloadOfPod: (pod) => Promise.resolve(this.workloadOf(pod.name) ?? emptyWorkload(pod.namespace)),
    });
  }
}

function versionOf(path: string): string | undefined {
  const version = path.split('?version=', 2)[1];
  return version === undefined ? undefined : decodeURIComponent(version);
}

/** What goes wrong with the links to the operator. */
export interface LinkWeather {
  /** Share of connects that nobody answers in time, or that are refused. */
  refused: number;
  /** Share of links that break after some bytes. */
  broken: number;
  /** Share of links that fall silent after some bytes. */
  silent: number;
}

export const FAIR_LINKS: LinkWeather = { refused: 0, broken: 0, silent: 0 };

/** One stream, and the sink that the operator writes it into. */
export class OperatorLink {
  readonly #operator: Host;
  readonly #sidecar: Host;
  readonly #dice: Dice;
  readonly #listener: StreamListener;
  #handle: StreamHandle | null = null;
  #bytesLeft: number;
  readonly #silentAtEnd: boolean;
  #arrivesMs = 0;
  closed = false;
  onEnd: () => void = () => {};

  constructor(operator: Host, sidecar: Host, dice: Dice, weather: LinkWeather, listener: StreamListener) {
    this.#operator = operator;
    this.#sidecar = sidecar;
    this.#dice = dice;
    this.#listener = listener;
    this.#silentAtEnd = dice.chance(weather.silent);
    const spoiled = this.#silentAtEnd || dice.chance(weather.broken);
    this.#bytesLeft = spoiled ? dice.skewed(0, 20_000) : Number.POSITIVE_INFINITY;
  }

  attach(handle: StreamHandle): void {
    this.#handle = handle;
    if (this.closed) handle.closed();
  }

  opened(): void {
    this.#later(() => this.#listener.opened());
  }

  fail(error: OperatorError): void {
    this.#later(() => {
      if (this.closed) return;
      this.closed = true;
      this.onEnd();
      this.#listener.failed(error);
    });
  }

  /** The sidecar hangs up. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onEnd();
    this.#operator.time.after(LATENCY_MS, () => this.#operator.run(() => this.#handle?.closed()));
  }

  write(frame: Buffer): boolean {
    const left = this.#bytesLeft;
    this.#bytesLeft -= frame.length;
    if (left > 0) this.#send(frame.subarray(0, Math.min(left, frame.length)));
    if (left <= 0 || frame.length > left) {
      if (!this.#silentAtEnd) this.cut();
      return true;
    }
    // Now and then the socket is full, and says so.
    if (!this.#dice.chance(0.1)) return true;
    this.#operator.after(this.#dice.between(1, 500), () => this.#handle?.drained());
    return false;
  }

  end(frame: Buffer): void {
    this.#send(frame);
    this.cut();
  }

  destroy(): void {
    this.cut();
  }

  /** The connection is lost, for both. */
  cut(): void {
    this.fail(new OperatorError('lost', 'the connection was lost'));
    this.#operator.time.after(0, () => this.#handle?.closed());
  }

  #send(bytes: Buffer): void {
    for (let start = 0; start < bytes.length; ) {
      const size = this.#dice.chance(0.5) ? bytes.length - start : this.#dice.skewed(1, bytes.length - start);
      const piece = Buffer.from(bytes.subarray(start, start + size));
      start += size;
      this.#later(() => {
        if (!this.closed) this.#listener.chunk(piece);
      });
    }
  }

  #later(run: () => void): void {
    const { time } = this.#operator;
    this.#arrivesMs = Math.max(this.#arrivesMs, time.nowMs + LATENCY_MS * (0.5 + this.#dice.random()));
    time.after(this.#arrivesMs - time.nowMs, () => this.#sidecar.run(run));
  }
}
