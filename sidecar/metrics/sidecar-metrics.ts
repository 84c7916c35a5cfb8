// The metrics of a sidecar: what requests count in the slots of their route, what is rarer and counted here by its labels, and what is
// read from live objects. Label sets of requests are resolved when a plan arrives, and text is made only at a scrape.

import { isShadowKey } from '../../plan/policies/state-key.ts';
import { SHED_REASONS } from '../policies/load-shedder.ts';
import { OUTLIER_CAUSES, type OutlierCause } from '../policies/outlier-detection.ts';
import type { ConnectFailure } from '../proxy/exchange/upstream.ts';
import { SIDECAR_METRICS } from './definitions.ts';
import { LeftSeries, seriesOwner } from './left-series.ts';
import { type LiveMetrics, liveSeries } from './live-metrics.ts';
import { MetricRegistry } from './registry.ts';
import { RouteMetrics } from './route-metrics.ts';
import { routeSeries } from './route-samples.ts';
import { TcpMetrics, tcpSeries } from './tcp-metrics.ts';

/** Why a connection of the application is reset for the sidecar's own sake. */
export const SHED_CONNECTION_REASONS = ['memory', 'open-files'] as const;

const COUNTERS = [
  'circuitTransitions',
  'ejections',
  'ejectionsWithheld',
  'panics',
  'circuitResets',
  'shadowCircuitTransitions',
  'healthChecks',
  'shadowHealthChecks',
  'shadowEjections',
  'shadowEjectionsWithheld',
  'connects',
  'tlsHandshakes',
  'tunnels',
  'tunnelDialFailures',
  'undeclared',
  'bypassed',
  'dnsResolutions',
  'selfReferences',
  'shedRequests',
  'shedConnections',
] as const;
type CounterKey = (typeof COUNTERS)[number];

interface Counter {
  readonly labels: Record<string, string>;
  value: number;
}

/** What a plan names, as its series name it. */
export interface NamedSeries {
  /** Value of the label `dependency`. */
  readonly label: string;
  /** By its bare name it is counted where only an address is known of a call. */
  readonly plan: { readonly name: string };
  /** Its rules, and the keys of its state. */
  seriesNames(): Iterable<string>;
}

export class SidecarMetrics {
  readonly registry = new MetricRegistry();
  readonly #routes = new Map<string, RouteMetrics>();
  readonly #counters = new Map<CounterKey, Map<string, Counter>>();
  /** Those that every connection counts in, found without putting labels together: by cause, and by dependency and result. */
  readonly #tunnels = new Map<string, Counter>();
  readonly #connects = new Map<string, Map<string, Counter>>();
  readonly #tcp = new Map<string, TcpMetrics>();
  readonly #left = new LeftSeries();
  #live: LiveMetrics | null = null;

  constructor() {
    for (const series of routeSeries(() => this.#routes.values())) this.registry.register(series);
    for (const series of tcpSeries(() => this.#tcp.values())) this.registry.register(series);
    for (const key of COUNTERS) {
      this.#counters.set(key, new Map());
      const sample = () => [...(this.#counters.get(key)?.values() ?? [])];
      this.registry.register({ definition: SIDECAR_METRICS[key], sample });
    }
    for (const series of liveSeries(() => this.#live)) this.registry.register(series);
    this.#count('tunnelDialFailures', {}, 0);
    for (const reason of SHED_CONNECTION_REASONS) this.#count('shedConnections', { reason }, 0);
    for (const reason of SHED_REASONS) this.#count('shedRequests', { reason }, 0);
    for (const action of ['allowed', 'warned', 'denied']) this.#count('undeclared', { action }, 0);
    for (const result of ['addresses', 'no-address', 'failure']) this.#count('dnsResolutions', { result }, 0);
    for (const cause of ['undeclared', 'opaque', 'disabled', 'upgrade', 'no-plan'])
      this.#count('tunnels', { cause }, 0);
  }

  /** The slots of one (dependency, rule); the same ones for every plan that names them. */
  route(dependency: string, rule: string): RouteMetrics {
    const key = seriesOwner(dependency, rule);
    let route = this.#routes.get(key);
    if (!route) {
      route = new RouteMetrics(dependency, rule);
      this.#routes.set(key, route);
    }
    return route;
  }

  /** The slots of the opaque connections of one dependency. They are there once the first one comes. */
  tcp(dependency: string): TcpMetrics {
    let tcp = this.#tcp.get(dependency);
    if (!tcp) {
      tcp = new TcpMetrics(dependency);
      this.#tcp.set(dependency, tcp);
    }
    return tcp;
  }

  /** A plan is in force, and names these. What those before it named goes in time, and what was counted of it. */
  follow(present: Iterable<NamedSeries>): void {
    const named = new Set<string>();
    for (const dependency of present) {
      named.add(seriesOwner(dependency.label)).add(seriesOwner(dependency.plan.name));
      for (const name of dependency.seriesNames()) named.add(seriesOwner(dependency.label, name));
    }
    const gone = this.#left.follow(this.#owners(), named);
    if (gone.size === 0) return;
    for (const owner of gone) this.#routes.delete(owner);
    for (const dependency of this.#tcp.keys()) if (gone.has(seriesOwner(dependency))) this.#tcp.delete(dependency);
    for (const dependency of this.#connects.keys())
      if (gone.has(seriesOwner(dependency))) this.#connects.delete(dependency);
    for (const series of this.#counters.values())
      for (const [id, { labels }] of series) if (gone.has(ownerOf(labels) ?? '')) series.delete(id);
  }

  *#owners(): Iterable<string> {
    yield* this.#routes.keys();
    for (const dependency of this.#tcp.keys()) yield seriesOwner(dependency);
    for (const series of this.#counters.values())
      for (const { labels } of series.values()) {
        const owner = ownerOf(labels);
        if (owner !== null) yield owner;
      }
  }

  setLive(live: LiveMetrics): void {
    this.#live = live;
  }

  countTransition(dependency: string, circuit: string, to: string): void {
    this.#count('circuitTransitions', { dependency, circuit, to }, 1);
  }

  countCircuitReset(dependency: string, by: number): void {
    this.#count('circuitResets', { dependency }, by);
  }

  countEjection(dependency: string, detection: string, cause: OutlierCause): void {
    this.#count('ejections', { dependency, detection, cause }, 1);
  }

  countEjectionWithheld(dependency: string, detection: string, cause: OutlierCause): void {
    this.#count('ejectionsWithheld', { dependency, detection, cause }, 1);
  }

  countPanic(dependency: string, choice: string): void {
    this.#count('panics', { dependency, choice }, 1);
  }

  /** Its series exist from now on. */
  addDetection(dependency: string, detection: string): void {
    for (const cause of OUTLIER_CAUSES) {
      this.#count('ejections', { dependency, detection, cause }, 0);
      this.#count('ejectionsWithheld', { dependency, detection, cause }, 0);
    }
  }

  /** `check`: its key; those in shadow have metrics of their own. */
  countHealthCheck(dependency: string, check: string, result: 'passed' | 'failed'): void {
    this.#count(isShadowKey(check) ? 'shadowHealthChecks' : 'healthChecks', { dependency, check, result }, 1);
  }

  addHealthCheck(dependency: string, check: string): void {
    const series = isShadowKey(check) ? 'shadowHealthChecks' : 'healthChecks';
    for (const result of ['passed', 'failed']) this.#count(series, { dependency, check, result }, 0);
  }

  addChoice(dependency: string, choice: string): void {
    this.#count('panics', { dependency, choice }, 0);
  }

  countShadowTransition(dependency: string, circuit: string, to: string): void {
    this.#count('shadowCircuitTransitions', { dependency, circuit, to }, 1);
  }

  countShadowEjection(dependency: string, detection: string, cause: OutlierCause): void {
    this.#count('shadowEjections', { dependency, detection, cause }, 1);
  }

  countShadowEjectionWithheld(dependency: string, detection: string, cause: OutlierCause): void {
    this.#count('shadowEjectionsWithheld', { dependency, detection, cause }, 1);
  }

  /** As `addDetection`. */
  addShadowDetection(dependency: string, detection: string): void {
    for (const cause of OUTLIER_CAUSES) {
      this.#count('shadowEjections', { dependency, detection, cause }, 0);
      this.#count('shadowEjectionsWithheld', { dependency, detection, cause }, 0);
    }
  }

  countConnect(dependency: string, result: 'success' | ConnectFailure): void {
    let byResult = this.#connects.get(dependency);
    if (!byResult) this.#connects.set(dependency, (byResult = new Map()));
    let counter = byResult.get(result);
    if (!counter) byResult.set(result, (counter = this.#counter('connects', { dependency, result })));
    counter.value += 1;
  }

  countTlsHandshake(dependency: string, session: 'full' | 'resumed'): void {
    this.#count('tlsHandshakes', { dependency, session }, 1);
  }

  countTunnel(cause: string): void {
    let counter = this.#tunnels.get(cause);
    if (!counter) this.#tunnels.set(cause, (counter = this.#counter('tunnels', { cause })));
    counter.value += 1;
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

  countShedRequest(reason: string): void {
    this.#count('shedRequests', { reason }, 1);
  }

  countShedConnection(reason: (typeof SHED_CONNECTION_REASONS)[number]): void {
    this.#count('shedConnections', { reason }, 1);
  }

  countSelfReference(dependency: string): void {
    this.#count('selfReferences', { dependency }, 1);
  }

  #count(key: CounterKey, labels: Record<string, string>, by: number): void {
    this.#counter(key, labels).value += by;
  }

  #counter(key: CounterKey, labels: Record<string, string>): Counter {
    const series = this.#counters.get(key);
    const id = Object.values(labels).join('\n');
    const known = series?.get(id);
    if (known) return known;
    const counter = { labels, value: 0 };
    series?.set(id, counter);
    return counter;
  }
}

/** Null: of the sidecar as a whole. */
function ownerOf({ dependency, circuit, detection, choice, check }: Counter['labels']): string | null {
  return dependency === undefined ? null : seriesOwner(dependency, circuit ?? detection ?? choice ?? check);
}

export function createSidecarMetrics(): SidecarMetrics {
  return new SidecarMetrics();
}
