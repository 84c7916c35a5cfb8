// The latest plan and endpoint sets of each workload, as the bytes that go to every sidecar of it.
//
// A distinct plan is serialised once and the one Buffer is written to N sockets. Endpoint sets are serialised once each and put together
// per workload; what a stream needs to come from one version to the next is made once per pair of versions. Values are immutable, so a
// stream remembers what it sent by reference.
import { createHash } from 'node:crypto';
import type { EndpointSet, Placement } from '../../plan/endpoints.ts';
import { type DependencyPlan, PLAN_LIMITS } from '../../plan/plan.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';

/** What a stream of plans sends. */
export interface PlanSnapshot {
  workloadId: string;
  version: string;
  frame: Buffer;
  /** Monotonic. */
  publishedAtMs: number;
  /** State keys of the circuits of each dependency in it: what a sidecar may report on. */
  circuits: ReadonlyMap<string, ReadonlySet<string>>;
  /** The same of what takes endpoints out of the choice: outlier detection and health checks. */
  exclusions: ReadonlyMap<string, ReadonlySet<string>>;
  /** Dependencies that TLS is spoken to. */
  tlsHosts: ReadonlySet<string>;
  endpointKeys: readonly string[];
}

interface SerialisedSet {
  set: EndpointSet;
  json: string;
  hash: string;
}

/** What a stream of endpoints sends. */
export interface EndpointsSnapshot {
  version: string;
  sets: ReadonlyMap<string, SerialisedSet>;
  publishedAtMs: number;
}

const hash = (text: string) => createHash('sha256').update(text).digest('base64url').slice(0, 22);

const NO_SETS: ReadonlyMap<string, EndpointSet> = new Map();
/** Of frames that are kept for the next stream that needs the same: sets of a large Service are megabytes, for each workload and version. */
const CACHE_BYTES = 32 * 1024 * 1024;

/**
 * Splits serialised sets into frames below the size limit. All but the last carry a version of their own, so that a sidecar that was cut
 * off between them is not taken for one that has everything.
 */
function endpointFrames(
  kind: 'snapshot' | 'update',
  version: string,
  sets: readonly SerialisedSet[],
  removed: readonly string[],
  limitBytes: number,
): Buffer[] {
  const chunks: string[][] = [[]];
  let size = 0;
  for (const { json } of sets) {
    const bytes = Buffer.byteLength(json) + 1;
    if (size + bytes > limitBytes && chunks.at(-1)?.length) {
      chunks.push([]);
      size = 0;
    }
    chunks.at(-1)?.push(json);
    size += bytes;
  }
  return chunks.map((chunk, index) => {
    const last = index === chunks.length - 1;
    const of = last ? version : `${version}.part${index + 1}`;
    const head = `{"kind":"${index === 0 ? kind : 'update'}","version":${JSON.stringify(of)},"sets":[${chunk.join(',')}]`;
    const gone = index > 0 || kind === 'update' ? `,"removed":${JSON.stringify(index === 0 ? removed : [])}` : '';
    return Buffer.from(`${head}${gone}}\n`);
  });
}

function sizeOf(frames: readonly Buffer[]): number {
  return frames.reduce((bytes, frame) => bytes + frame.length, 0);
}

function circuitKeys({ policies }: DependencyPlan): ReadonlySet<string> {
  return new Set(
    policies
      .flatMap(({ circuitBreaker, shadow }) => [circuitBreaker, shadow?.circuitBreaker ?? null])
      .flatMap((circuit) => (circuit === null ? [] : [circuit.stateKey])),
  );
}

function exclusionKeys({ policies }: DependencyPlan): ReadonlySet<string> {
  return new Set(
    policies.flatMap(({ outlierDetection, healthCheck, shadow }) =>
      [outlierDetection, healthCheck, shadow?.outlierDetection, shadow?.healthCheck].flatMap(
        (block) => block?.stateKey ?? [],
      ),
    ),
  );
}

/** Room for the rest of a frame beside its sets: the version and the list of removed keys. */
const FRAME_OVERHEAD_BYTES = 512 * 1024;

export interface SnapshotsOptions {
  /** Largest frame; a plan beyond it is not published. */
  frameBytes?: number;
  /** Of the frames that are kept for the next stream; what streams are being sent is theirs. */
  cacheBytes?: number;
}

export class Snapshots {
  readonly #frameBytes: number;
  readonly #cacheBytes: number;
  #plans = new Map<string, PlanSnapshot>();
  #sets = new Map<string, SerialisedSet>();
  #endpoints = new Map<string, EndpointsSnapshot>();
  #workloadOfPod = new Map<string, string>();
  #placements: ReadonlyMap<string, Placement> = new Map();
  #tooLarge = new Map<string, string>();
  /** Frames between two versions, the one that was asked for last at the end. */
  readonly #deltas = new Map<string, readonly Buffer[]>();
  #deltaBytes = 0;
  #generation = 0;

  constructor(options: SnapshotsOptions = {}) {
    this.#frameBytes = options.frameBytes ?? PLAN_LIMITS.frameBytes;
    this.#cacheBytes = options.cacheBytes ?? CACHE_BYTES;
  }

  /** Counts publications; zero: nothing was ever published, so nothing may be answered yet. */
  get generation(): number {
    return this.#generation;
  }

  /** Takes over a result of the compiler. Whatever is equal to what was there keeps its identity. `isUsed`: somebody asks for this workload. */
  publish(result: CompileResult, nowMs: number, isUsed: (workloadId: string) => boolean = () => true): void {
    this.#generation += 1;
    this.#sets = this.#serialise(result.endpointSets);
    const plans = new Map<string, PlanSnapshot>();
    const endpoints = new Map<string, EndpointsSnapshot>();
    const pods = new Map<string, string>();
    this.#tooLarge = new Map();
    for (const workload of result.workloads) {
      for (const pod of workload.pods) pods.set(pod, workload.id);
      const plan = this.#planOf(workload, nowMs);
      if (!plan) continue;
      plans.set(workload.id, plan);
      endpoints.set(workload.id, this.#endpointsOf(workload.id, plan.endpointKeys, nowMs));
    }
    // Adopted workloads without dependencies never change and stay while they are used: there is one per namespace that ever was.
    for (const [id, plan] of this.#plans) {
      if (plans.has(id) || plan.circuits.size > 0 || !isUsed(id)) continue;
      plans.set(id, plan);
      endpoints.set(id, this.#endpointsOf(id, [], nowMs));
    }
    this.#plans = plans;
    this.#endpoints = endpoints;
    this.#workloadOfPod = pods;
    this.#placements = result.placements ?? new Map();
  }

  /** Takes over a workload that no result holds: that of pods without dependencies. */
  adopt(workload: CompiledWorkload, nowMs: number): void {
    if (this.#plans.has(workload.id)) return;
    const plan = this.#planOf(workload, nowMs);
    if (!plan) return;
    this.#plans.set(workload.id, plan);
    this.#endpoints.set(workload.id, this.#endpointsOf(workload.id, plan.endpointKeys, nowMs));
  }

  plan(workloadId: string): PlanSnapshot | undefined {
    return this.#plans.get(workloadId);
  }

  endpoints(workloadId: string): EndpointsSnapshot | undefined {
    return this.#endpoints.get(workloadId);
  }

  /** Id of the workload that the last result puts "namespace/name" in. */
  workloadOfPod(pod: string): string | undefined {
    return this.#workloadOfPod.get(pod);
  }

  /** Where "namespace/name" runs, where hints of endpoints make that matter. */
  placementOfPod(pod: string): Placement | undefined {
    return this.#placements.get(pod);
  }

  /** Workloads whose newest plan cannot be sent, with the reason; their sidecars keep the one before. */
  get tooLarge(): ReadonlyMap<string, string> {
    return this.#tooLarge;
  }

  /** Frames that bring a stream from what it has to `to`; without `from`, everything. */
  endpointFrames(from: EndpointsSnapshot | undefined, to: EndpointsSnapshot): readonly Buffer[] {
    const key = `${from?.version ?? ''}>${to.version}`;
    const known = this.#deltas.get(key);
    const frames = known ?? this.#makeFrames(from, to);
    if (known) this.#deltas.delete(key);
    else this.#deltaBytes += sizeOf(frames);
    this.#deltas.set(key, frames);
    for (const [oldest, old] of this.#deltas) {
      // The last one at least is shared by all streams that ask for it now.
      if (this.#deltaBytes <= this.#cacheBytes || oldest === key) break;
      this.#deltas.delete(oldest);
      this.#deltaBytes -= sizeOf(old);
    }
    return frames;
  }

  #makeFrames(from: EndpointsSnapshot | undefined, to: EndpointsSnapshot): Buffer[] {
    const limit = Math.max(1, this.#frameBytes - FRAME_OVERHEAD_BYTES);
    if (!from) return endpointFrames('snapshot', to.version, [...to.sets.values()], [], limit);
    const changed = [...to.sets].filter(([key, set]) => from.sets.get(key)?.hash !== set.hash).map(([, set]) => set);
    const removed = [...from.sets.keys()].filter((key) => !to.sets.has(key));
    return endpointFrames('update', to.version, changed, removed, limit);
  }

  #serialise(sets: ReadonlyMap<string, EndpointSet> = NO_SETS): Map<string, SerialisedSet> {
    const next = new Map<string, SerialisedSet>();
    for (const [key, set] of sets) {
      const before = this.#sets.get(key);
      if (before?.set === set) {
        next.set(key, before);
        continue;
      }
      const json = JSON.stringify(set);
      next.set(key, before?.json === json ? before : { set, json, hash: hash(json) });
    }
    return next;
  }

  #planOf(workload: CompiledWorkload, nowMs: number): PlanSnapshot | undefined {
    const before = this.#plans.get(workload.id);
    if (before?.version === workload.version) return before;
    const frame = Buffer.from(`${JSON.stringify({ kind: 'plan', version: workload.version, plan: workload.plan })}\n`);
    if (frame.length > this.#frameBytes) {
      const message = `the plan has ${frame.length} bytes, and ${this.#frameBytes} is the limit: use fewer rules or dependencies`;
      this.#tooLarge.set(workload.id, message);
      return before;
    }
    return {
      workloadId: workload.id,
      version: workload.version,
      frame,
      publishedAtMs: nowMs,
      circuits: new Map(workload.plan.dependencies.map((dependency) => [dependency.id, circuitKeys(dependency)])),
      exclusions: new Map(workload.plan.dependencies.map((dependency) => [dependency.id, exclusionKeys(dependency)])),
      tlsHosts: new Set(workload.plan.dependencies.filter(({ host }) => host?.tls).map(({ id }) => id)),
      endpointKeys: workload.endpointKeys,
    };
  }

  #endpointsOf(workloadId: string, keys: readonly string[], nowMs: number): EndpointsSnapshot {
    const sets = new Map<string, SerialisedSet>();
    for (const key of [...new Set(keys)].sort()) {
      const set = this.#sets.get(key);
      if (set) sets.set(key, set);
    }
    const version = hash([...sets].map(([key, set]) => `${key} ${set.hash}`).join('\n'));
    const before = this.#endpoints.get(workloadId);
    return before?.version === version ? before : { version, sets, publishedAtMs: nowMs };
  }
}
