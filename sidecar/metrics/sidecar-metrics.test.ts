import { expect, it } from 'vitest';
import { SidecarMetrics } from './sidecar-metrics.ts';

it.each([
  ['breakwater_undeclared_connections_total', 'action', ['allowed', 'warned', 'denied']],
  ['breakwater_dns_resolutions_total', 'result', ['addresses', 'no-address', 'failure']],
  ['breakwater_tunnels_total', 'cause', ['undeclared', 'opaque', 'disabled', 'upgrade', 'no-plan']],
])('%s has all its series from the start', async (name, label, values) => {
  const text = new SidecarMetrics().registry.metrics();
  const series = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  expect(series).toEqual(values.map((value) => `${name}{${label}="${value}"} 0`));
});
