// Addresses that lead back to this sidecar. PURE.

/** Injection gives host names addresses of this network under capture `loopback`; nothing else of the pod is there. */
const ALIAS_NETWORK = '127.77.';

/** `listening`: "address port" of every listener of this sidecar. */
export function leadsBack(address: string, port: number, listening: { has(place: string): boolean }): boolean {
  const plain = plainAddress(address);
  return plain.startsWith(ALIAS_NETWORK) || listening.has(placeOf(plain, port));
}

export function placeOf(address: string, port: number): string {
  return `${address} ${port}`;
}

/** The kernel takes the unspecified address for loopback, and an IPv4-mapped one for what it maps. */
function plainAddress(address: string): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return plainAddress(mapped);
  if (address === '0.0.0.0') return '127.0.0.1';
  return address === '::' ? '::1' : address;
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
