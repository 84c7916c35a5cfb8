// Wakes the generator when a request is due. Timers of the event loop have milliseconds, in which five requests would go out at once; a thread
// that waits for nothing else keeps the time to some hundredth of a millisecond without keeping a CPU busy.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const MICROS_PER_SECOND = 1e6;

/** Monotonic and the same in every thread. */
export function nowMicros(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * MICROS_PER_SECOND + nanoseconds / 1000;
}

export interface Pace {
  startMicros: number;
  intervalMicros: number;
  /** Of wake-ups. */
  count: number;
}

/** Calls back at each interval, once where several passed since the last call. */
export function keepPace(pace: Pace, wake: () => void): Worker {
  const worker = new Worker(import.meta.filename, { workerData: pace });
  worker.on('message', wake);
  return worker;
}

if (!isMainThread && parentPort !== null) {
  const { startMicros, intervalMicros, count } = workerData as Pace;
  const nobodyNotifies = new Int32Array(new SharedArrayBuffer(4));
  for (let nth = 0; nth < count; nth++) {
    const waitMicros = startMicros + nth * intervalMicros - nowMicros();
    if (waitMicros > 0) Atomics.wait(nobodyNotifies, 0, 0, waitMicros / 1000);
    parentPort.postMessage(nth, []);
  }
}
