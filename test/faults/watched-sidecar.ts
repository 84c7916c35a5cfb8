// What of a sidecar follows an operator, with a data path that remembers whether it was ever without the endpoints that exist.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EndpointSet } from '../../plan/endpoints.ts';
import type { WorkloadPlan } from '../../plan/plan.ts';
import { systemClock as clock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import { MetricRegistry } from '../../sidecar/metrics/registry.ts';
import { createSubscribeMetrics } from '../../sidecar/subscribe/metrics.ts';
import { RecordingDataPlane } from '../../sidecar/subscribe/recording-data-plane.ts';
import { Subscriber } from '../../sidecar/subscribe/subscriber.ts';

/** As in production, but faster. */
const STREAMS = { initialMs: 50, maxMs: 500, connectTimeoutMs: 2_000, silenceMs: 30_000, stableAfterMs: 1_000 };

class WatchedDataPlane extends RecordingDataPlane {
  /** After which calls there was nothing where something should have been. */
  readonly emptied: string[] = [];
  readonly #dependency: string;
  #hadEndpoints = false;

  constructor(dependency: string) {
    super();
    this.#dependency = dependency;
  }

  override applyPlan(plan: WorkloadPlan): void {
    super.applyPlan(plan);
    this.#look();
  }

  override applyEndpointsSnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void {
    super.applyEndpointsSnapshot(sets, fromDisk);
    this.#look();
  }

  override applyEndpointsUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void {
    super.applyEndpointsUpdate(sets, removed);
    this.#look();
  }

  #look(): void {
    const key = this.plan?.dependencies.find(({ id }) => id === this.#dependency)?.endpointsKey;
    const hasEndpoints = (key === undefined ? [] : (this.sets.get(key)?.endpoints ?? [])).length > 0;
    // The first plan may come before the first endpoints.
    if (this.#hadEndpoints && !hasEndpoints) this.emptied.push(this.calls.at(-1) ?? '');
    this.#hadEndpoints ||= hasEndpoints;
  }
}

export interface SidecarOptions {
  pod: string;
  folder: string;
  token: string;
  operatorUrl: URL;
  caBundle: string;
  /** Id of the dependency whose endpoints exist at any time. */
  dependency: string;
  random: Random;
}

export class WatchedSidecar {
  readonly pod: string;
  readonly dataPlane: WatchedDataPlane;
  readonly #subscriber: Subscriber;

  constructor({ pod, folder, operatorUrl, caBundle, dependency, random }: Omit<SidecarOptions, 'token'>) {
    this.pod = pod;
    this.dataPlane = new WatchedDataPlane(dependency);
    this.#subscriber = new Subscriber({
      operatorUrl,
      tokenFile: join(folder, pod),
      caBundle,
      caFile: null,
      stateDirectory: null,
      dataPlane: this.dataPlane,
      lookup: (_name, { all }, done) => {
        if (all === true) done(null, [{ address: '127.0.0.1', family: 4 }]);
        else done(null, '127.0.0.1', 4);
      },
      locallyDisabled: () => false,
      onPlanApplied: () => undefined,
      metrics: createSubscribeMetrics(new MetricRegistry(), () => clock.monotonicMs()),
      clock,
      random,
      log: silentLogger,
      streamSettings: STREAMS,
    });
  }

  static async start({ token, ...options }: SidecarOptions): Promise<WatchedSidecar> {
    await writeFile(join(options.folder, options.pod), token);
    const sidecar = new WatchedSidecar(options);
    await sidecar.#subscriber.restore();
    sidecar.#subscriber.start();
    return sidecar;
  }

  get isUp(): boolean {
    const { planStreamUp, endpointsStreamUp } = this.#subscriber.status();
    return planStreamUp && endpointsStreamUp;
  }

  stop(): Promise<void> {
    return this.#subscriber.stop();
  }
}
