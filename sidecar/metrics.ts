// Every metric of the data path, in one table, and the slots that requests write to. A request touches an array element and nothing
// else: label sets are resolved when a plan arrives, and text is made only at a scrape. prom-client keeps the registry and writes the text.
import { Gauge, Registry } from 'prom-client';
import { LOCAL_ANSWER_NAMES, LOCAL_ANSWERS } from './errors.ts';

export interface MetricDefinition {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
}

export const SIDECAR_METRICS = {
  requests: {
    name: 'breakwater_requests_total',
    type: 'counter',
    help: 'Requests of the application, by class of the answer and by who gave it: upstream, or the breakwater-reason of a local answer.',
    labels: ['dependency', 'rule', 'code', 'reason'],
  },
  duration: {
    name: 'breakwater_request_duration_seconds',
    type: 'histogram',
    help: 'Time from the head of a request to the end of its answer, retries, waits and backoffs included; streams and upgrades left out.',
    labels: ['dependency', 'rule'],
  },
  attempts: {
    name: 'breakwater_attempts_total',
    type: 'counter',
    help: 'Attempts that reached for an endpoint, by result.',
    labels: ['dependency', 'rule', 'result'],
  },
  retries: {
    name: 'breakwater_retries_total',
    type: 'counter',
    help: 'Attempts after the first, by what the one before had failed of.',
    labels: ['dependency', 'rule', 'cause'],
  },
  retriesSuppressed: {
    name: 'breakwater_retries_suppressed_total',
    type: 'counter',
    help: 'Failures that the policy would have retried, and why they were not.',
    labels: ['dependency', 'rule', 'cause'],
  },
  circuitState: {
    name: 'breakwater_circuit_state',
    type: 'gauge',
    help: 'One for the present state of each circuit, zero for the others.',
    labels: ['dependency', 'circuit', 'state'],
  },
  circuitTransitions: {
    name: 'breakwater_circuit_transitions_total',
    type: 'counter',
    help: 'Changes of state of each circuit.',
    labels: ['dependency', 'circuit', 'to'],
  },
  bulkheadInFlight: {
    name: 'breakwater_bulkhead_in_flight',
    type: 'gauge',
    help: 'Requests that hold a place of the bulkhead.',
    labels: ['dependency', 'bulkhead'],
  },
  bulkheadQueued: {
    name: 'breakwater_bulkhead_queued',
    type: 'gauge',
    help: 'Requests that wait for a place of the bulkhead.',
    labels: ['dependency', 'bulkhead'],
  },
  endpoints: {
    name: 'breakwater_endpoints',
    type: 'gauge',
    help: 'Known endpoints of the dependency; -1 while they are unknown.',
    labels: ['dependency'],
  },
  fallback: {
    name: 'breakwater_cluster_ip_fallback',
    type: 'gauge',
    help: 'One while new connections of the dependency go to its ClusterIP because the endpoints cannot be trusted.',
    labels: ['dependency'],
  },
  enforcement: {
    name: 'breakwater_enforcement',
    type: 'gauge',
    help: 'One while policies act on the dependency, zero while a kill switch is thrown.',
    labels: ['dependency'],
  },
  connects: {
    name: 'breakwater_upstream_connects_total',
    type: 'counter',
    help: 'Connections opened to the dependency, by result.',
    labels: ['dependency', 'result'],
  },
  tunnels: {
    name: 'breakwater_tunnels_total',
    type: 'counter',
    help: 'Connections forwarded untouched, by why: undeclared, opaque, h2c, disabled, upgrade, no-plan.',
    labels: ['cause'],
  },
  tunnelDialFailures: {
    name: 'breakwater_tunnel_dial_failures_total',
    type: 'counter',
    help: 'Connections whose real destination could not be reached after the application had been accepted: it saw a reset instead of a refusal.',
    labels: [],
  },
  undeclared: {
    name: 'breakwater_undeclared_connections_total',
    type: 'counter',
    help: 'Captured connections to destinations that nobody declared, by what was done: allowed, warned (passed on, and named in the log), denied. Only capture `iptables` sees them.',
    labels: ['action'],
  },
  bypassed: {
    name: 'breakwater_bypassed_connections_total',
    type: 'counter',
    help: 'Connections of the pod that were made straight to the ClusterIP of a declared Service and so past the sidecar (capture `loopback` and `explicit`). A lower bound: they are counted by looking every 10 s at what is open.',
    labels: ['dependency'],
  },
  dnsResolutions: {
    name: 'breakwater_dns_resolutions_total',
    type: 'counter',
    help: 'Names that DNS was asked for, by result: addresses, no-address (there is none), failure (no answer).',
    labels: ['result'],
  },
  selfReferences: {
    name: 'breakwater_self_references_total',
    type: 'counter',
    help: 'Answers of DNS that led back to the sidecar itself and were not used.',
    labels: ['dependency'],
  },
  failedListeners: {
    name: 'breakwater_failed_listeners',
    type: 'gauge',
    help: 'Ports that the sidecar was to listen on (capture `loopback` and `explicit`) and could not.',
    labels: [],
  },
  tunnelsActive: {
    name: 'breakwater_tunnels',
    type: 'gauge',
    help: 'Connections that are being forwarded untouched.',
    labels: [],
  },
  clientConnections: {
    name: 'breakwater_client_connections',
    type: 'gauge',
    help: 'Open connections of the application that speak HTTP to declared dependencies.',
    labels: [],
  },
} as const satisfies Record<string, MetricDefinition>;

export const DURATION_BUCKETS_SECONDS = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;
const BUCKETS_MS = Float64Array.from(DURATION_BUCKETS_SECONDS, (seconds) => seconds * 1000);

/** Results of an attempt; the numbers are slots. */
export const AttemptResult = {
  success: 0,
  connectFailure: 1,
  reset: 2,
  attemptTimeout: 3,
  failureStatus: 4,
  invalidResponse: 5,
  cancelled: 6,
} as const;
export const ATTEMPT_RESULTS = [
  'success',
  'connect-failure',
  'reset',
  'attempt-timeout',
  'failure-status',
  'invalid-response',
  'cancelled',
] as const;

/** Why a wanted retry did not happen; the numbers are slots. */
export const Suppression = { attempts: 0, unsafe: 1, budget: 2, body: 3, deadline: 4 } as const;
export const SUPPRESSIONS = ['attempts', 'unsafe', 'budget', 'body', 'deadline'] as const;

const CODES = ['aborted', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
/** reason 0 is upstream; the others are the local answers in the order of their table. */
const REASONS = ['upstream', ...LOCAL_ANSWER_NAMES.map((name) => LOCAL_ANSWERS[name].code)];
export const REASON_UPSTREAM = 0;
const REASON_SLOT: ReadonlyMap<string, number> = new Map(REASONS.map((reason, slot) => [reason, slot]));

/** Slot of a local answer's reason. */
export function reasonSlot(code: string): number {
  return REASON_SLOT.get(code) ?? REASON_UPSTREAM;
}

/** The counters of one (dependency, rule). Written by requests, read by scrapes. */
export class RouteMetrics {
  readonly dependency: string;
  readonly rule: string;
  readonly requests = new Float64Array(CODES.length * REASONS.length);
  readonly attempts = new Float64Array(ATTEMPT_RESULTS.length);
  readonly retries = new Float64Array(ATTEMPT_RESULTS.length);
  readonly suppressed = new Float64Array(SUPPRESSIONS.length);
  readonly durations = new Float64Array(BUCKETS_MS.length + 1);
  durationSumMs = 0;

  constructor(dependency: string, rule: string) {
    this.dependency = dependency;
    this.rule = rule;
  }

  /** `status` 0: the caller went away before the answer. `durationMs` below zero: a stream, left out of the histogram. */
  observe(status: number, reason: number, durationMs: number): void {
    const code = (status / 100) | 0;
    const slot = (code > 5 ? 5 : code) * REASONS.length + reason;
    this.requests[slot] = (this.requests[slot] ?? 0) + 1;
    if (durationMs < 0) return;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && durationMs > (BUCKETS_MS[bucket] ?? 0)) bucket++;
    this.durations[bucket] = (this.durations[bucket] ?? 0) + 1;
    this.durationSumMs += durationMs;
  }
}

/** What is read at a scrape from live objects instead of being counted. */
export interface LiveMetrics {
  circuits(): Iterable<{ dependency: string; circuit: string; state: string }>;
  bulkheads(): Iterable<{ dependency: string; bulkhead: string; inFlight: number; queued: number }>;
  dependencies(): Iterable<{ dependency: string; endpoints: number; fallback: boolean; enforced: boolean }>;
  /** Listeners that could not be opened. */
  failedListeners(): number;
  clientConnections(): number;
  tunnels(): number;
}

interface Sample {
  labels: Record<string, string | number>;
  value: number;
  metricName?: string;
}

/** A metric whose samples are made at the scrape; what prom-client's registry asks of its entries. */
class SampledMetric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricDefinition['type'];
  readonly aggregator = 'sum';
  readonly #sample: () => Sample[];

  constructor(definition: MetricDefinition, sample: () => Sample[]) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.#sample = sample;
  }

  get(): { name: string; help: string; type: string; aggregator: string; values: Sample[] } {
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values: this.#sample() };
  }

  reset(): void {}
}

const COUNTERS = [
  'circuitTransitions',
  'connects',
  'tunnels',
  'tunnelDialFailures',
  'undeclared',
  'bypassed',
  'dnsResolutions',
  'selfReferences',
] as const;
type CounterKey = (typeof COUNTERS)[number];

export class SidecarMetrics {
  readonly registry = new Registry();
  readonly #routes = new Map<string, RouteMetrics>();
  readonly #counters = new Map<CounterKey, Map<string, { labels: Record<string, string>; value: number }>>();
  #live: LiveMetrics | null = null;

  constructor() {
    const add = (definition: MetricDefinition, sample: () => Sample[]) =>
      this.registry.registerMetric(new SampledMetric(definition, sample) as unknown as Gauge);
    add(SIDECAR_METRICS.requests, () => this.#requestSamples());
    add(SIDECAR_METRICS.duration, () => this.#durationSamples());
    add(SIDECAR_METRICS.attempts, () => this.#slotSamples(ATTEMPT_RESULTS, 'result', (route) => route.attempts));
    add(SIDECAR_METRICS.retries, () => this.#slotSamples(ATTEMPT_RESULTS, 'cause', (route) => route.retries));
    add(SIDECAR_METRICS.retriesSuppressed, () => this.#slotSamples(SUPPRESSIONS, 'cause', (route) => route.suppressed));
    for (const key of COUNTERS) {
      this.#counters.set(key, new Map());
      add(SIDECAR_METRICS[key], () => [...(this.#counters.get(key)?.values() ?? [])]);
    }
    this.#count('tunnelDialFailures', {}, 0);
    for (const action of ['allowed', 'warned', 'denied']) this.#count('undeclared', { action }, 0);
    for (const result of ['addresses', 'no-address', 'failure']) this.#count('dnsResolutions', { result }, 0);
    for (const cause of ['undeclared', 'opaque', 'h2c', 'disabled', 'upgrade', 'no-plan'])
      this.#count('tunnels', { cause }, 0);
    this.#addLive(add);
  }

  /** The slots of one (dependency, rule); the same ones for every plan that names them. */
  route(dependency: string, rule: string): RouteMetrics {
    const key = `${dependency}\n${rule}`;
    let route = this.#routes.get(key);
    if (!route) {
      route = new RouteMetrics(dependency, rule);
      this.#routes.set(key, route);
    }
    return route;
  }

  setLive(live: LiveMetrics): void {
    this.#live = live;
  }

  countTransition(dependency: string, circuit: string, to: string): void {
    this.#count('circuitTransitions', { dependency, circuit, to }, 1);
  }

  countConnect(dependency: string, result: 'success' | 'refused' | 'timeout' | 'unreachable'): void {
    this.#count('connects', { dependency, result }, 1);
  }

  countTunnel(cause: string): void {
    this.#count('tunnels', { cause }, 1);
  }

  countTunnelDialFailure(): void {
    this.#count('tunnelDialFailures', {}, 1);
  }

  countUndeclared(action: string): void {
    this.#count('undeclared', { action }, 1);
  }

  countBypassed(dependency: string, by: number): void {
    this.#count('bypassed', { dependency }, by);
  }

  countDnsResolution(result: string): void {
    this.#count('dnsResolutions', { result }, 1);
  }

  countSelfReference(dependency: string): void {
    this.#count('selfReferences', { dependency }, 1);
  }

  #count(key: CounterKey, labels: Record<string, string>, by: number): void {
    const series = this.#counters.get(key);
    const id = Object.values(labels).join('\n');
    const entry = series?.get(id);
    if (entry) entry.value += by;
    else series?.set(id, { labels, value: by });
  }

  #addLive(add: (definition: MetricDefinition, sample: () => Sample[]) => void): void {
    const states = ['Closed', 'Open', 'HalfOpen'];
    const live = <T>(read: (live: LiveMetrics) => Iterable<T>, samples: (item: T) => Sample[]) => {
      return () => (this.#live ? Array.from(read(this.#live)).flatMap(samples) : []);
    };
    add(
      SIDECAR_METRICS.circuitState,
      live(
        (source) => source.circuits(),
        ({ dependency, circuit, state }) =>
          states.map((each) => ({ labels: { dependency, circuit, state: each }, value: each === state ? 1 : 0 })),
      ),
    );
    const bulkheads = (value: (item: { inFlight: number; queued: number }) => number) =>
      live(
        (source) => source.bulkheads(),
        (item) => [{ labels: { dependency: item.dependency, bulkhead: item.bulkhead }, value: value(item) }],
      );
    add(
      SIDECAR_METRICS.bulkheadInFlight,
      bulkheads((item) => item.inFlight),
    );
    add(
      SIDECAR_METRICS.bulkheadQueued,
      bulkheads((item) => item.queued),
    );
    const dependencies = (value: (item: { endpoints: number; fallback: boolean; enforced: boolean }) => number) =>
      live(
        (source) => source.dependencies(),
        (item) => [{ labels: { dependency: item.dependency }, value: value(item) }],
      );
    add(
      SIDECAR_METRICS.endpoints,
      dependencies((item) => item.endpoints),
    );
    add(
      SIDECAR_METRICS.fallback,
      dependencies((item) => (item.fallback ? 1 : 0)),
    );
    add(
      SIDECAR_METRICS.enforcement,
      dependencies((item) => (item.enforced ? 1 : 0)),
    );
    add(SIDECAR_METRICS.clientConnections, () => [{ labels: {}, value: this.#live?.clientConnections() ?? 0 }]);
    add(SIDECAR_METRICS.failedListeners, () => [{ labels: {}, value: this.#live?.failedListeners() ?? 0 }]);
    add(SIDECAR_METRICS.tunnelsActive, () => [{ labels: {}, value: this.#live?.tunnels() ?? 0 }]);
  }

  #requestSamples(): Sample[] {
    const samples: Sample[] = [];
    for (const route of this.#routes.values()) {
      for (let slot = 0; slot < route.requests.length; slot++) {
        const value = route.requests[slot] ?? 0;
        const code = CODES[Math.floor(slot / REASONS.length)] ?? '';
        const reason = REASONS[slot % REASONS.length] ?? '';
        // Series that people rate() over exist from the start; the rare ones when they happen.
        const expected = (code === '2xx' || code === '5xx') && reason === 'upstream';
        if (value > 0 || expected) {
          samples.push({ labels: { dependency: route.dependency, rule: route.rule, code, reason }, value });
        }
      }
    }
    return samples;
  }

  #slotSamples(names: readonly string[], label: string, slots: (route: RouteMetrics) => Float64Array): Sample[] {
    const samples: Sample[] = [];
    for (const route of this.#routes.values()) {
      const values = slots(route);
      names.forEach((name, slot) => {
        samples.push({
          labels: { dependency: route.dependency, rule: route.rule, [label]: name },
          value: values[slot] ?? 0,
        });
      });
    }
    return samples;
  }

  #durationSamples(): Sample[] {
    const { name } = SIDECAR_METRICS.duration;
    const samples: Sample[] = [];
    for (const route of this.#routes.values()) {
      const labels = { dependency: route.dependency, rule: route.rule };
      let count = 0;
      DURATION_BUCKETS_SECONDS.forEach((le, bucket) => {
        count += route.durations[bucket] ?? 0;
        samples.push({ labels: { ...labels, le }, value: count, metricName: `${name}_bucket` });
      });
      count += route.durations[DURATION_BUCKETS_SECONDS.length] ?? 0;
      samples.push({ labels: { ...labels, le: '+Inf' }, value: count, metricName: `${name}_bucket` });
      samples.push({ labels, value: route.durationSumMs / 1000, metricName: `${name}_sum` });
      samples.push({ labels, value: count, metricName: `${name}_count` });
    }
    return samples;
  }
}

export function createSidecarMetrics(): SidecarMetrics {
  return new SidecarMetrics();
}
