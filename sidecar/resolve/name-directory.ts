// The names that this sidecar must know the addresses of, kept fresh: asks for each when its state says so, a bounded number at a time.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { DnsQuery } from './dns-query.ts';
import { NameState } from './name-state.ts';

/** What the data path asks of it. */
export interface Names {
  /** Exactly these names are kept fresh from now on. */
  watch(names: ReadonlySet<string>): void;
  /** Null: not known. Empty: known to have none. */
  addresses(name: string): readonly string[] | null;
  /** Addresses of any name, waited for where they are not known yet; empty where there are none to be had. */
  find(name: string): Promise<readonly string[]>;
  /** Called with a watched name whose addresses are others than before. */
  onChange(listener: (name: string) => void): void;
  view(): NameView[];
}

export interface NameView {
  name: string;
  /** Null: not known. */
  addresses: readonly string[] | null;
  /** Since the last answer with addresses; null where there was none. */
  ageMs: number | null;
  /** What the last query failed of; empty where it did not. */
  problem: string;
}

export interface NameDirectoryOptions {
  query: DnsQuery;
  clock: Clock;
  random: Random;
  log: Logger;
  countResolution: (result: 'addresses' | 'no-address' | 'failure') => void;
}

const CONCURRENT_QUERIES = 16;
/** So long the answer for a name that is not watched is good for everybody who asks. */
const LOOKUP_HOLDS_MS = 1_000;

interface Watched {
  readonly name: string;
  readonly state: NameState;
  cancel(): void;
  waiters: (() => void)[];
}

export class NameDirectory implements Names {
  readonly #options: NameDirectoryOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #listeners: ((name: string) => void)[] = [];
  readonly #due: Watched[] = [];
  readonly #lookups = new Map<string, Promise<readonly string[]>>();
  #asking = 0;

  constructor(options: NameDirectoryOptions) {
    this.#options = options;
  }

  watch(names: ReadonlySet<string>): void {
    for (const [name, watched] of this.#watched) {
      if (names.has(name)) continue;
      this.#watched.delete(name);
      watched.cancel();
      wake(watched);
    }
    const { clock, random } = this.#options;
    for (const name of names) {
      if (this.#watched.has(name)) continue;
      const state = new NameState(clock.monotonicMs(), random);
      const watched: Watched = { name, state, cancel: () => {}, waiters: [] };
      this.#watched.set(name, watched);
      this.#due.push(watched);
    }
    this.#askNext();
  }

  addresses(name: string): readonly string[] | null {
    return this.#watched.get(name)?.state.addresses ?? null;
  }

  async find(name: string): Promise<readonly string[]> {
    const watched = this.#watched.get(name);
    if (!watched) {
      return this.#lookUp(name);
    }
    if (watched.state.addresses === null) await new Promise<void>((resolve) => watched.waiters.push(resolve));
    return watched.state.addresses ?? [];
  }

  /** Where nothing can be reached, every connection asks: they share one answer. */
  #lookUp(name: string): Promise<readonly string[]> {
    const { query, countResolution, clock } = this.#options;
    const present = this.#lookups.get(name);
    if (present) return present;
    const lookup = (async () => {
      const answer = await query(name, true);
      countResolution(answer.kind);
      return answer.kind === 'addresses' ? answer.addresses : [];
    })();
    this.#lookups.set(name, lookup);
    void lookup.then(() => clock.after(LOOKUP_HOLDS_MS, () => this.#lookups.delete(name)));
    return lookup;
  }

  onChange(listener: (name: string) => void): void {
    this.#listeners.push(listener);
  }

  view(): NameView[] {
    const nowMs = this.#options.clock.monotonicMs();
    return Array.from(this.#watched.values(), ({ name, state }) => ({
      name,
      addresses: state.addresses,
      ageMs: Number.isFinite(state.confirmedAtMs) ? nowMs - state.confirmedAtMs : null,
      problem: state.problem,
    }));
  }

  close(): void {
    this.watch(new Set());
    this.#due.length = 0;
  }

  #askNext(): void {
    while (this.#asking < CONCURRENT_QUERIES) {
      const next = this.#due.shift();
      if (!next) return;
      if (this.#watched.get(next.name) !== next) continue;
      this.#asking++;
      void this.#ask(next).finally(() => {
        this.#asking--;
        this.#askNext();
      });
    }
  }

  async #ask(watched: Watched): Promise<void> {
    const { query, clock, countResolution } = this.#options;
    const { name, state } = watched;
    const answer = await query(name, state.addresses === null);
    countResolution(answer.kind);
    if (this.#watched.get(name) !== watched) return;
    const nowMs = clock.monotonicMs();
    const problemBefore = state.problem;
    const changed = state.take(answer, nowMs);
    this.#report(watched, problemBefore);
    watched.cancel = clock.after(state.nextAtMs - nowMs, () => {
      this.#due.push(watched);
      this.#askNext();
    });
    wake(watched);
    if (changed) for (const listener of this.#listeners) listener(name);
  }

  /** Once when it begins to fail, and once when it works again. */
  #report({ name, state }: Watched, problemBefore: string): void {
    const { log } = this.#options;
    if (state.problem === '' && problemBefore !== '') log.info({ host: name }, 'DNS answers again');
    if (state.problem === '' || problemBefore !== '') return;
    const kept = state.addresses?.length ?? 0;
    log.warn(
      { host: name, problem: state.problem, addresses: kept },
      kept > 0
        ? 'no address from DNS: the last ones stay in use'
        : 'no address from DNS: the host cannot be called before there is one',
    );
  }
}

function wake(watched: Watched): void {
  const { waiters } = watched;
  watched.waiters = [];
  for (const waiter of waiters) waiter();
}
