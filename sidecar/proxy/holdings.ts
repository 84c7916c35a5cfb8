// What the data path has taken at a moment, by kind.
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency/dependency.ts';

/** All of it is zero where nothing is in progress: the promise that the tests of this folder hold it to. */
export interface Holdings {
  requests: number;
  tunnels: number;
  clientConnections: number;
  timers: number;
  replayBytes: number;
  /** Of answers that are being kept and are not whole yet. */
  recordingBytes: number;
  /** Attempts that count as load of an endpoint. */
  attempts: number;
  /** Those of shadows, which nobody takes but in their books, among them. */
  bulkheadPlaces: number;
  bulkheadQueued: number;
  /** Of circuits that are half-open, the shadowed ones among them. */
  probes: number;
  healthChecks: number;
}

export function holdingsOf(
  { active, tunnels, clientConnections, ticker, replayPool, lastGoodPool }: ProxyContext,
  dependencies: readonly DependencyRuntime[],
  healthChecks: number,
): Holdings {
  const held = { requests: active, tunnels, clientConnections, timers: ticker.size, replayBytes: replayPool.usedBytes };
  let recordingBytes = lastGoodPool.usedBytes;
  let attempts = 0;
  let bulkheadPlaces = 0;
  let bulkheadQueued = 0;
  let probes = 0;
  for (const { endpoints, policies } of dependencies) {
    attempts += endpoints.load;
    for (const { bytes } of policies.lastGood.values()) recordingBytes -= bytes;
    const shadowed = Array.from(policies.shadows.places, ([, places]) => places);
    for (const { inFlight, queued } of [...policies.bulkheads.values(), ...shadowed]) {
      bulkheadPlaces += inFlight;
      bulkheadQueued += queued;
    }
    for (const { breaker } of policies.allCircuits()) probes += breaker.probesInFlight;
  }
  return { ...held, recordingBytes, attempts, bulkheadPlaces, bulkheadQueued, probes, healthChecks };
}
