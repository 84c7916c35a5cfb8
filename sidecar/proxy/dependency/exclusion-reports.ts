// Which endpoints get no calls, for whoever asks, and for whoever wants to hear that it is another than before. Looked at with the sweep of
// the data path: what comes and goes between two looks is no news to anybody further away.
import { isShadowKey } from '../../../plan/policies/state-key.ts';
import { MAX_EXCLUDED_NAMES } from '../../../plan/wire.ts';
import type { Clock } from '../../../runtime/clock.ts';
import type { ExclusionView } from '../../data-plane.ts';
import type { DependencyRuntime } from './dependency.ts';

/** Monotonic, so that no step of the wall clock is a change. */
type Exclusion = Omit<ExclusionView, 'sinceUnixMs'> & { sinceMs: number };

interface Excluded {
  name: string;
  reason: string;
  sinceMs: number;
}

export class ExclusionReports {
  readonly #clock: Clock;
  readonly #dependencies: ReadonlyMap<string, DependencyRuntime>;
  readonly #listeners: (() => void)[] = [];
  #told = '[]';

  constructor(clock: Clock, dependencies: ReadonlyMap<string, DependencyRuntime>) {
    this.#clock = clock;
    this.#dependencies = dependencies;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  views(): ExclusionView[] {
    const startedUnixMs = this.#clock.unixMs() - this.#clock.monotonicMs();
    return this.#exclusions().map(({ sinceMs, ...rest }) => ({ ...rest, sinceUnixMs: startedUnixMs + sinceMs }));
  }

  tellAll(): void {
    const now = JSON.stringify(this.#exclusions());
    if (now === this.#told) return;
    this.#told = now;
    for (const listener of this.#listeners) listener();
  }

  #exclusions(): Exclusion[] {
    const all: Exclusion[] = [];
    for (const dependency of this.#dependencies.values()) {
      if (!dependency.enforced) continue;
      const { policies } = dependency;
      const shadowed = policies.shadows.narrowedChoices.map(({ choice }) => choice);
      // A choice in shadow goes by what is enforced beside it too, which is not told of it.
      const choicesOf = (key: string) => (isShadowKey(key) ? shadowed : policies.allChoices());
      for (const [key, detection] of [...policies.detections.entries(), ...policies.shadows.detections.entries()]) {
        if (detection.ejected.size === 0) continue;
        const ejected = Array.from(detection.ejected, ({ name, reason, ejectedAtMs }) => ({
          name,
          reason,
          sinceMs: ejectedAtMs,
        }));
        const panicking = choicesOf(key).some((choice) => choice.detection === detection && choice.panicking);
        all.push(exclusionOf(dependency, key, ejected, panicking));
      }
      for (const health of policies.allHealthChecks()) {
        const unhealthy = health.checks.unhealthy.map(({ name, problem: reason, sinceMs }) => ({
          name,
          reason,
          sinceMs,
        }));
        if (unhealthy.length === 0) continue;
        const panicking = choicesOf(health.key).some((choice) => choice.health === health && choice.panicking);
        all.push(exclusionOf(dependency, health.key, unhealthy, panicking));
      }
    }
    return all;
  }
}

function exclusionOf(
  { plan, endpoints }: DependencyRuntime,
  stateKey: string,
  excluded: readonly Excluded[],
  panicking: boolean,
): Exclusion {
  const byName = excluded.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  return {
    dependency: plan.id,
    stateKey,
    endpoints: excluded.length,
    totalEndpoints: endpoints.live.length,
    sinceMs: excluded.reduce((first, { sinceMs }) => Math.min(first, sinceMs), Number.POSITIVE_INFINITY),
    panicking,
    names: byName.slice(0, MAX_EXCLUDED_NAMES).map(({ name, reason }) => ({ endpoint: name, reason })),
  };
}
