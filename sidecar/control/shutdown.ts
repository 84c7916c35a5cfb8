// How the process ends: on the first signal requests in progress go on, up to a bound; on the second, or when the parent is gone, at once.
import type { Clock } from '../../runtime/clock.ts';
import type { DataPlane } from '../data-plane.ts';

const LOOK_EVERY_MS = 20;

/** Resolves true when nothing is in progress any more, false when the time is over or the signal came. The data path goes on listening. */
export async function drainDataPlane(
  dataPlane: Pick<DataPlane, 'drain' | 'inFlight'>,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  const endMs = clock.monotonicMs() + timeoutMs;
  dataPlane.drain();
  while (dataPlane.inFlight() > 0) {
    const leftMs = endMs - clock.monotonicMs();
    if (leftMs <= 0 || signal.aborted) return false;
    await clock.sleep(Math.min(LOOK_EVERY_MS, leftMs), signal).catch(() => {});
  }
  return true;
}

export interface StopRequests {
  /** Resolves when the process is to end. */
  first: Promise<void>;
  /** Aborts when it is to end without waiting: asked twice, or nobody is left to wait for. */
  urgent: AbortSignal;
}

/** Listens for SIGTERM, SIGINT and, if asked, for the end of the parent: its IPC channel or, without one, standard input closes. */
export function watchForStop(parentWatch: boolean): StopRequests {
  const urgent = new AbortController();
  const first = Promise.withResolvers<void>();
  let asked = false;
  const onSignal = () => {
    if (asked) urgent.abort();
    asked = true;
    first.resolve();
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  if (parentWatch) {
    const onParentGone = () => {
      urgent.abort();
      first.resolve();
    };
    if (process.channel) process.once('disconnect', onParentGone);
    else process.stdin.once('end', onParentGone).once('close', onParentGone).once('error', onParentGone).resume();
  }
  return { first: first.promise, urgent: urgent.signal };
}
