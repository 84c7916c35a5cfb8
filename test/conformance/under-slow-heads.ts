// What a sidecar is while slow connections are held against it.
import { setTimeout as sleep } from 'node:timers/promises';
import { SlowHeads } from '../../bench/slow-heads.ts';
import { call } from '../standalone/harness.ts';
import type { ConformanceSidecar } from './sidecar.ts';

const GIVE_UP_MS = 90_000;
const LOOK_EVERY_MS = 50;

export interface Seen {
  /** Slow connections at a time, at most. */
  connected: number;
  rssBytes: number;
  /** Statuses of calls that were made meanwhile, each on a connection of its own; `admin` of probes of the admin port. */
  good: number[];
  admin: number[];
  answers: ReadonlyMap<string, number>;
}

/** Until that many were there at once, and some calls were made beside them; leaves none. */
export async function underSlowHeads(sidecar: ConformanceSidecar, dependency: string, count: number): Promise<Seen> {
  const slow = new SlowHeads(sidecar.port(dependency), count);
  const seen: Seen = { connected: 0, rssBytes: 0, good: [], admin: [], answers: slow.answers };
  const endMs = performance.now() + GIVE_UP_MS;
  try {
    while ((seen.connected < count || seen.good.length < 20) && performance.now() < endMs) {
      slow.fill();
      await sleep(LOOK_EVERY_MS);
      seen.connected = Math.max(seen.connected, slow.connected);
      seen.rssBytes = Math.max(seen.rssBytes, sidecar.rssBytes);
      if (slow.connected < count / 2) continue;
      seen.good.push((await call(sidecar.address(dependency))).status);
      seen.admin.push((await call(sidecar.admin.replace('http://', ''), '/livez')).status);
    }
  } finally {
    slow.stop();
  }
  return seen;
}
