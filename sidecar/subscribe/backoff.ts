// How long to wait before the next try. PURE.
import type { Random } from '../../runtime/random.ts';

export interface BackoffSettings {
  initialMs: number;
  maxMs: number;
}

/**
 * Milliseconds before try number `failures` + 1. After the first failure anything from 0 to `initialMs`, so that a moment's loss heals at once
 * and a thousand sidecars do not return together; then doubled each time up to `maxMs`, of which the upper half is drawn.
 */
export function backoffMs(settings: BackoffSettings, failures: number, random: Random): number {
  if (failures <= 1) return random() * settings.initialMs;
  // 2^30 exceeds every maximum; beyond it the shift would overflow.
  const ceiling = Math.min(settings.maxMs, settings.initialMs * 2 ** Math.min(failures - 1, 30));
  return ceiling / 2 + (random() * ceiling) / 2;
}
