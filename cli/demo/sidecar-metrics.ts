// What a sidecar's metrics say of its dependencies.
import { type Sample, sumOf } from '../prometheus-text.ts';

export type ShownCircuit = 'closed' | 'half-open' | 'open';

export interface DependencyCounters {
  circuit: ShownCircuit;
  /** Changes of state since the sidecar started. */
  transitions: number;
  retried: number;
  /** Answered by the sidecar itself, without asking the dependency. */
  refused: number;
  /** Answered by the dependency. */
  served: number;
}

/** The reasons with which a sidecar turns a request away before it has sent anything. */
const REFUSALS = new Set(['circuit-open', 'bulkhead-full', 'queue-timeout', 'no-endpoints', 'shed']);

/** What the samples say of one dependency; the circuit is the worst where rules have several. */
export function countersOf(samples: readonly Sample[], dependency: string): DependencyCounters {
  const its = (labels: Sample['labels']) => labels['dependency'] === dependency;
  const requests = (pass: (reason: string) => boolean) =>
    sumOf(samples, 'breakwater_requests_total', (labels) => its(labels) && pass(labels['reason'] ?? ''));
  const circuits = (state: string) =>
    sumOf(
      samples,
      'breakwater_circuit_state',
      (labels) => its(labels) && labels['state']?.toLowerCase().replaceAll(/[^a-z]/g, '') === state,
    );
  return {
    circuit: circuits('open') > 0 ? 'open' : circuits('halfopen') > 0 ? 'half-open' : 'closed',
    transitions: sumOf(samples, 'breakwater_circuit_transitions_total', its),
    retried: sumOf(samples, 'breakwater_retries_total', its),
    refused: requests((reason) => REFUSALS.has(reason)),
    served: requests((reason) => reason === 'upstream'),
  };
}
