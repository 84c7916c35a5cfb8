// TLS to hosts that is not as it should be, as sidecars tell it, added up over all of them. A sidecar is trusted no further than its own
// workload: a host that is not in its plan does not count.
import type { CircuitReport } from '../../plan/wire.ts';
import type { PlanSnapshot } from './snapshots.ts';

export type ReportedTls = NonNullable<CircuitReport['tls']>[number];

/** One thing that is wrong with TLS to one host. */
export interface TlsSummary {
  dependencyId: string;
  /** certificates: those that sidecars were given; handshake: what the host said, or showed. */
  of: 'certificates' | 'handshake';
  message: string;
  /** How many sidecars say so. */
  sidecars: number;
  /** How many sidecars are connected, or were a moment ago, that speak TLS to it. */
  totalSidecars: number;
}

/** Those of a report that the plan knows, each host once. `clean`: of text that a sidecar wrote. */
export function knownTls(
  plan: PlanSnapshot,
  reported: readonly ReportedTls[],
  clean: (text: string) => string,
): ReportedTls[] {
  const byDependency = new Map<string, ReportedTls>();
  for (const { dependency, certificates, handshake } of reported) {
    if (!plan.tlsHosts.has(dependency)) continue;
    byDependency.set(dependency, {
      dependency,
      certificates: certificates.map(clean),
      handshake: clean(handshake),
    });
  }
  return [...byDependency.values()];
}

/** `reports`: one list for each sidecar. Sorted. */
export function summariseTls(
  reports: Iterable<readonly ReportedTls[]>,
  totalOf: (dependency: string) => number,
): TlsSummary[] {
  const counts = new Map<string, TlsSummary>();
  const count = (dependencyId: string, of: TlsSummary['of'], message: string) => {
    const key = JSON.stringify([dependencyId, of, message]);
    const known = counts.get(key);
    if (known === undefined)
      counts.set(key, { dependencyId, of, message, sidecars: 1, totalSidecars: totalOf(dependencyId) });
    else known.sidecars++;
  };
  for (const report of reports) {
    for (const { dependency, certificates, handshake } of report) {
      for (const message of new Set(certificates)) count(dependency, 'certificates', message);
      if (handshake !== '') count(dependency, 'handshake', handshake);
    }
  }
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, summary]) => summary);
}
