// What it costs to send a request to an endpoint: peak-EWMA as in Finagle and Linkerd, and what failures cost beside it.
//
// Latency: an average over time, whose weight halves every 7 s (time constant 10 s). A latency above it is taken at once, one below it comes
// in slowly: an endpoint that slows down loses its requests after the first slow answer, and earns them back. Without news the average
// decays, so that every endpoint is tried again.
//
// Failures: an endpoint that fails at once would look like the fastest of all and attract every request. So a failed attempt also costs
// 5 s (Linkerd's number), or what its Retry-After says, up to a minute. These costs are averaged over the same time instead of being
// taken at once: an endpoint one percent of whose answers fail costs 50 ms more, and one that fails always 5 s more. Taken at once, a single
// failure would take an endpoint out for a minute, and where every endpoint fails now and then, all requests would go to the one that did so
// least recently. docs/adr/0011-load-balancing.md has the measurements.
//
// A cost is multiplied by the number of attempts in progress and one: as many as are expected to be waited for.
import type { BalancedEndpoint } from './candidates.ts';

/** Time constant of the averages. */
const DECAY_MS = 10_000;
/** What a failed attempt costs; beyond what any useful answer takes. */
export const FAILURE_COST_MS = 5_000;
/** A Retry-After beyond this costs no more. */
export const MAX_FAILURE_COST_MS = 60_000;
/** Latencies below this are not told apart: there a new connection, or a pause of our own, is more than what the endpoints differ by. */
const LATENCY_FLOOR_MS = 5;

/** An attempt succeeded after `tookMs`. */
export function observeSuccess(endpoint: BalancedEndpoint, tookMs: number, nowMs: number): void {
  observe(endpoint, tookMs, 0, nowMs);
}

/** An attempt failed after `tookMs`; `retryAfterMs`: when the endpoint wants to be asked again, 0 where it did not say. */
export function observeFailure(endpoint: BalancedEndpoint, tookMs: number, retryAfterMs: number, nowMs: number): void {
  const costMs = Math.min(Math.max(FAILURE_COST_MS, retryAfterMs), MAX_FAILURE_COST_MS);
  // That it failed fast says nothing about how fast it answers.
  observe(endpoint, Math.max(tookMs, endpoint.latencyMs), costMs, nowMs);
}

/** An attempt was given up after `tookMs` because another one was faster: its answer would have taken longer, and that is all it says. */
export function observeOvertaken(endpoint: BalancedEndpoint, tookMs: number, nowMs: number): void {
  if (tookMs > endpoint.latencyMs) observe(endpoint, tookMs, 0, nowMs);
}

function observe(endpoint: BalancedEndpoint, latencyMs: number, failureMs: number, nowMs: number): void {
  if (endpoint.measuredAtMs < 0) {
    endpoint.latencyMs = latencyMs;
    endpoint.failureMs = failureMs;
  } else {
    const kept = keptAfter(nowMs - endpoint.measuredAtMs);
    // What is above the average is above what it makes of it.
    endpoint.latencyMs = Math.max(latencyMs, endpoint.latencyMs * kept + latencyMs * (1 - kept));
    endpoint.failureMs = endpoint.failureMs * kept + failureMs * (1 - kept);
  }
  endpoint.measuredAtMs = nowMs;
}

/** What one more attempt at this endpoint costs, in milliseconds. Meaningful once something was measured. */
export function costMs(endpoint: BalancedEndpoint, nowMs: number): number {
  const kept = keptAfter(nowMs - endpoint.measuredAtMs);
  const costMs = (endpoint.latencyMs + endpoint.failureMs) * kept;
  return Math.max(costMs, LATENCY_FLOOR_MS) * (endpoint.inFlight + 1);
}

/** The weight that an average keeps after this time. */
function keptAfter(elapsedMs: number): number {
  return elapsedMs > 0 ? Math.exp(-elapsedMs / DECAY_MS) : 1;
}
