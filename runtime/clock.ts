// The only place that reads the time or starts a timer. Everything that decides takes the time as an argument instead.

/** Monotonic milliseconds, fractional; the origin is arbitrary. */
export type MonotonicMs = number;

export interface Clock {
  /** Monotonic; never goes back, unaffected by changes of the wall clock. */
  monotonicMs(): MonotonicMs;
  /** Unix time, for people and certificates; never for measuring. */
  unixMs(): number;
  /** Calls back once, not before `delayMs`. The returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  unixMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  sleep(delayMs, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, delayMs);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  },
};
