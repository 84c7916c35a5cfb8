// Three ways for an application to call the same dependency: with a client library alone, through a model of Envoy, and through a real
// sidecar of ours. All three wait equally long for an answer, on the same simulated network.
import type { Random } from '../../runtime/random.ts';
import type { Host } from '../simulation/host.ts';
import type { SimulatedNetwork } from '../simulation/network.ts';
import type { SimulatedSocket } from '../simulation/socket.ts';
import { HttpClient, type Result } from './http-client.ts';

/** Where a caller sends its requests, and how it is told what became of them. */
export interface Protection {
  call(done: (result: Result) => void): void;
}

export interface Pod {
  address: string;
  port: number;
}

/** The application waits so long for an answer, in all cases. */
export const PATIENCE_MS = 1_000;

export interface CallerOptions {
  network: SimulatedNetwork;
  host: Host;
  random: Random;
  pods: readonly Pod[];
}

/** What many applications have: a timeout, and three attempts, one right after the other. Pods are taken at random, as kube-proxy does. */
export class ClientLibrary implements Protection {
  static readonly attempts = 3;
  readonly #options: CallerOptions;
  readonly #client: HttpClient;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#client = new HttpClient(options.host, (pod) =>
      options.network.connect(options.host, pod.address, pod.port, null),
    );
  }

  call(done: (result: Result) => void): void {
    this.#attempt(1, done);
  }

  #attempt(number: number, done: (result: Result) => void): void {
    const { pods, random } = this.#options;
    const pod = pods[Math.floor(random() * pods.length)];
    if (pod === undefined) return;
    this.#client.send(pod, PATIENCE_MS, (result) => {
      if (result === 'answered' || number === ClientLibrary.attempts) done(result);
      else this.#attempt(number + 1, done);
    });
  }
}

/** Envoy's documented defaults; what is not set by default but by nearly every user (retries, outlier detection) with its default numbers. */
export const ENVOY = {
  /** RetryPolicy.num_retries; retry_on: 5xx, reset, connect-failure. */
  retries: 1,
  /** RetryPolicy.retry_back_off: 25 ms, up to ten times as much, fully jittered. */
  backoffMs: 25,
  /** CircuitBreakers.Thresholds, per proxy. */
  maxRequests: 1024,
  maxPendingRequests: 1024,
  maxRetries: 3,
  /** OutlierDetection. */
  consecutive5xx: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 10,
  /** Cluster.CommonLbConfig.healthy_panic_threshold. */
  panicPercent: 50,
} as const;

interface EnvoyHost {
  pod: Pod;
  consecutive5xx: number;
  ejections: number;
  ejectedUntilMs: number;
}

/** One Envoy beside one application, at the level of requests: round robin, outlier ejection, limits, retries. */
export class EnvoyModel implements Protection {
  readonly #options: CallerOptions;
  readonly #client: HttpClient;
  readonly #hosts: EnvoyHost[];
  #next = 0;
  #active = 0;
  #retrying = 0;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#client = new HttpClient(options.host, (pod) =>
      options.network.connect(options.host, pod.address, pod.port, null),
    );
    this.#hosts = options.pods.map((pod) => ({ pod, consecutive5xx: 0, ejections: 0, ejectedUntilMs: 0 }));
    this.#next = Math.floor(options.random() * options.pods.length);
  }

  call(done: (result: Result) => void): void {
    const { host } = this.#options;
    // The route's timeout spans the attempts.
    this.#attempt(0, null, host.time.nowMs + PATIENCE_MS, done);
  }

  #attempt(retries: number, avoid: EnvoyHost | null, deadlineMs: number, done: (result: Result) => void): void {
    const { host, random } = this.#options;
    if (this.#active >= ENVOY.maxRequests) {
      done('refused');
      return;
    }
    const target = this.#pick(avoid);
    this.#active += 1;
    this.#client.send(target.pod, deadlineMs - host.time.nowMs, (result) => {
      this.#active -= 1;
      if (retries > 0) this.#retrying -= 1;
      this.#note(target, result);
      // A timeout of the route is not retried: no time is left.
      const mayRetry = result === 'failed' && retries < ENVOY.retries && this.#retrying < ENVOY.maxRetries;
      if (!mayRetry) {
        done(result);
        return;
      }
      this.#retrying += 1;
      const waitMs = random() * ENVOY.backoffMs;
      host.after(waitMs, () => this.#attempt(retries + 1, target, deadlineMs, done));
    });
  }

  #note(target: EnvoyHost, result: Result): void {
    if (result === 'answered') {
      target.consecutive5xx = 0;
      return;
    }
    target.consecutive5xx += 1;
    if (target.consecutive5xx < ENVOY.consecutive5xx) return;
    target.consecutive5xx = 0;
    const { nowMs } = this.#options.host.time;
    const ejected = this.#hosts.filter(({ ejectedUntilMs }) => ejectedUntilMs > nowMs).length;
    // One more only as long as the share is below the limit; as documented, at least one host may be ejected.
    if (ejected > 0 && (ejected + 1) * 100 > ENVOY.maxEjectionPercent * this.#hosts.length) return;
    target.ejections += 1;
    const forMs = Math.min(ENVOY.maxEjectionMs, ENVOY.baseEjectionMs * target.ejections);
    // Hosts come back at a sweep.
    target.ejectedUntilMs = Math.ceil((nowMs + forMs) / ENVOY.intervalMs) * ENVOY.intervalMs;
  }

  #pick(avoid: EnvoyHost | null): EnvoyHost {
    const { nowMs } = this.#options.host.time;
    const healthy = this.#hosts.filter(({ ejectedUntilMs }) => ejectedUntilMs <= nowMs);
    const panic = healthy.length * 100 < ENVOY.panicPercent * this.#hosts.length;
    const candidates = panic ? this.#hosts : healthy;
    const others = candidates.filter((each) => each !== avoid);
    const from = others.length > 0 ? others : candidates;
    this.#next += 1;
    const picked = from[this.#next % from.length];
    if (picked === undefined) throw new Error('the dependency of a storm has pods');
    return picked;
  }
}

/** A sidecar of ours: the application makes one attempt to where the kernel redirects it. */
export class OurSidecar implements Protection {
  readonly #client: HttpClient;

  constructor(host: Host, dial: () => SimulatedSocket) {
    this.#client = new HttpClient(host, dial);
  }

  call(done: (result: Result) => void): void {
    this.#client.send({ address: 'payments', port: 8080 }, PATIENCE_MS, done);
  }
}
