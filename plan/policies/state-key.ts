// The keys by which the state of a block lives on over plans. To the sidecar they are names; that of a shadowed block shows that it is one, so
// that whoever hears of its state never takes it for one that acts.
const SHADOW = 'shadow.';

/** `key`: of the block where it is enforced. */
export function shadowKey(key: string): string {
  return SHADOW + key;
}

/** "outlierDetection:base" → "outlierDetection". */
export function blockOfKey(key: string): string {
  const end = key.indexOf(':');
  return end < 0 ? key : key.slice(0, end);
}

/** "shadow.circuitBreaker:base" → "circuitBreaker:base"; of a block that is enforced: itself. */
export function withoutShadow(key: string): string {
  return isShadowKey(key) ? key.slice(SHADOW.length) : key;
}

export function isShadowKey(key: string): boolean {
  return key.startsWith(SHADOW);
}
