// Measures what the load shedder decides on, ten times a second while there is work and once a second while there is none.
//
// No timer runs inside a round of the event loop, and one round goes on for as long as enough connections are ready (libuv asks the kernel up to 48 times for
// 1,024 of them): with a few thousand callers that is seconds. So requests look as well, when a look is overdue.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { type LoadShedder, SHED_LEVEL_NAMES } from '../policies/load-shedder.ts';
import type { MemoryReader } from './cgroup-memory.ts';

export const SAMPLE_INTERVAL_MS = 100;
export const IDLE_INTERVAL_MS = 1_000;
/** Memory rises over seconds; to ask the kernel costs four files. */
const MEMORY_INTERVAL_MS = 500;

/** What the event loop did since the last look. */
export interface LoopUse {
  /** Share of the time in which it worked. */
  utilization: number;
  /** Mean length of its rounds without their rest, milliseconds: so long does what becomes ready wait for its turn. */
  roundMs: number;
}

/**
 * Looks at the event loop of this thread. A timer that comes late would not do: where the rounds are longer than what it was set to, it comes
 * with the next one, late by anything between nothing and a round.
 */
export function createLoopReader(): () => LoopUse {
  let before = performance.eventLoopUtilization();
  let roundsBefore = performance.nodeTiming.uvMetricsInfo.loopCount;
  return () => {
    const now = performance.eventLoopUtilization();
    const rounds = performance.nodeTiming.uvMetricsInfo.loopCount;
    const { active, utilization } = performance.eventLoopUtilization(now, before);
    const roundMs = active / Math.max(1, rounds - roundsBefore);
    before = now;
    roundsBefore = rounds;
    return { utilization, roundMs };
  };
}

export interface LoadSamplerOptions {
  shedder: LoadShedder;
  /** Null: no limit is known. */
  readMemory: MemoryReader | null;
  readLoop: () => LoopUse;
  /** Whether anything is being done or was asked since the last call. */
  busy: () => boolean;
  clock: Clock;
  log: Logger;
}

export class LoadSampler {
  readonly #options: LoadSamplerOptions;
  #cancel: (() => void) | null = null;
  #memoryAtMs = Number.NEGATIVE_INFINITY;
  #memoryShare = 0;
  #loopDelayMs = 0;
  /** When a request looked last. */
  #requestedAtMs = Number.NEGATIVE_INFINITY;
  /** From then on the next one does. */
  #overdueMs = Number.POSITIVE_INFINITY;
  #told = 0;

  constructor(options: LoadSamplerOptions) {
    this.#options = options;
  }

  /** Share of the memory limit in use at the last look; 0 where there is no limit. */
  get memoryShare(): number {
    return this.#memoryShare;
  }

  /** Mean length of the rounds of the event loop before the last look, milliseconds. */
  get loopDelayMs(): number {
    return this.#loopDelayMs;
  }

  start(): void {
    this.#options.readLoop();
    this.#schedule();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#overdueMs = Number.POSITIVE_INFINITY;
  }

  /** To be called with each request: looks where the timer could not. */
  requested(nowMs: number): void {
    if (nowMs < this.#overdueMs) return;
    this.#look(nowMs);
    this.#requestedAtMs = nowMs;
    this.#overdueMs = nowMs + SAMPLE_INTERVAL_MS;
  }

  #schedule(): void {
    const { clock, busy, shedder } = this.#options;
    const nowMs = clock.monotonicMs();
    // What is shed now was decided under a load that may be over: who comes next is not to pay for it.
    const intervalMs = busy() || shedder.share > 0 ? SAMPLE_INTERVAL_MS : IDLE_INTERVAL_MS;
    this.#overdueMs = nowMs + intervalMs + SAMPLE_INTERVAL_MS;
    this.#cancel = clock.after(intervalMs, () => {
      const dueMs = clock.monotonicMs();
      // The rest of a round in which requests looked is no look of its own.
      if (dueMs - this.#requestedAtMs >= SAMPLE_INTERVAL_MS) this.#look(dueMs);
      this.#schedule();
    });
  }

  #look(nowMs: number): void {
    const { readLoop, shedder } = this.#options;
    const { utilization, roundMs } = readLoop();
    this.#loopDelayMs = roundMs;
    if (nowMs - this.#memoryAtMs >= MEMORY_INTERVAL_MS) {
      this.#memoryAtMs = nowMs;
      this.#memoryShare = this.#readMemoryShare();
    }
    shedder.observe({
      memoryShare: this.#memoryShare,
      loopDelayMs: roundMs,
      loopUtilization: utilization,
    });
    this.#tell();
  }

  #readMemoryShare(): number {
    try {
      const use = this.#options.readMemory?.() ?? null;
      return use === null ? 0 : use.usedBytes / use.limitBytes;
    } catch {
      // A file of the kernel that cannot be read for once (no descriptor is left, say) says nothing new.
      return this.#memoryShare;
    }
  }

  #tell(): void {
    const { shedder, log } = this.#options;
    const { level } = shedder;
    if (level === this.#told) return;
    const facts = { memoryPercent: Math.round(this.#memoryShare * 100), level: SHED_LEVEL_NAMES[level] };
    if (level > this.#told) log.warn(facts, 'the memory of this sidecar is almost used up: it sheds load');
    else log.info(facts, 'the memory of this sidecar is freed: it sheds less load');
    this.#told = level;
  }
}
