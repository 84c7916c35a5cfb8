// What the circuits of all dependencies do, for whoever asks, and for whoever wants to hear of every change.
import type { Clock } from '../../../runtime/clock.ts';
import type { CircuitView } from '../../data-plane.ts';
import { BREAKER_STATES } from '../../policies/circuit-breaker.ts';
import type { CircuitEntry } from './circuit.ts';
import type { DependencyRuntime } from './dependency.ts';

export class CircuitReports {
  readonly #clock: Clock;
  readonly #dependencies: ReadonlyMap<string, DependencyRuntime>;
  readonly #listeners: ((circuit: CircuitView) => void)[] = [];
  /** By dependency and state key: the states that were told, but for closed. */
  readonly #told = new Map<string, string>();

  constructor(clock: Clock, dependencies: ReadonlyMap<string, DependencyRuntime>) {
    this.#clock = clock;
    this.#dependencies = dependencies;
  }

  onChange(listener: (circuit: CircuitView) => void): void {
    this.#listeners.push(listener);
  }

  views(): CircuitView[] {
    const views: CircuitView[] = [];
    for (const dependency of this.#dependencies.values()) {
      for (const circuit of dependency.policies.allCircuits()) views.push(this.#view(dependency, circuit));
    }
    return views;
  }

  tell(dependency: DependencyRuntime, circuit: CircuitEntry): void {
    const view = this.#view(dependency, circuit);
    const key = toldKey(view.dependency, view.stateKey);
    if ((this.#told.get(key) ?? 'Closed') === view.state) return;
    if (view.state === 'Closed') this.#told.delete(key);
    else this.#told.set(key, view.state);
    for (const listener of this.#listeners) listener(view);
  }

  /** Half-open is entered by time, without any call: somebody has to say so. */
  tellAll(): void {
    for (const dependency of this.#dependencies.values()) {
      for (const circuit of dependency.policies.allCircuits()) this.tell(dependency, circuit);
    }
  }

  /** A circuit that a plan took away and another brings back begins anew: that it opens is news again. */
  forgetAbsent(): void {
    if (this.#told.size === 0) return;
    const present = new Set(this.views().map(({ dependency, stateKey }) => toldKey(dependency, stateKey)));
    for (const key of this.#told.keys()) if (!present.has(key)) this.#told.delete(key);
  }

  #view(dependency: DependencyRuntime, circuit: CircuitEntry): CircuitView {
    const nowMs = this.#clock.monotonicMs();
    const { breaker } = circuit;
    const state = BREAKER_STATES[breaker.state(nowMs)];
    return {
      dependency: dependency.plan.id,
      stateKey: circuit.key,
      state,
      sinceUnixMs: Math.round(circuit.sinceUnixMs),
      failingSinceUnixMs: circuit.failingSinceUnixMs,
      // From when it opened, not from now: between two looks only a new openFor moves it.
      nextProbeUnixMs: state === 'Open' ? Math.round(circuit.sinceUnixMs + breaker.openTimeMs(nowMs)) : null,
      reopenings: breaker.reopenings,
      counts: breaker.counts(nowMs),
      reason: breaker.reason,
      enforced: dependency.enforced,
    };
  }
}

const toldKey = (dependency: string, stateKey: string) => `${dependency}\n${stateKey}`;
