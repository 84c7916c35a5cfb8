// Sends to the operator what the sidecar has to tell: what was applied, which circuits are not closed, and which endpoints get no calls.
import { PLAN_LIMITS } from '../../plan/plan.ts';
import {
  type AcknowledgementReport,
  type CircuitReport,
  MAX_EXCLUSIONS,
  MAX_TLS_PROBLEMS,
  PATHS,
} from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { CircuitView, ExclusionView, OpaqueView, TlsView } from '../data-plane.ts';
import { sentenceOf } from '../tls/failures.ts';
import { OperatorError } from './operator-client.ts';
import type { Verdict } from './plan-follower.ts';
import { type ReportKind, ReportQueue } from './report-queue.ts';
import type { FailureReason } from './stream-machine.ts';

export interface ReporterOptions {
  /** `streamPath`: of the stream that the report is about. */
  post(path: string, body: unknown, streamPath: string): Promise<void>;
  circuits(): CircuitView[];
  exclusions(): ExclusionView[];
  opaque(): OpaqueView[];
  tls(): TlsView[];
  locallyDisabled(): boolean;
  clock: Clock;
  random: Random;
  log: Logger;
}

/** Circuits of one failing dependency change together; endpoints change all day and nobody waits for that answer. */
const DELAY_MS: Record<ReportKind, number> = { plan: 0, circuits: 100, endpoints: 1000 };
/** Endpoints go out and come back more often than circuits open, and go with the same report, as certificates do. */
const EXCLUSIONS_DELAY_MS = 2_000;
const BACKOFF = { initialMs: 500, maxMs: 10_000 };

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #queue: ReportQueue;
  readonly #verdicts = new Map<'plan' | 'endpoints', Verdict>();
  #cancelTimer: () => void = () => {};
  #reported: FailureReason | null = null;
  /** What the operator knows of the circuits. */
  #toldCircuits = '';
  #closed = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#queue = new ReportQueue(BACKOFF, options.random);
  }

  verdict(stream: 'plan' | 'endpoints', verdict: Verdict): void {
    this.#verdicts.set(stream, verdict);
    this.#add(stream, DELAY_MS[stream]);
  }

  circuitsChanged(): void {
    this.#add('circuits', DELAY_MS.circuits);
  }

  exclusionsChanged(): void {
    this.#add('circuits', EXCLUSIONS_DELAY_MS);
  }

  tlsChanged(): void {
    this.#add('circuits', EXCLUSIONS_DELAY_MS);
  }

  /** Numbers and switches of a plan change what there is to tell of circuits and endpoints, most of the time of none. */
  planApplied(): void {
    if (JSON.stringify(this.#circuitReport()) !== this.#toldCircuits) this.circuitsChanged();
  }

  /** The plan stream came up, perhaps to an operator that knows nothing of us. */
  operatorIsBack(): void {
    this.#queue.resume();
    this.#add('circuits', 0);
  }

  localSwitchChanged(): void {
    if (this.#verdicts.has('plan')) this.#add('plan', DELAY_MS.plan);
    this.planApplied();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
  }

  #add(kind: ReportKind, delayMs: number): void {
    this.#queue.add(kind, this.#options.clock.monotonicMs(), delayMs);
    this.#schedule();
  }

  #schedule(): void {
    this.#cancelTimer();
    const { clock } = this.#options;
    const deadlineMs = this.#queue.deadlineMs;
    if (this.#closed || deadlineMs === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = clock.after(Math.max(0, Math.ceil(deadlineMs - clock.monotonicMs())), () => {
      const kind = this.#queue.next(clock.monotonicMs());
      if (kind === null) this.#schedule();
      else void this.#send(kind);
    });
  }

  async #send(kind: ReportKind): Promise<void> {
    try {
      const report = kind === 'circuits' ? this.#circuitReport() : this.#acknowledgement(kind);
      if (report !== null) {
        const path = kind === 'circuits' ? PATHS.circuits : PATHS.acknowledgements;
        await this.#options.post(path, report, kind === 'endpoints' ? PATHS.endpoints : PATHS.plan);
      }
      if (kind === 'circuits') this.#toldCircuits = JSON.stringify(report);
      this.#queue.sent();
      this.#reported = null;
    } catch (error) {
      this.#onFailure(kind, error);
    }
    this.#schedule();
  }

  #onFailure(kind: ReportKind, error: unknown): void {
    const reason = error instanceof OperatorError ? error.reason : 'lost';
    const detail = error instanceof Error ? error.message : String(error);
    if (reason !== this.#reported)
      this.#options.log.warn({ kind, reason, detail }, 'the operator did not take a report');
    this.#reported = reason;
    // What it finds wrong in a report stays wrong: it is dropped, and the next change is told anew.
    if (reason === 'unexpected-answer') this.#queue.sent();
    else this.#queue.failed(this.#options.clock.monotonicMs());
  }

  #acknowledgement(stream: 'plan' | 'endpoints'): AcknowledgementReport | null {
    const verdict = this.#verdicts.get(stream);
    return verdict ? { stream, ...verdict, locallyDisabled: this.#options.locallyDisabled() } : null;
  }

  #circuitReport(): CircuitReport {
    const exclusions = this.#options.exclusions().slice(0, MAX_EXCLUSIONS);
    const opaque = this.#options.opaque().slice(0, PLAN_LIMITS.dependencies);
    const tls = this.#options.tls().flatMap(tlsReport);
    const open = this.#options.circuits().filter(({ state, enforced }) => state !== 'Closed' && enforced);
    return {
      circuits: open.slice(0, PLAN_LIMITS.dependencies * 4).map((circuit) => ({
        dependency: circuit.dependency,
        stateKey: circuit.stateKey,
        state: circuit.state,
        since: unixMs(circuit.sinceUnixMs),
        reason: circuit.reason.slice(0, 256),
        failingSince: circuit.failingSinceUnixMs === null ? undefined : unixMs(circuit.failingSinceUnixMs),
        nextProbe: circuit.nextProbeUnixMs === null ? undefined : unixMs(circuit.nextProbeUnixMs),
        reopenings: circuit.reopenings,
      })),
      exclusions: exclusions.length === 0 ? undefined : exclusions.map(exclusionReport),
      opaque: opaque.length === 0 ? undefined : opaque,
      tls: tls.length === 0 ? undefined : tls,
    };
  }
}

function exclusionReport(exclusion: ExclusionView): NonNullable<CircuitReport['exclusions']>[number] {
  const { sinceUnixMs, names, ...rest } = exclusion;
  return {
    ...rest,
    // To the second: what is worked out from two clocks differs by a little at each look.
    since: unixMs(sinceUnixMs / 1000) * 1000,
    names: names.map(({ endpoint, reason }) => ({ endpoint: endpoint.slice(0, 64), reason: reason.slice(0, 256) })),
  };
}

function tlsReport({ dependency, certificates, handshake }: TlsView): NonNullable<CircuitReport['tls']> {
  if (certificates.length === 0 && handshake === null) return [];
  return [
    {
      dependency,
      certificates: certificates.slice(0, MAX_TLS_PROBLEMS).map((problem) => problem.slice(0, 512)),
      handshake: handshake === null ? '' : sentenceOf(handshake),
    },
  ];
}

function unixMs(time: number): number {
  return Math.max(0, Math.round(time));
}
