// Where connections turned out to speak something else than HTTP, for whoever asks, and for whoever wants to hear of it.
import type { OpaqueView } from '../../data-plane.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';

export class OpaqueReports {
  readonly #dependencies: ReadonlyMap<string, DependencyRuntime>;
  readonly #listeners: (() => void)[] = [];
  #told = '[]';

  constructor(dependencies: ReadonlyMap<string, DependencyRuntime>) {
    this.#dependencies = dependencies;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  views(): OpaqueView[] {
    return Array.from(this.#dependencies.values()).flatMap(({ plan, spoken }) =>
      spoken.opaque === null ? [] : [{ dependency: plan.id, protocol: spoken.opaque, alsoHttp: spoken.http }],
    );
  }

  tellAll(): void {
    const now = JSON.stringify(this.views());
    if (now === this.#told) return;
    this.#told = now;
    for (const listener of this.#listeners) listener();
  }
}
