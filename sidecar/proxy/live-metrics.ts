// What a scrape reads of the data path.
import type { LiveMetrics } from '../metrics/live-metrics.ts';
import { BREAKER_STATES } from '../policies/circuit-breaker.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency.ts';

export function liveMetrics(
  context: ProxyContext,
  dependencies: ReadonlyMap<string, DependencyRuntime>,
  failedListeners: () => number,
): LiveMetrics {
  const all = () => Array.from(dependencies.values());
  return {
    circuits: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.circuits.values(), ({ key, breaker }) => ({
          dependency: label,
          circuit: key,
          state: BREAKER_STATES[breaker.state(context.ticker.nowMs())],
        })),
      ),
    bulkheads: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.bulkheads.entries(), ([bulkhead, { inFlight, queued }]) => ({
          dependency: label,
          bulkhead,
          inFlight,
          queued,
        })),
      ),
    detections: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.detections.entries(), ([detection, { ejected }]) => ({
          dependency: label,
          detection,
          ejected: ejected.size,
        })),
      ),
    choices: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.choices.values(), ({ key, panicking }) => ({ dependency: label, choice: key, panicking })),
      ),
    dependencies: () =>
      all().map(({ label, endpoints, enforced }) => ({
        dependency: label,
        endpoints: endpoints.count,
        fallback: endpoints.fallingBack,
        enforced,
      })),
    failedListeners,
    clientConnections: () => context.clientConnections,
    tunnels: () => context.tunnels,
  };
}
