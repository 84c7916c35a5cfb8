// What the sidecar does when it is itself at its limits: which work it refuses, from what is measured a few times a second.
//
// Memory is a level that only ends in being killed, and with the process everything of the application that is under way. So as it
// rises, ever more is done, in the order of what it costs the application (the order and the shares are Envoy's overload manager's):
//   92 %  connections are not kept: each holds buffers while it is idle
//   95 %  requests are refused before anything is done for them; one at a time still passes, so that there is always progress
//   98 %  new connections are refused
//
// A busy event loop keeps everything waiting, whoever it is for. Refusing a share of the requests brings the delay back; refusing all of
// them would make the load come and go in waves. The share grows while the delay lasts and shrinks when it is over, as the drop rate of
// a queue with active management does (CoDel, RFC 8289: what counts is a delay that stands, not one that passes). Connections are kept: a
// new one costs more than a request.
//
// A refusal costs nearly half of what serving costs, and who is refused and asks again at once, as closed loops and retries without a pause do, is
// refused again: under many callers little is left but refusing. So who was refused for the sake of the loop is not heard again at once: its
// connection is held back, for less than it was told to stay away, and whoever keeps to that notices nothing. Where so many are refused
// that it costs too much nevertheless, they are told a longer time.
//
// A pause, of the garbage collector or of the whole process, is one late measurement, however long it was. Three in a row have to be late, and
// the loop has to have had no rest in them: a loop that waits for a processor which others use up is not its own load.
export interface LoadSample {
  /** Share of the memory limit that is in use; 0 where there is no limit. */
  memoryShare: number;
  /** How long what becomes ready waits for the event loop, milliseconds: the mean length of its rounds since the last sample. */
  loopDelayMs: number;
  /** Share of the time since the last sample in which the event loop worked. */
  loopUtilization: number;
}

/** What is done; each level does what those before it do. */
export const ShedLevel = { None: 0, NoKeepAlive: 1, Requests: 2, Connections: 3 } as const;

/** As metrics and the log name them; the numbers of `ShedLevel`. */
export const SHED_LEVEL_NAMES = ['none', 'no-keep-alive', 'requests', 'connections'] as const;

/** Why a request is refused; the numbers are slots of a metric. */
export const ShedReason = { None: -1, Memory: 0, EventLoop: 1 } as const;
export const SHED_REASONS = ['memory', 'event-loop'] as const;

interface Threshold {
  readonly above: number;
  /** It is left again only below this, so that it does not flap. */
  readonly below: number;
}

export const MEMORY_LEVELS: readonly Threshold[] = [
  { above: 0.92, below: 0.88 },
  { above: 0.95, below: 0.92 },
  { above: 0.98, below: 0.95 },
];
export const LOOP_DELAY_MS = 50;
/** From here on the delay counts as over. */
export const LOOP_DELAY_OVER_MS = 25;
const BUSY_UTILIZATION = 0.9;
/** So many samples in a row decide. */
const LASTING_SAMPLES = 3;
/** Of the requests that pass now, so many more are refused with each late sample. */
const SHARE_STEP = 0.1;
const SHARE_DECAY = 0.05;
const FAST_FALL = 0.85;
/** What those that are refused are told: the sidecar is over it in seconds, or another pod's is not at its limits. */
export const SHED_RETRY_AFTER_MS = 1_000;
/** The most that they are told. */
export const MAX_SHED_RETRY_AFTER_MS = 4_000;
/** Of the time of the loop a tenth, about, goes into refusing then: more is told above, less below half of it. */
const COSTLY_SHARE = 0.2;
const RETRY_AFTER_GROWTH = 1.1;
/** Something always passes, or nothing would be learnt. */
const MAX_SHARE = 0.95;

export class LoadShedder {
  #level: number = ShedLevel.None;
  /** By level: samples in a row above its threshold. */
  readonly #above = new Uint32Array(MEMORY_LEVELS.length);
  #late = 0;
  #lastDelayMs = 0;
  #share = 0;
  #retryAfterMs = SHED_RETRY_AFTER_MS;
  /** Requests owed to the share; one is refused when it is a whole one. */
  #owed = 0;

  /** A `ShedLevel`, by memory. */
  get level(): number {
    return this.#level;
  }

  /** Share of the requests that is refused because the event loop is late. */
  get share(): number {
    return this.#share;
  }

  /** When those that are refused may come back, milliseconds, from 1,000 to 4,000. */
  get retryAfterMs(): number {
    return this.#retryAfterMs;
  }

  get keepsConnections(): boolean {
    return this.#level < ShedLevel.NoKeepAlive;
  }

  get acceptsConnections(): boolean {
    return this.#level < ShedLevel.Connections;
  }

  /** To be called at equal intervals of about 100 ms. */
  observe(sample: LoadSample): void {
    MEMORY_LEVELS.forEach(({ above, below }, index) => {
      this.#above[index] = sample.memoryShare > above ? (this.#above[index] ?? 0) + 1 : 0;
      if ((this.#above[index] ?? 0) >= LASTING_SAMPLES) this.#level = Math.max(this.#level, index + 1);
      else if (sample.memoryShare < below) this.#level = Math.min(this.#level, index);
    });
    const late = sample.loopDelayMs > LOOP_DELAY_MS && sample.loopUtilization > BUSY_UTILIZATION;
    this.#late = late ? this.#late + 1 : 0;
    // A delay that falls fast enough is worked off with what is refused now.
    const grows = sample.loopDelayMs > this.#lastDelayMs * FAST_FALL;
    this.#lastDelayMs = sample.loopDelayMs;
    if (this.#late >= LASTING_SAMPLES && grows)
      this.#share = Math.min(MAX_SHARE, this.#share + (1 - this.#share) * SHARE_STEP);
    else if (sample.loopDelayMs < LOOP_DELAY_OVER_MS) {
      // A loop that rests could have served some of those that were refused.
      const kept = sample.loopUtilization > BUSY_UTILIZATION ? this.#share : this.#share / 2;
      this.#share = Math.max(0, kept - SHARE_DECAY);
    }
    if (this.#share === 0) this.#owed = 0;
    if (this.#share > COSTLY_SHARE)
      this.#retryAfterMs = Math.min(MAX_SHED_RETRY_AFTER_MS, this.#retryAfterMs * RETRY_AFTER_GROWTH);
    else if (this.#share < COSTLY_SHARE / 2)
      this.#retryAfterMs = Math.max(SHED_RETRY_AFTER_MS, this.#retryAfterMs / RETRY_AFTER_GROWTH);
  }

  /** A `ShedReason`: whether a new request is refused, and for which reason. `active`: requests in progress. */
  judge(active: number): number {
    if (this.#level >= ShedLevel.Requests && active > 0) return ShedReason.Memory;
    this.#owed += this.#share;
    if (this.#owed < 1) return ShedReason.None;
    this.#owed -= 1;
    return ShedReason.EventLoop;
  }

  /**
   * So long a connection is held back behind a refusal for this `ShedReason`, milliseconds; 0: not at all. `chance`, from 0 to below 1, spreads
   * those that were refused together.
   */
  holdBackMs(reason: number, chance: number): number {
    // What memory is short of are things that are held.
    return reason === ShedReason.EventLoop ? (this.#retryAfterMs * (1 + chance)) / 2 : 0;
  }
}
