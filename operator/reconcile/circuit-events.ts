// The transitions of circuits as Events of their ServiceDependency, over all sidecars: one opened where any did, is half-open where none is
// open any more, and closed where all are. A policy forces it in all of them, which the first one that says so tells.
//
// Level-triggered, as everything here: what is told is compared with what is, so that the last state is told whatever was left out before.
//  - An opening waits a moment for the sidecars that follow, and then tells their number.
//  - A circuit is told a few times at once, then once a minute. Half-open and open again leave the last of that to what counts more: that it
//    opened, and that it is closed.
//  - What an operator told before this one stands in the status, so that a restart neither tells it again nor forgets to tell the end. The
//    sidecars have time to come back before that is compared.

import { isShadowKey } from '../../plan/policies/state-key.ts';
import { type CircuitState, isForced } from '../../plan/wire.ts';
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import { qualifiedRule, shortRule } from '../status/circuits.ts';
import { type OwnObject, ownKey, type WorldSource } from '../watch/world-source.ts';
import { KINDS, noteOf, type ToldCircuit, targetOf } from './circuit-notes.ts';
import type { EventSink } from './events.ts';
import { ResetEvents } from './reset-events.ts';
import { TokenBucket } from './token-bucket.ts';

const GATHER_MS = 1_000;
const SETTLE_MS = 10_000;
const PACE = { burst: 6, intervalMs: 60_000 };
/** Tokens that half-open and open again leave. */
const RESERVE = 3;
/** What is told of a circuit whose sidecars differ: the state that comes last here. */
const RANKS: readonly CircuitState[] = ['Closed', 'HalfOpen', 'Open', 'ForcedClosed', 'ForcedOpen'];

interface Circuit extends ToldCircuit {
  state: CircuitState;
  /** When it was first seen in a state that is not told yet. */
  changedMs: MonotonicMs;
  bucket: TokenBucket;
}

export interface CircuitEventsOptions {
  source: Pick<WorldSource, 'own' | 'world'>;
  circuits: () => readonly CircuitSummary[];
  events: EventSink;
  clock: Clock;
}

export class CircuitEvents {
  readonly #options: CircuitEventsOptions;
  readonly #resets: ResetEvents;
  readonly #circuits = new Map<string, Circuit>();
  #settledMs: MonotonicMs | undefined;
  #cancelTimer: () => void = () => {};

  constructor(options: CircuitEventsOptions) {
    this.#options = options;
    this.#resets = new ResetEvents(options);
  }

  /** Compares with what was told last, and tells the difference; the rest when its time comes. */
  compare(): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#resets.compare();
    this.#settledMs ??= this.#recall(nowMs);
    this.#cancelTimer();
    if (nowMs < this.#settledMs) {
      this.#cancelTimer = this.#options.clock.after(this.#settledMs - nowMs, () => this.compare());
      return;
    }
    this.#observe(nowMs);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [key, circuit] of this.#circuits) {
      const waitMs = this.#tell(circuit, nowMs);
      if (waitMs > 0) nextMs = Math.min(nextMs, waitMs);
      const { told, state, bucket } = circuit;
      if (told === 'Closed' && state === 'Closed' && bucket.isFull(nowMs)) this.#circuits.delete(key);
    }
    if (nextMs !== Number.POSITIVE_INFINITY)
      this.#cancelTimer = this.#options.clock.after(nextMs, () => this.compare());
  }

  /** Another replica tells from now on; whoever starts again begins with the status. */
  stop(): void {
    this.#cancelTimer();
    this.#circuits.clear();
    this.#resets.stop();
    this.#settledMs = undefined;
  }

  /** Takes over what the statuses say was told; returns when that may be compared. */
  #recall(nowMs: MonotonicMs): MonotonicMs {
    const { source } = this.#options;
    for (const { metadata } of source.world().serviceDependencies) {
      const object = source.own(ownKey('ServiceDependency', metadata.namespace, metadata.name));
      for (const { dependency, rule, state } of toldCircuits(object)) {
        const dependencyId = `${metadata.namespace}/${metadata.name}/${dependency}`;
        const key = circuitKey(dependencyId, rule);
        const other = this.#circuits.get(key)?.told ?? 'Closed';
        const told = rankOf(other) > rankOf(state) ? other : state;
        this.#circuits.set(key, { ...fresh(dependencyId, rule === 'base' ? '' : rule, nowMs), told, state: told });
      }
    }
    return this.#circuits.size === 0 ? nowMs : nowMs + SETTLE_MS;
  }

  #observe(nowMs: MonotonicMs): void {
    const seen = new Map<Circuit, CircuitSummary>();
    for (const summary of this.#options.circuits()) {
      // A shadowed circuit refuses nothing: the status shows it, and nobody needs to be told.
      if (summary.state === 'Closed' || isShadowKey(summary.stateKey)) continue;
      const circuit = this.#circuitOf(summary, nowMs);
      if (rankOf(summary.state) > rankOf(seen.get(circuit)?.state ?? 'Closed')) seen.set(circuit, summary);
    }
    for (const circuit of this.#circuits.values()) {
      const summary = seen.get(circuit);
      const state = summary?.state ?? 'Closed';
      circuit.summary = summary ?? circuit.summary;
      if (state === circuit.state) continue;
      // An opening that is over before it was told was one all the same.
      const isUntoldOpening = circuit.told === 'Closed' && circuit.state === 'Open';
      const isTold = isUntoldOpening ? this.#record(circuit, 'Open', nowMs) : !isNews(circuit);
      if (!isTold) circuit.flaps = true;
      circuit.state = state;
      circuit.changedMs = nowMs;
    }
  }

  #circuitOf({ dependencyId, stateKey }: CircuitSummary, nowMs: MonotonicMs): Circuit {
    const rule = qualifiedRule(stateKey);
    const key = circuitKey(dependencyId, rule);
    let circuit = this.#circuits.get(key);
    if (circuit === undefined) {
      // A status names a rule shortly where that tells it.
      const shortKey = circuitKey(dependencyId, shortRule(stateKey));
      circuit = this.#circuits.get(shortKey) ?? fresh(dependencyId, rule === 'base' ? '' : rule, nowMs);
      this.#circuits.delete(shortKey);
      this.#circuits.set(key, circuit);
    }
    return circuit;
  }

  /** Returns how long to wait where something is to be told later; 0: nothing is. */
  #tell(circuit: Circuit, nowMs: MonotonicMs): number {
    const { told, state, changedMs, bucket } = circuit;
    if (!isNews(circuit)) return 0;
    const gatherMs = told === 'Closed' || isForced(state) ? changedMs + GATHER_MS - nowMs : 0;
    if (gatherMs > 0) return gatherMs;
    if (this.#record(circuit, state, nowMs)) return 0;
    return Math.max(1, bucket.waitMs(nowMs, levelFor(told, state)));
  }

  #record(circuit: Circuit, state: CircuitState, nowMs: MonotonicMs): boolean {
    const { dependencyId, told, bucket } = circuit;
    if (!bucket.take(nowMs, levelFor(told, state))) return false;
    const [namespace = '', name = '', entry = ''] = dependencyId.split('/');
    const object = this.#options.source.own(ownKey('ServiceDependency', namespace, name));
    if (object !== undefined) {
      const note = noteOf(circuit, state, targetOf(object, entry), this.#options.clock.unixMs());
      this.#options.events.record({
        regarding: {
          apiVersion: 'breakwater.dev/v1alpha1',
          kind: 'ServiceDependency',
          namespace,
          name,
          uid: object.uid,
        },
        ...KINDS[state],
        action: 'ObserveCircuit',
        note,
      });
    }
    circuit.told = state;
    circuit.flaps = false;
    return true;
  }
}

/** Half-open without having been told open is nothing that anybody must know. */
function isNews({ told, state }: Circuit): boolean {
  return told !== state && !(told === 'Closed' && state === 'HalfOpen');
}

function levelFor(told: CircuitState, state: CircuitState): number {
  return told === 'Closed' || state === 'Closed' || isForced(state) ? 1 : RESERVE;
}

function rankOf(state: CircuitState): number {
  return RANKS.indexOf(state);
}

function circuitKey(dependencyId: string, rule: string): string {
  return `${dependencyId} ${rule}`;
}

function fresh(dependencyId: string, rule: string, nowMs: MonotonicMs): Circuit {
  return {
    dependencyId,
    rule,
    told: 'Closed',
    state: 'Closed',
    summary: undefined,
    changedMs: nowMs,
    flaps: false,
    bucket: new TokenBucket(PACE, nowMs),
  };
}

/** Of a status that anybody may have written. */
function toldCircuits(object: OwnObject | undefined): { dependency: string; rule: string; state: CircuitState }[] {
  const status = object?.status;
  const list = typeof status === 'object' && status !== null && 'circuits' in status ? status.circuits : undefined;
  if (!Array.isArray(list)) return [];
  return list.flatMap((it: unknown) => {
    if (typeof it !== 'object' || it === null) return [];
    const { dependency, rule, state } = it as Record<string, unknown>;
    const known = RANKS.find((each) => each === state);
    if (typeof dependency !== 'string' || typeof rule !== 'string' || known === undefined) return [];
    return [{ dependency, rule, state: known }];
  });
}
