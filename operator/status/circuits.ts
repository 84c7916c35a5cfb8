// The circuits that are not closed, as a status tells them: one entry for each circuit and state, summed over sidecars, with names that
// people gave and times that the API server takes.
import type { ServiceDependencyStatus } from '../../crds/service-dependency.ts';
import { isShadowKey } from '../../plan/policies/state-key.ts';
import { isForced } from '../../plan/wire.ts';
import { versionOf } from '../compile/identity.ts';
import type { OwnKind } from '../compile/result.ts';
import { compareText } from '../compile/world-index.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import { isSameStatus } from './writer.ts';

export type OpenCircuit = NonNullable<ServiceDependencyStatus['circuits']>[number];

const MAX_RULE_NAME = 512;
/** An open circuit waits for its next probe for a day at most; what lies further off is the clock or the fancy of a sidecar. */
const FURTHEST_MS = 25 * 3_600_000;

/**
 * The circuits that are not closed, by dependency, rule and state; a rule is named shortly where that is enough to tell it. `isShadow`: those
 * that only would be open.
 */
export function openCircuits(
  kind: OwnKind,
  concerns: (dependencyId: string) => boolean,
  circuits: readonly CircuitSummary[],
  now: string,
  isShadow: boolean,
): OpenCircuit[] {
  const nowUnixMs = Date.parse(now);
  const open = circuits.filter((it) => isShadowKey(it.stateKey) === isShadow && concerns(it.dependencyId));
  const nameOf = names(kind, open);
  const entries = open.flatMap((circuit) => {
    const { state } = circuit;
    return state === 'Closed' ? [] : [{ ...nameOf(circuit), state, ...detailsOf(circuit, nowUnixMs) }];
  });
  const order = ({ dependency, rule, state }: OpenCircuit) => [dependency, rule, state].join('\u0000');
  return entries.sort((a, b) => compareText(order(a), order(b)));
}

/** State of a block, by the dependency and the key that it belongs to. */
interface Keyed {
  dependencyId: string;
  stateKey: string;
}

/** What a status of `kind` calls each of `all`: states of one block. A rule is named shortly where that is enough to tell it. */
export function names(kind: OwnKind, all: readonly Keyed[]): (one: Keyed) => { dependency: string; rule: string } {
  const keysByName = new Map<string, Set<string>>();
  for (const { dependencyId, stateKey } of all) {
    const name = `${dependencyId} ${shortRule(stateKey)}`;
    keysByName.set(name, (keysByName.get(name) ?? new Set()).add(stateKey));
  }
  return ({ dependencyId, stateKey }) => {
    const short = shortRule(stateKey);
    const isUnique = keysByName.get(`${dependencyId} ${short}`)?.size === 1;
    const rule = fitted(isUnique ? short : qualifiedRule(stateKey));
    return { dependency: kind === 'ServiceDependency' ? entryOf(dependencyId) : dependencyId, rule };
  };
}

function detailsOf(circuit: CircuitSummary, nowUnixMs: number): Omit<OpenCircuit, 'dependency' | 'rule' | 'state'> {
  const { sidecars, totalSidecars, reason, reopenings } = circuit;
  return {
    sidecars,
    totalSidecars: Math.max(sidecars, totalSidecars),
    since: timestamp(circuit.sinceUnixMs, nowUnixMs),
    failingSince: isForced(circuit.state) ? undefined : timestamp(circuit.failingSinceUnixMs, nowUnixMs),
    reason: reason === '' ? undefined : reason,
    nextProbe: timestamp(circuit.nextProbeUnixMs, nowUnixMs),
    reopenings: isForced(circuit.state) ? undefined : reopenings,
  };
}

/** RFC 3339 to the second; undefined where no clock of a node that works could say so. */
export function timestamp(unixMs: number | undefined, nowUnixMs: number): string | undefined {
  if (unixMs === undefined || unixMs > nowUnixMs + FURTHEST_MS) return undefined;
  return new Date(unixMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** "payments Open in 3 of 12, payments (charge) HalfOpen in 1 of 12"; `verb`: what stands before the state. */
export function describeCircuits(circuits: readonly OpenCircuit[], verb: '' | ' would be' = ''): string {
  return circuits
    .map(({ dependency, rule, state, sidecars, totalSidecars }) => {
      const of = totalSidecars === undefined ? '' : ` of ${totalSidecars}`;
      return `${entryOf(dependency)}${rule === 'base' ? '' : ` (${rule})`}${verb} ${state} in ${sidecars}${of}`;
    })
    .join(', ');
}

/** "circuitBreaker:shop/payments/charge+shop/all/slow" → "shop/payments/charge+shop/all/slow". */
export function qualifiedRule(stateKey: string): string {
  return stateKey.slice(stateKey.indexOf(':') + 1);
}

/** … → "charge+slow". */
export function shortRule(stateKey: string): string {
  const names = qualifiedRule(stateKey).split('+');
  return names.map((name) => name.slice(name.lastIndexOf('/') + 1)).join('+');
}

function fitted(rule: string): string {
  return rule.length <= MAX_RULE_NAME ? rule : versionOf(rule);
}

export function entryOf(dependencyId: string): string {
  return dependencyId.slice(dependencyId.lastIndexOf('/') + 1);
}

/** Whether two statuses differ in nothing but what circuits and endpoints do: that may change every second for hours, and nobody waits for it. */
export function differsInCircuitsOnly(before: unknown, after: unknown): boolean {
  return !isSameStatus(before, after) && isSameStatus(withoutCircuits(before), withoutCircuits(after));
}

function withoutCircuits(status: unknown): unknown {
  if (typeof status !== 'object' || status === null) return status;
  return {
    ...status,
    circuits: undefined,
    shadowCircuits: undefined,
    openCircuits: undefined,
    excludedEndpoints: undefined,
    shadowExcludedEndpoints: undefined,
    summary: undefined,
  };
}
