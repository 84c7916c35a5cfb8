// What can go wrong with an opaque connection, of all that policies name: nothing else of it can be seen.
import type { FailureKind } from '../../../plan/policies/values.ts';

const CONNECTION_FAILURES: ReadonlySet<FailureKind> = new Set<FailureKind>(['ConnectFailure', 'Reset']);

/** Those of them that can happen to a connection whose bytes cannot be read. */
export function connectionFailures(failures: readonly FailureKind[]): FailureKind[] {
  return failures.filter((kind) => CONNECTION_FAILURES.has(kind));
}

/** Whether any of them can. */
export function canFailSo(failures: readonly FailureKind[]): boolean {
  return connectionFailures(failures).length > 0;
}
