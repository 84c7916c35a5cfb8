// Resource versions of one resource can be compared since Kubernetes says so (KEP-5504): decimal numbers without leading zeros, of any
// length. A server whose versions look otherwise is taken at its word, never compared.

const COMPARABLE = /^(0|[1-9]\d*)$/;

/** Whether `version` is from before `than`; false where they cannot be compared. */
export function isBefore(version: string, than: string): boolean {
  if (!COMPARABLE.test(version) || !COMPARABLE.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}
