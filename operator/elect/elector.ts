// Carries out an election: asks the API server what the state machine wants to know, and tells those who write when they may and when they
// must stop.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { type Fence, NotLeadingError } from '../watch/fence.ts';
import { Election, type ElectionTimes, type Role } from './election.ts';
import type { LeaseStore } from './lease-store.ts';

/** Whether this replica leads, for those who write for all. */
export interface Leadership extends Fence {
  readonly role: Role;
  /** Called after each change of the role. The returned function removes the listener. */
  onChange(listener: () => void): () => void;
}

/** Of an operator that is alone: it has nobody to agree with. */
export const ALWAYS_LEADING: Leadership = {
  role: 'Leading',
  leftMs: () => Number.POSITIVE_INFINITY,
  signal: new AbortController().signal,
  onChange: () => () => undefined,
};

export interface ElectorOptions {
  store: LeaseStore;
  /** For logs and metrics: the name of the Lease. */
  leaseName: string;
  /** Of this process, never used by another one. */
  identity: string;
  times: ElectionTimes;
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: OperatorMetrics;
}

export class Elector implements Leadership {
  readonly name = 'election';
  readonly #options: ElectorOptions;
  readonly #election: Election;
  readonly #listeners = new Set<() => void>();
  readonly #stopping = new AbortController();
  #term = ended();
  #role: Role = 'Following';
  #toldHolder = '';
  #isFailing = false;
  #cancelDeadline: () => void = () => undefined;
  #running: Promise<void> | undefined;

  constructor(options: ElectorOptions) {
    this.#options = options;
    this.#election = new Election(options.identity, options.times, options.random);
    options.metrics.leader.set({ name: options.leaseName }, 0);
  }

  get role(): Role {
    return this.#election.role(this.#options.clock.monotonicMs());
  }

  /** Read from the clock each time: a process that was stopped knows it before any timer has fired. */
  leftMs(): number {
    return this.#election.leftMs(this.#options.clock.monotonicMs());
  }

  get signal(): AbortSignal {
    return this.#term.signal;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** To be called when everything that writes has ended: gives the Lease back, so that another replica need not wait for its end. */
  async stop(): Promise<void> {
    const { clock, store, log, leaseName } = this.#options;
    this.#stopping.abort(new Error('the election ends'));
    await this.#running;
    const command = this.#election.release(clock.unixMs());
    this.#settle();
    if (!command) return;
    const answer = await store.ask(command);
    if (answer.kind === 'lease') log.info({ lease: leaseName }, 'the lead was given back');
    else
      log.warn({ lease: leaseName, ...answer }, 'the lead could not be given back; another replica waits for its end');
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stopping.signal.aborted && this.role !== 'Lost') {
      await this.#round();
      this.#settle();
      await clock.sleep(this.#election.delayMs(), this.#stopping.signal).catch(() => undefined);
    }
  }

  async #round(): Promise<void> {
    const { clock, store } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const command = this.#election.next(clock.monotonicMs(), clock.unixMs());
      if (!command) return;
      const sentMs = clock.monotonicMs();
      const answer = await store.ask(command);
      this.#election.answered(command, answer, sentMs, clock.monotonicMs());
      this.#tellFailure(answer.kind === 'failed' ? (answer.problem ?? '') : undefined);
      this.#settle();
    }
  }

  /** Brings everybody to know the role of now. */
  #settle(): void {
    const { clock, log, metrics, leaseName, identity } = this.#options;
    const { role } = this;
    this.#cancelDeadline();
    if (role === 'Leading') this.#cancelDeadline = clock.after(Math.ceil(this.leftMs()), () => this.#settle());
    const { holder } = this.#election;
    if (holder !== this.#toldHolder && holder !== '' && holder !== identity) {
      log.info({ lease: leaseName, holder }, 'another replica leads');
    }
    this.#toldHolder = holder;
    if (role === this.#role) return;
    this.#role = role;
    metrics.leader.set({ name: leaseName }, role === 'Leading' ? 1 : 0);
    if (role === 'Leading') this.#term = new AbortController();
    else this.#term.abort(new NotLeadingError('this replica does not lead any more'));
    this.#tell(role, holder);
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        log.error({ err: error }, 'a listener for the lead failed');
      }
    }
  }

  #tell(role: Role, holder: string): void {
    const { log, leaseName: lease } = this.#options;
    if (role === 'Leading') log.info({ lease }, 'this replica leads');
    else if (role === 'Suspended') {
      log.warn({ lease }, 'the Lease could not be renewed in time; nothing is written until it is');
    } else if (role === 'Lost') log.error({ lease, holder }, 'the lead was lost to another replica');
  }

  #tellFailure(problem: string | undefined): void {
    const { log, leaseName: lease } = this.#options;
    if (problem !== undefined && !this.#isFailing) log.warn({ lease, problem }, 'the Lease cannot be read or written');
    this.#isFailing = problem !== undefined;
  }
}

function ended(): AbortController {
  const controller = new AbortController();
  controller.abort(new NotLeadingError('this replica does not lead'));
  return controller;
}
