import { describe, expect, it } from 'vitest';
import { parseMetrics } from '../prometheus-text.ts';
import { countersOf } from './sidecar-metrics.ts';

const text = `# HELP breakwater_requests_total Requests
# TYPE breakwater_requests_total counter
breakwater_requests_total{dependency="payments",rule="base",code="2xx",reason="upstream"} 90
breakwater_requests_total{dependency="payments",rule="charge",code="5xx",reason="upstream"} 4
breakwater_requests_total{dependency="payments",rule="base",code="5xx",reason="circuit-open"} 30
breakwater_requests_total{dependency="payments",rule="base",code="5xx",reason="bulkhead-full"} 2
breakwater_requests_total{dependency="payments",rule="base",code="5xx",reason="attempt-timeout"} 5
breakwater_requests_total{dependency="inventory",rule="base",code="2xx",reason="upstream"} 200
breakwater_retries_total{dependency="payments",rule="base",cause="attempt-timeout"} 3
breakwater_circuit_state{dependency="payments",circuit="base",state="Closed"} 0
breakwater_circuit_state{dependency="payments",circuit="base",state="Open"} 1
breakwater_circuit_state{dependency="payments",circuit="base",state="HalfOpen"} 0
breakwater_circuit_transitions_total{dependency="payments",circuit="base",to="Open"} 2
breakwater_circuit_transitions_total{dependency="payments",circuit="base",to="HalfOpen"} 1
odd{text="a \\"b\\" \\\\ \\nc",other="}"} 1e3
`;

describe('metrics of a sidecar', () => {
  it('reads names, labels with escapes, and values', () => {
    const samples = parseMetrics(text);
    expect(samples).toHaveLength(13);
    expect(samples.at(-1)).toEqual({ name: 'odd', labels: { text: 'a "b" \\ \nc', other: '}' }, value: 1000 });
  });

  it('says of each dependency what it served, refused and tried again', () => {
    const samples = parseMetrics(text);
    expect(countersOf(samples, 'payments')).toEqual({
      circuit: 'open',
      transitions: 3,
      retried: 3,
      refused: 32,
      served: 94,
    });
    expect(countersOf(samples, 'inventory')).toEqual({
      circuit: 'closed',
      transitions: 0,
      retried: 0,
      refused: 0,
      served: 200,
    });
  });

  it('knows the half open state', () => {
    const halfOpen = parseMetrics(
      'breakwater_circuit_state{dependency="payments",circuit="base",state="HalfOpen"} 1\n',
    );
    expect(countersOf(halfOpen, 'payments').circuit).toBe('half-open');
  });
});
