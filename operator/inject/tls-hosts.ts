// Hosts that the sidecar of a pod is to speak TLS to, as far as the pod's birth can know them: the plan says the same and more, but later, and
// what the application sends until then must not go out in plain text.
import { MAX_TLS_HOSTS, type TlsHost } from '../../plan/tls-hosts.ts';
import { compareText } from '../compile/world-index.ts';
import type { Declared } from './declared.ts';

export interface TlsHostsAtBirth {
  /** Each once, in the order of their names; at most MAX_TLS_HOSTS. */
  hosts: readonly TlsHost[];
  /** For whoever makes the pod. */
  warnings: readonly string[];
}

export function tlsHostsOf(declared: readonly Declared[]): TlsHostsAtBirth {
  const byKey = new Map<string, TlsHost>();
  for (const { host } of declared) {
    if (host?.tls !== undefined) byKey.set(`${host.name}:${host.port}`, { name: host.name, port: host.port });
  }
  const all = [...byKey].sort(([a], [b]) => compareText(a, b)).map(([, host]) => host);
  if (all.length <= MAX_TLS_HOSTS) return { hosts: all, warnings: [] };
  const warning = `of the ${all.length} hosts with tls that the pod declares, plain text to ${all.length - MAX_TLS_HOSTS} is not held back before the first plan; declare at most ${MAX_TLS_HOSTS} for one workload`;
  return { hosts: all.slice(0, MAX_TLS_HOSTS), warnings: [warning] };
}
