// Measures what the load shedder decides on, ten times a second while there is work and once a second while there is none.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { type LoadShedder, SHED_LEVEL_NAMES } from '../policies/load-shedder.ts';
import type { MemoryReader } from './cgroup-memory.ts';

export const SAMPLE_INTERVAL_MS = 100;
export const IDLE_INTERVAL_MS = 1_000;
/** Memory rises over seconds; to ask the kernel costs four files. */
const MEMORY_INTERVAL_MS = 500;

/** The share of the time since its last call in which the event loop of this thread worked. */
export function createLoopUtilization(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}

export interface LoadSamplerOptions {
  shedder: LoadShedder;
  /** Null: no limit is known. */
  readMemory: MemoryReader | null;
  /** Share of the time since the last call in which the event loop worked. */
  loopUtilization: () => number;
  /** Whether anything is being done or was asked since the last call. */
  busy: () => boolean;
  clock: Clock;
  log: Logger;
}

export class LoadSampler {
  readonly #options: LoadSamplerOptions;
  #cancel: (() => void) | null = null;
  #dueMs = 0;
  #memoryAtMs = Number.NEGATIVE_INFINITY;
  #memoryShare = 0;
  #loopDelayMs = 0;
  #told = 0;

  constructor(options: LoadSamplerOptions) {
    this.#options = options;
  }

  /** Share of the memory limit in use at the last look; 0 where there is no limit. */
  get memoryShare(): number {
    return this.#memoryShare;
  }

  /** How late the event loop was at the last look, milliseconds. */
  get loopDelayMs(): number {
    return this.#loopDelayMs;
  }

  start(): void {
    this.#options.loopUtilization();
    this.#schedule();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #schedule(): void {
    const { clock, busy } = this.#options;
    const intervalMs = busy() ? SAMPLE_INTERVAL_MS : IDLE_INTERVAL_MS;
    this.#dueMs = clock.monotonicMs() + intervalMs;
    this.#cancel = clock.after(intervalMs, () => {
      this.#sample();
      this.#schedule();
    });
  }

  #sample(): void {
    const { clock, shedder, loopUtilization } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#loopDelayMs = Math.max(0, nowMs - this.#dueMs);
    if (nowMs - this.#memoryAtMs >= MEMORY_INTERVAL_MS) {
      this.#memoryAtMs = nowMs;
      this.#memoryShare = this.#readMemoryShare();
    }
    shedder.observe({
      memoryShare: this.#memoryShare,
      loopDelayMs: this.#loopDelayMs,
      loopUtilization: loopUtilization(),
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
