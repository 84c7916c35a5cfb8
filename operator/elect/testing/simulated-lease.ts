// For tests: several processes, each with a clock of its own and now and then stopped, and an API server that holds one Lease, answers late,
// and loses requests and answers. Nothing is real; a minute takes a millisecond, and a seed repeats it.
import type { Random } from '../../../runtime/random.ts';
import { type Answer, type Command, Election, type ElectionTimes, type StoredLease } from '../election.ts';

export interface Faults {
  /** Of each request and of each answer. */
  maxDelayMs: number;
  lossPercent: number;
  /** Of each process, per second of its life. */
  pausePercent: number;
  maxPauseMs: number;
  /** Somebody deletes the Lease, per second; not twice within a minute. */
  deletePercent: number;
  /** Clocks run this much faster or slower at most. */
  driftPercent: number;
}

interface Process {
  name: string;
  election: Election;
  /** Its monotonic clock shows `offset + rate · t`. */
  offset: number;
  rate: number;
  wallOffset: number;
  pausedUntil: number;
  stopped: boolean;
  /** What happened while it was paused. */
  waiting: (() => void)[];
}

/** The answer to a call is waited for this long. */
const CALL_TIMEOUT_MS = 3_000;

export class LeaseSimulation {
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #times: ElectionTimes;
  readonly #queue: { at: number; run: () => void }[] = [];
  readonly #processes: Process[] = [];
  /** As every installation begins: a Lease that nobody holds. */
  #lease: StoredLease | undefined = {
    record: { holder: '', durationMs: 0, acquiredUnixMs: 0, renewedUnixMs: 0, transitions: 0 },
    revision: '1',
  };
  #revision = 1;
  #started = 0;
  now = 0;
  /** Names of those that may write, at each moment when something happens; more than one is what must not be. */
  readonly violations: string[] = [];
  /** Who led, in order. */
  readonly leaders: string[] = [];
  /** Milliseconds in which nobody could write, the longest run. */
  longestGapMs = 0;
  #ledUntil = 0;
  #deletedAt = Number.NEGATIVE_INFINITY;

  constructor(random: Random, times: ElectionTimes, faults: Faults) {
    this.#random = random;
    this.#times = times;
    this.#faults = faults;
  }

  start(): string {
    this.#started += 1;
    const drift = this.#faults.driftPercent / 100;
    const process: Process = {
      name: `operator-${this.#started}`,
      election: new Election(`operator-${this.#started}`, this.#times, this.#random),
      offset: this.#random() * 1e9,
      rate: 1 + (this.#random() * 2 - 1) * drift,
      wallOffset: this.#random() * 1e10,
      pausedUntil: 0,
      stopped: false,
      waiting: [],
    };
    this.#processes.push(process);
    this.#round(process);
    this.#maybePause(process);
    return process.name;
  }

  /** As kill -9. */
  kill(name: string): void {
    this.#find(name).stopped = true;
  }

  /** As SIGTERM: what it held is given back. */
  stop(name: string): void {
    const process = this.#find(name);
    process.stopped = true;
    const command = process.election.release(this.#wall(process));
    if (command) this.#later(this.#delay(), () => this.#execute(command));
  }

  get leader(): string | undefined {
    return this.#writers()[0]?.name;
  }

  get lease(): StoredLease | undefined {
    return this.#lease;
  }

  advance(ms: number): void {
    const until = this.now + ms;
    for (let next = this.#queue[0]; next !== undefined && next.at <= until; next = this.#queue[0]) {
      this.#queue.shift();
      // Between two events time passes too: a right that ended in between is not one now.
      this.now = next.at;
      next.run();
      this.#look();
    }
    this.now = until;
    this.#look();
  }

  #find(name: string): Process {
    const process = this.#processes.find((one) => one.name === name);
    if (!process) throw new Error(`there is no process ${name}`);
    return process;
  }

  #writers(): Process[] {
    return this.#processes.filter((one) => !one.stopped && one.election.leftMs(this.#mono(one)) > 0);
  }

  #look(): void {
    const writers = this.#writers();
    if (writers.length > 1) this.violations.push(`${this.now}: ${writers.map(({ name }) => name).join(' and ')}`);
    const [leader] = writers;
    if (leader === undefined) return;
    this.longestGapMs = Math.max(this.longestGapMs, this.now - this.#ledUntil);
    this.#ledUntil = this.now + leader.election.leftMs(this.#mono(leader)) / leader.rate;
    if (this.leaders.at(-1) !== leader.name) this.leaders.push(leader.name);
  }

  #mono(process: Process): number {
    return process.offset + process.rate * this.now;
  }

  #wall(process: Process): number {
    return Math.round(process.wallOffset + process.rate * this.now);
  }

  #later(delayMs: number, run: () => void): void {
    const at = this.now + delayMs;
    let index = this.#queue.length;
    while (index > 0 && (this.#queue[index - 1]?.at ?? 0) > at) index -= 1;
    this.#queue.splice(index, 0, { at, run });
  }

  /** Runs in the process: not while it is paused, never after its end. */
  #in(process: Process, run: () => void): void {
    if (process.stopped) return;
    if (process.pausedUntil > this.now) process.waiting.push(run);
    else run();
  }

  #maybePause(process: Process): void {
    this.#later(1_000, () => {
      if (process.stopped) return;
      if (process.pausedUntil <= this.now && this.#chance(this.#faults.pausePercent)) {
        const pauseMs = this.#random() * this.#faults.maxPauseMs;
        process.pausedUntil = this.now + pauseMs;
        this.#later(pauseMs, () => process.waiting.splice(0).forEach((run) => this.#in(process, run)));
      }
      if (this.now - this.#deletedAt > 60_000 && this.#chance(this.#faults.deletePercent)) {
        this.#deletedAt = this.now;
        this.#lease = undefined;
      }
      this.#maybePause(process);
    });
  }

  #round(process: Process): void {
    const command = process.election.next(this.#mono(process), this.#wall(process));
    if (command) this.#call(process, command);
    else this.#later(process.election.delayMs() / process.rate, () => this.#in(process, () => this.#round(process)));
  }

  #call(process: Process, command: Command): void {
    const sentMs = this.#mono(process);
    let isAnswered = false;
    const answer = (answered: Answer) =>
      this.#in(process, () => {
        if (isAnswered) return;
        isAnswered = true;
        process.election.answered(command, answered, sentMs, this.#mono(process));
        this.#round(process);
      });
    this.#later(CALL_TIMEOUT_MS / process.rate, () => answer({ kind: 'failed' }));
    if (this.#chance(this.#faults.lossPercent)) return;
    this.#later(this.#delay(), () => {
      const result = this.#execute(command);
      if (this.#chance(this.#faults.lossPercent)) return;
      this.#later(this.#delay(), () => answer(result));
    });
  }

  /** What the API server does, one after the other. */
  #execute(command: Command): Answer {
    if (command.kind === 'read') return this.#lease ? { kind: 'lease', lease: this.#lease } : { kind: 'absent' };
    if (command.kind === 'create' && this.#lease) return { kind: 'conflict' };
    if (command.kind === 'update' && !this.#lease) return { kind: 'absent' };
    if (command.kind === 'update' && this.#lease?.revision !== command.revision) return { kind: 'conflict' };
    this.#lease = { record: command.record, revision: String(++this.#revision) };
    return { kind: 'lease', lease: this.#lease };
  }

  #delay(): number {
    // Mostly quick, now and then very late.
    return this.#chance(20) ? this.#random() * this.#faults.maxDelayMs : this.#random() * 20;
  }

  #chance(percent: number): boolean {
    return this.#random() * 100 < percent;
  }
}
