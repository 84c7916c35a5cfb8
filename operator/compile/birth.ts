// What a pod without a privileged init container was born with, as compile needs it: its bootstrap, trimmed. The pods of a workload carry
// the same text, so each text is read once and its value shared, however many pods there are.
import { createHash } from 'node:crypto';
import { type Bootstrap, type BootstrapEntry, type LeftOutReason, readBootstrap } from '../../plan/bootstrap.ts';

export type BornWith =
  /** Ports of the destination that lead to the sidecar. */
  | { ports: readonly number[] }
  /** Declared then and left out; `port` is the one that was in the way. */
  | { leftOut: LeftOutReason; port: number | undefined };

/** By destination: "<namespace>/<service>", or the name of a host. */
export type Birth = ReadonlyMap<string, BornWith>;

/** A pod whose bootstrap cannot be read, since somebody changed it: its sidecar cannot read it either. */
const NOTHING: Birth = new Map();
const REMEMBERED = 1_024;
const read = new Map<string, Birth>();

export function toBirth(text: string): Birth {
  const key = createHash('sha256').update(text).digest('base64');
  const known = read.get(key);
  if (known !== undefined) return known;
  const parsed = readBootstrap(text);
  const birth = parsed.ok ? trim(parsed.bootstrap) : NOTHING;
  read.set(key, birth);
  const oldest = read.keys().next().value;
  if (read.size > REMEMBERED && oldest !== undefined) read.delete(oldest);
  return birth;
}

function trim({ entries, leftOut }: Bootstrap): Birth {
  const birth = new Map<string, BornWith>();
  for (const { destination, reason, port } of leftOut) birth.set(destination, { leftOut: reason, port });
  for (const entry of entries) birth.set(destinationOf(entry), { ports: entry.ports.map(({ port }) => port) });
  return birth;
}

function destinationOf({ service, host }: BootstrapEntry): string {
  return service === null ? (host ?? '') : `${service.namespace}/${service.name}`;
}
