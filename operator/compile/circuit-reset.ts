// Resetting circuits by hand: an annotation on the ServiceDependency, whose every new value closes the circuits of its dependencies once, in
// every sidecar that has known another value or none. The plan carries the value; the sidecar compares.
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { versionOf } from './identity.ts';

export const RESET_ANNOTATION = 'breakwater.dev/reset-circuit';

/** The length that a plan and a status have room for. */
const MAX_LENGTH = 128;

/** What tells one reset from another; empty: none was asked for. */
export function circuitResetOf({ metadata }: ServiceDependency): string {
  const value = metadata.annotations[RESET_ANNOTATION] ?? '';
  return value.length <= MAX_LENGTH ? value : versionOf(value);
}
