// The last plan, endpoints and CA bundle, kept in the state directory, so that a restarted container enforces what it enforced before even
// when there is no operator to ask. A file that cannot be read or written is logged and lived without: memory is what counts.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EndpointSet } from '../../plan/endpoints.ts';
import { PLAN_LIMITS, type WorkloadPlan } from '../../plan/plan.ts';
import { decodeEndpointsFrame, decodePlanFrame, encodeFrame } from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { readStateFile, writeStateFile } from './state-file.ts';
import { parseBundle } from './trust.ts';

export interface LastKnownGood {
  plan: { version: string; plan: WorkloadPlan; savedAtUnixMs: number } | null;
  endpoints: { version: string; sets: EndpointSet[]; savedAtUnixMs: number } | null;
  trustBundle: string | null;
}

export type StateKind = 'plan' | 'endpoints' | 'trust';

const FILES: Record<StateKind, string> = { plan: 'plan.state', endpoints: 'endpoints.state', trust: 'trust.state' };
const MAX_BYTES = PLAN_LIMITS.frameBytes;
/** Pod churn changes endpoints all the time; the disk needs to know only now and then. */
const DELAY_MS: Record<StateKind, number> = { plan: 0, endpoints: 500, trust: 0 };
const RETRY_MS = 30_000;

export class StateDirectory {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onWriteFailure: () => void;
  /** What is to be written: made when the write begins, so that the newest goes to disk. */
  readonly #pending = new Map<StateKind, () => string>();
  readonly #timers = new Map<StateKind, () => void>();
  #writing: Promise<void> = Promise.resolve();

  constructor(directory: string, clock: Clock, log: Logger, onWriteFailure: () => void) {
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
    this.#onWriteFailure = onWriteFailure;
  }

  async read(): Promise<LastKnownGood> {
    await mkdir(this.#directory, { recursive: true }).catch((error: unknown) => {
      this.#log.error(
        { err: error, directory: this.#directory },
        'the state directory cannot be made: nothing will outlive this process',
      );
    });
    return {
      plan: await this.#read('plan', (text, savedAtUnixMs) => {
        const decoded = decodePlanFrame(text);
        if (!decoded.ok) throw new Error(decoded.message);
        if (decoded.frame.kind !== 'plan') throw new Error(`it holds a frame of kind ${decoded.frame.kind}`);
        return { version: decoded.frame.version, plan: decoded.frame.plan, savedAtUnixMs };
      }),
      endpoints: await this.#read('endpoints', (text, savedAtUnixMs) => {
        const decoded = decodeEndpointsFrame(text);
        if (!decoded.ok) throw new Error(decoded.message);
        if (decoded.frame.kind !== 'snapshot') throw new Error(`it holds a frame of kind ${decoded.frame.kind}`);
        return { version: decoded.frame.version, sets: decoded.frame.sets, savedAtUnixMs };
      }),
      trustBundle: await this.#read('trust', (text) => {
        parseBundle(text);
        return text;
      }),
    };
  }

  savePlan(line: string): void {
    this.#save('plan', () => line);
  }

  saveEndpoints(snapshot: () => { version: string; sets: EndpointSet[] }): void {
    this.#save('endpoints', () => encodeFrame({ kind: 'snapshot', ...snapshot() }));
  }

  saveTrust(bundle: string): void {
    this.#save('trust', () => bundle);
  }

  /** Writes what still waits. */
  async flush(): Promise<void> {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    for (const kind of this.#pending.keys()) this.#write(kind);
    await this.#writing;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  async #read<T>(kind: StateKind, decode: (text: string, savedAtUnixMs: number) => T): Promise<T | null> {
    const path = join(this.#directory, FILES[kind]);
    try {
      const stored = await readStateFile(path, MAX_BYTES);
      return stored === null ? null : decode(stored.text, stored.savedAtUnixMs);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error({ path, reason }, 'a state file is ignored; the operator will send what it held');
      return null;
    }
  }

  #save(kind: StateKind, text: () => string): void {
    this.#pending.set(kind, text);
    this.#schedule(kind, DELAY_MS[kind]);
  }

  #schedule(kind: StateKind, delayMs: number): void {
    if (delayMs === 0) {
      this.#timers.get(kind)?.();
      this.#timers.delete(kind);
      this.#write(kind);
    } else if (!this.#timers.has(kind)) {
      const cancel = this.#clock.after(delayMs, () => {
        this.#timers.delete(kind);
        this.#write(kind);
      });
      this.#timers.set(kind, cancel);
    }
  }

  /** One write after the other: two of one file would race for its temporary name. */
  #write(kind: StateKind): void {
    this.#writing = this.#writing.then(async () => {
      const text = this.#pending.get(kind);
      if (text === undefined) return;
      this.#pending.delete(kind);
      try {
        await writeStateFile(
          join(this.#directory, FILES[kind]),
          { text: text(), savedAtUnixMs: this.#clock.unixMs() },
          MAX_BYTES,
        );
      } catch (error) {
        this.#log.error(
          { err: error, kind },
          'the state cannot be written; a restarted sidecar would go on from an older one',
        );
        this.#onWriteFailure();
        if (!this.#pending.has(kind)) this.#pending.set(kind, text);
        this.#schedule(kind, RETRY_MS);
      }
    });
  }
}
