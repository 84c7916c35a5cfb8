// The hash of keys and endpoints: FNV-1a over the UTF-16 units, then the finaliser of MurmurHash3, for FNV's own high bits are poor for short
// texts. The same text has the same hash in every sidecar, today and after a restart, which is what keeps a key with its endpoint. It is no
// defence against keys that were made to collide; the bound on the load is (consistent-hash.ts).

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** From 0 to 2^32 - 1. */
export function hashText(text: string, start = 0, end: number = text.length): number {
  let hash = FNV_OFFSET;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ text.charCodeAt(index), FNV_PRIME);
  return mix(hash);
}

/** Spreads every bit of a number over all 32. */
export function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
