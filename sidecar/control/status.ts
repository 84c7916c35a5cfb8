// What `breakwater status` prints.
import type { Readiness } from '../admin/readiness.ts';
import type { CircuitView } from '../data-plane.ts';
import type { SubscriptionStatus } from '../subscribe/subscriber.ts';

export interface StatusFacts extends SubscriptionStatus, Readiness {
  locallyDisabled: boolean;
  circuits: readonly CircuitView[];
}

/** Lines for people; `nowUnixMs` only to say how long a state has lasted. */
export function statusLines(facts: StatusFacts, nowUnixMs: number): string[] {
  const lines = [
    `policies:  ${facts.locallyDisabled ? 'DISABLED in this sidecar (`breakwater enable` ends it)' : 'enabled'}`,
    `readiness: ${facts.ready ? 'ready' : 'not ready'}: ${facts.reason}`,
    `plan:      ${describe(facts.planVersion, facts.planStreamUp)}`,
    `endpoints: ${describe(facts.endpointsVersion, facts.endpointsStreamUp)}${
      facts.endpointsVersion !== null && !facts.endpointsConfirmed ? ', from disk and not confirmed yet' : ''
    }`,
  ];
  const notClosed = facts.circuits.filter((circuit) => circuit.state !== 'Closed');
  lines.push(`circuits:  ${notClosed.length} of ${facts.circuits.length} not closed`);
  for (const { dependency, stateKey, state, sinceUnixMs, reason, nextProbeUnixMs } of notClosed) {
    const probe = nextProbeUnixMs === null ? '' : `; next probe in ${seconds(nextProbeUnixMs - nowUnixMs)} s`;
    lines.push(`  ${dependency} (${stateKey}): ${state} for ${seconds(nowUnixMs - sinceUnixMs)} s: ${reason}${probe}`);
  }
  return lines;
}

function seconds(durationMs: number): number {
  return Math.max(0, Math.round(durationMs / 1000));
}

function describe(version: string | null, streamUp: boolean): string {
  return `${version === null ? 'none yet' : `version ${version}`}, stream ${streamUp ? 'up' : 'DOWN'}`;
}
