// What an Event says of a circuit: what it does, in how many sidecars, why, what that means for calls, and where to look.
import { type CircuitState, isForced } from '../../plan/wire.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import type { OwnObject } from '../watch/world-source.ts';
import type { EventInput } from './events.ts';

/** What a sidecar says of the past beyond a month is its fancy. */
const LONGEST_SECONDS = 31 * 86_400;

/** A circuit, and what was told of it before. */
export interface ToldCircuit {
  dependencyId: string;
  /** As the Event names it; empty for the base. */
  rule: string;
  told: CircuitState;
  /** What was seen last while it was not closed. */
  summary: CircuitSummary | undefined;
  /** Changes were left out since the last Event. */
  flaps: boolean;
}

export const KINDS: Record<CircuitState, Pick<EventInput, 'type' | 'reason'>> = {
  Open: { type: 'Warning', reason: 'CircuitOpened' },
  HalfOpen: { type: 'Normal', reason: 'CircuitHalfOpen' },
  Closed: { type: 'Normal', reason: 'CircuitClosed' },
  ForcedOpen: { type: 'Warning', reason: 'CircuitForcedOpen' },
  ForcedClosed: { type: 'Normal', reason: 'CircuitForcedClosed' },
};

export function noteOf(circuit: ToldCircuit, state: CircuitState, target: string, nowUnixMs: number): string {
  const { dependencyId, rule, told, summary, flaps } = circuit;
  const what = `The circuit of ${dependencyId}${rule === '' ? '' : ` (${rule})`}`;
  const where = summary === undefined ? '' : ` in ${summary.sidecars} of ${summary.totalSidecars} sidecars`;
  const because = summary === undefined || summary.reason === '' ? '' : `: ${summary.reason}`;
  const more = flaps ? ' It changes faster than Events tell; see breakwater_circuit_transitions_total.' : '';
  if (state === 'Open') {
    const again = told === 'Closed' ? '' : ' again';
    const consequence = 'Its calls are answered 503 circuit-open until probes succeed.';
    const advice = `Look at ${target}; status.circuits says when it is probed next.`;
    return `${what} opened${again}${where}${because}. ${consequence} ${advice}${more}`;
  }
  if (state === 'HalfOpen') {
    return `${what} is half-open${where}: calls are let through as probes, and close it when they succeed.${more}`;
  }
  if (state === 'ForcedOpen') {
    const consequence = 'Its calls are answered 503 circuit-open until circuitBreaker.force is removed or Closed.';
    return `${what} is forced open by its policy${where}. ${consequence}${more}`;
  }
  if (state === 'ForcedClosed') {
    const consequence = 'Its calls pass, and no failure opens it until circuitBreaker.force is removed.';
    return `${what} is forced closed by its policy${where}. ${consequence}${more}`;
  }
  if (isForced(told)) return `${what} is no longer forced in any sidecar: its calls decide again.${more}`;
  const seconds = summary === undefined ? 0 : Math.round((nowUnixMs - summary.failingSinceUnixMs) / 1000);
  // A number in it would make a new Event of each time.
  const after = flaps || seconds <= 0 || seconds > LONGEST_SECONDS ? '' : ` after ${seconds} s`;
  return `${what} is closed in all sidecars${after}: its calls pass again.${more}`;
}

export function targetOf({ content }: OwnObject, entry: string): string {
  const dependsOn =
    'model' in content && content.model.kind === 'ServiceDependency' ? content.model.spec.dependsOn : [];
  const { service, host } = dependsOn.find(({ name }) => name === entry) ?? {};
  if (host !== undefined) return `${host.name}:${host.port}`;
  if (service === undefined || !('model' in content)) return entry;
  const name = `${service.namespace ?? content.model.metadata.namespace}/${service.name}`;
  return `Service ${name}, its endpoints, its pods and their logs`;
}
