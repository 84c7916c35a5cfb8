// Reads what a sidecar says of itself at /metrics, in Prometheus' text format.

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Lines that are no samples are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/.exec(line);
    if (!match) continue;
    const [, name = '', labelText = '', value = ''] = match;
    const labels: Record<string, string> = {};
    for (const [, key = '', quoted = ''] of labelText.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = quoted.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    }
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}

/** Sum of the samples of that name whose labels pass. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  pass: (labels: Sample['labels']) => boolean = () => true,
): number {
  return samples.reduce((sum, sample) => (sample.name === name && pass(sample.labels) ? sum + sample.value : sum), 0);
}

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
