// What our sidecar says of itself: how much it served, and that its policies act in the very process that was measured.
import { parseMetrics, type Sample, sumOf } from '../../cli/prometheus-text.ts';
import { type Ask, ask } from '../loopback.ts';
import { DEPENDENCY } from '../manifests.ts';

/** More than it takes to open a circuit after five failures. */
const MAX_FAILURES = 20;

export async function scrape(adminPort: number): Promise<Sample[]> {
  const { status, body } = await ask(adminPort, '/metrics');
  if (status !== 200) throw new Error(`the sidecar answers /metrics with ${status}`);
  return parseMetrics(body);
}

const its = (labels: Sample['labels']) => labels['dependency'] === DEPENDENCY;

/** That the dependency answered with 2xx. */
export function requestsIn(samples: readonly Sample[]): number {
  return sumOf(
    samples,
    'breakwater_requests_total',
    (labels) => its(labels) && labels['code'] === '2xx' && labels['reason'] === 'upstream',
  );
}

/** On which bytes passed. */
export function connectionsIn(samples: readonly Sample[]): number {
  return sumOf(samples, 'breakwater_tcp_connections_opened_total', its);
}

/** Leaves the circuit open. */
export async function proveRequestPolicies(port: number, adminPort: number, by: Ask): Promise<void> {
  const { body: correlation } = await by(port, '/seen');
  if (correlation === '') throw new Error('the sidecar sent no correlation ID');
  let reason: unknown;
  for (let request = 0; request < MAX_FAILURES && reason !== 'circuit-open'; request++) {
    reason = (await by(port, '/unavailable')).headers['breakwater-reason'];
  }
  if (reason !== 'circuit-open') throw new Error('the sidecar did not open its circuit: its policies do not act');
  const samples = await scrape(adminPort);
  if (sumOf(samples, 'breakwater_retries_total', its) === 0) throw new Error('the sidecar did not retry');
  mustHave(samples, ['breakwater_bulkhead_in_flight', 'breakwater_request_duration_seconds_count']);
}

/** Leaves the circuit open: the dependency cuts connections before a byte. */
export async function proveConnectionPolicies(port: number, adminPort: number): Promise<void> {
  const refused = (samples: readonly Sample[]) =>
    sumOf(samples, 'breakwater_tcp_connections_total', (labels) => its(labels) && labels['result'] === 'circuit-open');
  for (let connection = 0; connection < MAX_FAILURES; connection++) {
    await ask(port, '/cut').then(
      ({ status }) => {
        throw new Error(`/cut was answered with ${status}`);
      },
      () => undefined,
    );
  }
  const samples = await scrape(adminPort);
  if (refused(samples) === 0) throw new Error('the sidecar did not open its circuit: its policies do not act');
  mustHave(samples, ['breakwater_bulkhead_in_flight', 'breakwater_tcp_connection_duration_seconds_count']);
}

function mustHave(samples: readonly Sample[], names: readonly string[]): void {
  for (const name of names) {
    if (!samples.some((sample) => sample.name === name && its(sample.labels))) throw new Error(`there is no ${name}`);
  }
}
