// Gives every sidecar its own workload's plan and endpoints, and nothing else; collects what the sidecars report.
import type { AcknowledgementReport, CircuitReport } from '../../plan/wire.ts';
import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';
import { type Session, Sessions } from './acknowledgements.ts';
import { Admission, type AdmissionOptions, type Admitted } from './admission.ts';
import type { PodIdentity, Refusal } from './authenticate.ts';
import type { ExclusionSummary } from './exclusions.ts';
import type { StreamKind } from './metrics.ts';
import type { OpaqueSummary } from './opaque.ts';
import type { AppliedSummary, CircuitSummary } from './session-summaries.ts';
import { Snapshots } from './snapshots.ts';
import { EndpointsSource, PlanSource, type Sent } from './sources.ts';
import { type Sink, Stream } from './stream.ts';
import type { TlsSummary } from './tls-reports.ts';

/** A reader that takes nothing for this long is cut off; it will come back and ask for what is true then. */
const SLOW_READER_MS = 60_000;
/** A reader that is behind gets this long to take the last frame, before its connection is cut. */
const END_WITHIN_MS = 5_000;
/** Timers of the runtime end at 2^31 ms; a stream that lives longer is looked at in between. */
const MAX_TIMER_MS = 3_600_000;

export interface DistributorOptions extends AdmissionOptions {
  /** The CA bundle that sidecars are to trust. */
  trust?: { trustBundle(): string; onChange(listener: () => void): () => void };
  snapshots?: Snapshots;
  /** The other replicas. */
  peers?: PeerView;
}

/** What a replica knows of the others, and does for them. */
export interface PeerView {
  /** Name of this replica. */
  self: string;
  /** What their sidecars said. */
  sessions(): Iterable<Session>;
  /** Something that they are to hear of changed here. */
  sessionsChanged(): void;
  /** Passes a report on to the replica of that name; resolves to its answer. */
  forward(replica: string, report: ForwardedReport): Promise<Refusal | { ok: true }>;
}

export interface ForwardedReport {
  path: string;
  /** Of the sidecar: the other replica looks at it for itself. */
  authorization: string;
  body: unknown;
}

export interface Summaries {
  /** Key: id of the workload. Only workloads with sidecars, or with a plan that cannot be sent. */
  applied: ReadonlyMap<string, AppliedSummary>;
  circuits: readonly CircuitSummary[];
  exclusions: readonly ExclusionSummary[];
  opaque: readonly OpaqueSummary[];
  tls: readonly TlsSummary[];
}

export type EndReason = 'TokenExpired' | 'PodGone' | 'WorkloadChanged' | 'Replaced' | 'Shutdown';

/** An open stream, for whoever owns its connection. */
export interface StreamHandle {
  drained(): void;
  closed(): void;
}

interface OpenStream {
  kind: StreamKind;
  pod: PodIdentity;
  workloadId: string;
  stream: Stream;
  source: PlanSource | EndpointsSource;
  cancelTimers: Set<() => void>;
  /** Of the cut that follows the end. */
  cancelCut: () => void;
  /** The frames of the end are on their way; nothing more is to be said. */
  over: boolean;
}

export class Distributor {
  readonly #options: DistributorOptions;
  readonly #snapshots: Snapshots;
  readonly #admission: Admission;
  readonly #sessions: Sessions;
  readonly #streams = new Set<OpenStream>();
  readonly #byPod = new Map<string, OpenStream>();
  readonly #listeners = new Set<() => void>();
  readonly #stopTrust: () => void;
  #toldTooLarge: ReadonlyMap<string, string> = new Map();
  #cancelExpiry = () => {};
  #closed = false;

  constructor(options: DistributorOptions) {
    this.#options = options;
    this.#snapshots = options.snapshots ?? new Snapshots();
    this.#admission = new Admission(options, this.#snapshots);
    const { peers } = options;
    this.#sessions = new Sessions(
      peers === undefined
        ? {}
        : {
            elsewhere: () => this.#living(peers.sessions()),
            onTouch: () => peers.sessionsChanged(),
          },
    );
    this.#stopTrust = options.trust?.onChange(() => this.#trustChanged()) ?? (() => {});
    this.#scheduleExpiry();
  }

  /** Takes over a result of the compiler and sends each stream what is new for it. Call it after every compilation, also an equal one. */
  publish(result: CompileResult): void {
    const used = new Set([...this.#sessions.here().values()].map(({ workloadId }) => workloadId));
    this.#snapshots.publish(result, this.#options.clock.monotonicMs(), (workloadId) => used.has(workloadId));
    for (const open of this.#streams) this.#advance(open);
    if (this.#sessions.forgetIdle((pod) => this.#exists(pod))) this.#changed();
    for (const [workload, reason] of this.#snapshots.tooLarge) {
      // Publications are frequent; each such plan is told once.
      if (this.#toldTooLarge.get(workload) === reason) continue;
      this.#options.log.error({ workload, reason }, 'a plan cannot be sent; its sidecars keep the one before');
    }
    this.#toldTooLarge = this.#snapshots.tooLarge;
  }

  /** Called when an acknowledgement or a circuit changed. The returned function removes the listener. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  summaries(): Summaries {
    const planOf = (workloadId: string) => this.#snapshots.plan(workloadId);
    return {
      applied: this.#sessions.applied(planOf, this.#snapshots.tooLarge),
      circuits: this.#sessions.circuits(planOf),
      exclusions: this.#sessions.exclusions(planOf),
      opaque: this.#sessions.opaque(planOf),
      tls: this.#sessions.tls(planOf),
    };
  }

  /** By uid of the pod: what is known here, without the other replicas. */
  sessionsHere(): ReadonlyMap<string, Readonly<Session>> {
    return this.#sessions.here();
  }

  /** Other replicas told something new. */
  peersChanged(): void {
    this.#changed();
  }

  /** Of this replica and the others. */
  get peers(): PeerView | undefined {
    return this.#options.peers;
  }

  /** Number of open streams. */
  get openStreams(): number {
    return this.#streams.size;
  }

  /** Ends every stream with `Shutdown` and refuses new ones. */
  close(): void {
    this.#closed = true;
    this.#admission.close();
    this.#stopTrust();
    this.#cancelExpiry();
    for (const open of this.#streams) this.#end(open, 'Shutdown');
  }

  /** As Admission.admit; nobody is admitted any more once it is closed. */
  admit(
    authorization: string | undefined,
    claimedWorkload: string | undefined,
    source?: string,
  ): Promise<Admitted | Refusal> {
    return this.#admission.admit(authorization, claimedWorkload, source);
  }

  /** Opens a stream for an admitted pod; an older one of the same pod and kind ends. */
  open(kind: StreamKind, admitted: Admitted, resumeVersion: string | undefined, sink: Sink): StreamHandle {
    const { pod, plan } = admitted;
    const { clock, metrics, trust } = this.#options;
    const key = `${kind} ${pod.uid}`;
    const older = this.#byPod.get(key);
    if (older) this.#end(older, 'Replaced');

    const sent: Sent = (frame, publishedAtMs) => {
      metrics?.pushes.inc({ stream: kind });
      metrics?.pushedBytes.inc({ stream: kind }, frame.length);
      if (publishedAtMs !== undefined) {
        metrics?.pushSeconds.observe({ stream: kind }, Math.max(0, clock.monotonicMs() - publishedAtMs) / 1000);
      }
    };
    const source =
      kind === 'plan'
        ? new PlanSource(plan, resumeVersion, trust?.trustBundle(), sent)
        : new EndpointsSource(
            admitted.endpoints,
            resumeVersion,
            (from, to) => this.#snapshots.endpointFrames(from, to),
            sent,
          );
    const stream = new Stream(sink, source, () => clock.monotonicMs());
    const open: OpenStream = {
      kind,
      pod,
      workloadId: plan.workloadId,
      stream,
      source,
      cancelTimers: new Set(),
      cancelCut: () => {},
      over: false,
    };
    this.#streams.add(open);
    this.#byPod.set(key, open);
    metrics?.streamsOpen.inc({ stream: kind });
    this.#sessions.opened(pod, plan.workloadId, kind, clock.monotonicMs());
    if (resumeVersion !== undefined && this.#sessions.resumed(pod, kind, resumeVersion)) this.#changed();
    this.#every(open, HEARTBEAT_INTERVAL_MS, () => this.#beat(open));
    this.#endAt(open, admitted.expiresUnixMs);
    // It may have been admitted before this replica stopped, and come here after.
    if (this.#closed) this.#end(open, 'Shutdown');
    else this.#advance(open);
    return {
      drained: () => stream.drained(),
      closed: () => {
        open.cancelCut();
        this.#remove(open, 'Closed');
      },
    };
  }

  acknowledge(admitted: Admitted, report: AcknowledgementReport): void {
    const { clock, log, metrics } = this.#options;
    const { pod, plan } = admitted;
    const nowMs = clock.monotonicMs();
    metrics?.acknowledgements.inc({ stream: report.stream, result: report.applied ? 'applied' : 'refused' });
    if (!this.#sessions.acknowledge(pod, plan.workloadId, report, nowMs)) return;
    if (report.applied) this.#observeApplied(admitted, report, nowMs);
    else {
      const fields = { pod: `${pod.namespace}/${pod.name}`, stream: report.stream, version: report.version };
      log.warn({ ...fields, reason: report.message }, 'a sidecar could not apply what it was sent');
    }
    this.#changed();
  }

  reportCircuits(admitted: Admitted, report: CircuitReport): void {
    this.#options.metrics?.circuitReports.inc();
    if (this.#sessions.report(admitted.pod, admitted.plan, report, this.#options.clock.monotonicMs())) this.#changed();
  }

  #exists(pod: PodIdentity): boolean {
    return this.#snapshots.workloadOfPod(`${pod.namespace}/${pod.name}`) !== undefined;
  }

  /** Without the pods that are gone, and whose replica cannot say so any more. */
  *#living(sessions: Iterable<Session>): Iterable<Session> {
    for (const session of sessions) if (session.streams > 0 || this.#exists(session.pod)) yield session;
  }

  /** Brings one stream up to date with what was published: its pod may have moved to another workload, or be gone. */
  #advance(open: OpenStream): void {
    const pod = `${open.pod.namespace}/${open.pod.name}`;
    const inResult = this.#snapshots.workloadOfPod(pod);
    if (inResult !== open.workloadId) void this.#recheck(open);
    const plan = this.#snapshots.plan(open.workloadId);
    const endpoints = this.#snapshots.endpoints(open.workloadId);
    let skipped = false;
    if (open.source instanceof PlanSource) skipped = plan !== undefined && open.source.retarget(plan);
    else {
      open.source.setPlacement(this.#snapshots.placementOfPod(pod));
      skipped = endpoints !== undefined && open.source.retarget(endpoints);
    }
    if (skipped) this.#options.metrics?.coalesced.inc({ stream: open.kind });
    open.stream.pump();
  }

  async #recheck(open: OpenStream): Promise<void> {
    let workload: CompiledWorkload | undefined;
    try {
      workload = await this.#options.workloadOfPod(open.pod);
    } catch (error) {
      // Not knowing is no reason to end anything.
      this.#options.log.debug({ err: error }, 'the workload of a pod could not be found out');
      return;
    }
    if (open.over) return;
    if (!workload) {
      this.#end(open, 'PodGone');
      this.#sessions.gone(open.pod);
      this.#changed();
    } else if (workload.id !== open.workloadId) this.#end(open, 'WorkloadChanged');
  }

  #beat(open: OpenStream): void {
    if (open.stream.blockedForMs() < SLOW_READER_MS) {
      open.stream.heartbeat();
      return;
    }
    const pod = `${open.pod.namespace}/${open.pod.name}`;
    this.#options.log.warn({ pod, stream: open.kind }, 'a sidecar does not read its stream and is cut off');
    this.#remove(open, 'SlowReader');
    open.stream.cut();
  }

  #end(open: OpenStream, reason: EndReason): void {
    if (open.over) return;
    this.#remove(open, reason);
    // Whoever opens streams and reads none would have as many of them held as it opens within the time for the last frame.
    if (reason === 'Replaced' && open.stream.isBlocked) {
      open.stream.cut();
      return;
    }
    open.stream.end(reason);
    open.cancelCut = this.#options.clock.after(END_WITHIN_MS, () => open.stream.cut());
  }

  #remove(open: OpenStream, reason: EndReason | 'Closed' | 'SlowReader'): void {
    if (open.over) return;
    open.over = true;
    for (const cancel of open.cancelTimers) cancel();
    this.#streams.delete(open);
    const key = `${open.kind} ${open.pod.uid}`;
    if (this.#byPod.get(key) === open) this.#byPod.delete(key);
    this.#sessions.closed(open.pod, open.kind, this.#options.clock.monotonicMs());
    this.#options.metrics?.streamsOpen.dec({ stream: open.kind });
    this.#options.metrics?.streamsEnded.inc({ stream: open.kind, reason });
  }

  #endAt(open: OpenStream, unixMs: number): void {
    if (unixMs === Number.POSITIVE_INFINITY) return;
    const leftMs = unixMs - this.#options.clock.unixMs();
    if (leftMs <= 0) this.#end(open, 'TokenExpired');
    else this.#after(open, Math.min(leftMs, MAX_TIMER_MS), () => this.#endAt(open, unixMs));
  }

  #every(open: OpenStream, delayMs: number, callback: () => void): void {
    this.#after(open, delayMs, () => {
      callback();
      if (!open.over) this.#every(open, delayMs, callback);
    });
  }

  #after(open: OpenStream, delayMs: number, callback: () => void): void {
    const cancel = this.#options.clock.after(delayMs, () => {
      open.cancelTimers.delete(cancel);
      callback();
    });
    open.cancelTimers.add(cancel);
  }

  #observeApplied({ plan, endpoints, pod }: Admitted, report: AcknowledgementReport, nowMs: number): void {
    const current = report.stream === 'plan' ? plan : endpoints;
    const open = this.#byPod.get(`${report.stream} ${pod.uid}`);
    if (!open || current.version !== report.version || !open.stream.wasOpenAt(current.publishedAtMs)) return;
    const seconds = Math.max(0, nowMs - current.publishedAtMs) / 1000;
    this.#options.metrics?.appliedSeconds.observe({ stream: report.stream }, seconds);
  }

  #trustChanged(): void {
    const bundle = this.#options.trust?.trustBundle();
    if (bundle === undefined) return;
    for (const open of this.#streams) {
      if (!(open.source instanceof PlanSource)) continue;
      open.source.setTrust(bundle);
      open.stream.pump();
    }
  }

  #scheduleExpiry(): void {
    this.#cancelExpiry = this.#options.clock.after(HEARTBEAT_INTERVAL_MS, () => {
      if (this.#sessions.expire(this.#options.clock.monotonicMs())) this.#changed();
      if (!this.#closed) this.#scheduleExpiry();
    });
  }

  #changed(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        this.#options.log.error({ err: error }, 'a listener for acknowledgements failed');
      }
    }
  }
}
