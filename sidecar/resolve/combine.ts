// One answer out of the two that a name has, A and AAAA. PURE.
import type { DnsAnswer } from './name-state.ts';

export type Family = 4 | 6;

/**
 * Addresses of the preferred family where there are any: a pod that has both often reaches only one of them beyond the cluster. Where the
 * preferred query failed, the other one is an answer only for a name of which nothing is known: a lost packet must not move everybody to
 * the other family.
 */
export function combineFamilies(preferred: DnsAnswer, other: DnsAnswer | null, nothingKnown: boolean): DnsAnswer {
  if (preferred.kind === 'addresses' || other === null) return preferred;
  if (preferred.kind === 'no-address') return other;
  return other.kind === 'addresses' && nothingKnown ? other : preferred;
}

/** Families that this pod can reach others by, the preferred one first. */
export function reachableFamilies(
  addresses: readonly { address: string; internal: boolean }[],
  podIp: string,
): readonly Family[] {
  const families = (all: typeof addresses) => new Set(all.map(({ address }) => familyOf(address)));
  const outside = families(addresses.filter(({ address, internal }) => !internal && !address.startsWith('fe80:')));
  const usable = outside.size > 0 ? outside : families(addresses);
  const order: readonly Family[] = podIp !== '' && familyOf(podIp) === 6 ? [6, 4] : [4, 6];
  const found = order.filter((family) => usable.has(family));
  return found.length > 0 ? found : [4];
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}
