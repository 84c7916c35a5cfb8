// World → compile → publish. Runs on every replica: each serves the streams of its own sidecars. What only one replica may do, writing
// statuses and Events, is the status keeper's.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';
import type { World, WorldPod } from '../compile/world.ts';
import type { OperatorMetrics } from '../metrics.ts';
import type { Outcome } from '../watch/work-queue.ts';
import type { OwnObject, WorldSource } from '../watch/world-source.ts';
import { isIn } from './compiled-objects.ts';
import { Controller } from './controller.ts';

/** The one key of the queue: a world is compiled whole. */
const WORLD = 'world';
const MAX_REST_MS = 500;

export interface ReconcilerOptions {
  source: WorldSource;
  compile: (world: World) => CompileResult;
  publish: (result: CompileResult) => void;
  /** The workload of a pod that no ServiceDependency selects. */
  emptyWorkload: (namespace: string) => CompiledWorkload;
  /** Called after each publication. Must not throw. */
  onResult: (result: CompileResult, world: World) => void;
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #controller: Controller;
  #restUntilMs: MonotonicMs = 0;
  #compiled: World | undefined;
  #pods: ReadonlySet<WorldPod> | undefined;
  #result: CompileResult | undefined;
  #workloadById: ReadonlyMap<string, CompiledWorkload> = new Map();
  #workloadByPod: ReadonlyMap<string, CompiledWorkload> = new Map();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, log, metrics } = options;
    this.#controller = new Controller({
      name: 'world',
      workers: 1,
      reconcile: () => Promise.resolve(this.#reconcile()),
      clock,
      log,
      metrics,
    });
  }

  /** The newest result; undefined until everything was read once and compiled. */
  get result(): CompileResult | undefined {
    return this.#result;
  }

  /** Whether the newest result is about this object as it stands, and not about what it was before. */
  isCompiled(object: OwnObject): boolean {
    return this.#compiled !== undefined && isIn(this.#compiled, object);
  }

  start(): void {
    this.#controller.start();
  }

  stop(): Promise<void> {
    return this.#controller.stop();
  }

  observe(): void {
    this.#controller.observe();
  }

  worldChanged(): void {
    this.#controller.add(WORLD);
  }

  /**
   * The workload of a pod by its present labels; undefined where there is no pod of that name and uid. A pod that is newer than the cache
   * is looked up, and the world compiled with it. Rejects where the API server cannot be asked, and before the first result.
   */
  async workloadOfPod(pod: { namespace: string; name: string; uid: string }): Promise<CompiledWorkload | undefined> {
    if (this.#result === undefined) throw new Error('the world is not known yet');
    const { source, emptyWorkload } = this.#options;
    const found = await source.pod(pod.namespace, pod.name, pod.uid);
    if (found === undefined) return undefined;
    if ('workloadId' in found) return this.#workloadById.get(found.workloadId);
    const key = `${found.namespace}/${found.name}`;
    // Whoever was there, as it is, when the world was compiled has no workload: a large cluster must not be compiled for each of them.
    if (!this.#workloadByPod.has(key) && !this.#seen().has(found)) this.#compile();
    return this.#workloadByPod.get(key) ?? emptyWorkload(found.namespace);
  }

  /** The pods of the world that was compiled last; a source gives the same value until something of a pod changes. */
  #seen(): ReadonlySet<WorldPod> {
    this.#pods ??= new Set(this.#compiled?.pods);
    return this.#pods;
  }

  /**
   * Rests for as long as the last compilation took: in a cluster so large that this matters, streams, webhook and probes keep at least half
   * of the time.
   */
  #reconcile(): Outcome {
    const restMs = this.#restUntilMs - this.#options.clock.monotonicMs();
    if (restMs > 0) return { kind: 'requeue', afterMs: restMs };
    this.#compile();
    return { kind: 'done' };
  }

  #compile(): void {
    const { source, compile, publish, onResult, clock, metrics } = this.#options;
    if (!source.hasSynced) return;
    const world = source.world();
    const startedMs = clock.monotonicMs();
    const result = compile(world);
    const endedMs = clock.monotonicMs();
    metrics.compileSeconds.observe((endedMs - startedMs) / 1000);
    this.#restUntilMs = endedMs + Math.min(endedMs - startedMs, MAX_REST_MS);
    this.#compiled = world;
    this.#pods = undefined;
    this.#result = result;
    this.#workloadById = new Map(result.workloads.map((workload) => [workload.id, workload]));
    this.#workloadByPod = new Map(
      result.workloads.flatMap((workload) => workload.pods.map((pod) => [pod, workload] as const)),
    );
    publish(result);
    onResult(result, world);
  }
}
