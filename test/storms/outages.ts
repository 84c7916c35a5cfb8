// Five classical outages of a dependency, as what its pods can do at each moment.

export interface PodState {
  /** Mean time of work on one request, milliseconds. */
  workMs: number;
  /** Requests worked on at a time; the rest waits in the pod. */
  workers: number;
  /** Share of requests that are answered 500 at once. */
  failing: number;
  /** Connections are refused. */
  refusing: boolean;
}

export interface Outage {
  name: string;
  title: string;
  pods: number;
  callers: number;
  /** Of all callers together. */
  requestsPerSecond: number;
  durationMs: number;
  /** When the trouble begins and ends, for the picture. */
  troubleMs: readonly [number, number];
  state(pod: number, nowMs: number): PodState;
}

const WELL: PodState = { workMs: 20, workers: 4, failing: 0, refusing: false };
const [FROM_MS, TO_MS] = [10_000, 25_000];
const during = (nowMs: number) => nowMs >= FROM_MS && nowMs < TO_MS;
const usual = { pods: 4, callers: 5, requestsPerSecond: 500, durationMs: 80_000, troubleMs: [FROM_MS, TO_MS] as const };

export const OUTAGES: readonly Outage[] = [
  {
    ...usual,
    name: 'retry-storm',
    title: 'Retry storm: half of the capacity is away for 15 s',
    state: (_pod, nowMs) => (during(nowMs) ? { ...WELL, workMs: 40 } : WELL),
  },
  {
    ...usual,
    name: 'slow-dependency',
    title: 'Slow dependency: every answer takes a hundred times as long for 15 s',
    state: (_pod, nowMs) => (during(nowMs) ? { ...WELL, workMs: 2_000 } : WELL),
  },
  {
    ...usual,
    name: 'flapping-endpoint',
    title: 'Flapping endpoint: one of four pods refuses connections every other three seconds',
    durationMs: 60_000,
    troubleMs: [FROM_MS, 50_000],
    state: (pod, nowMs) => {
      const flaps = pod === 0 && nowMs >= FROM_MS && nowMs < 50_000 && Math.floor(nowMs / 3_000) % 2 === 0;
      return { ...WELL, failing: flaps ? 1 : 0, refusing: flaps };
    },
  },
  {
    ...usual,
    name: 'thundering-herd',
    title: 'Thundering herd: all pods are away for 15 s and come back cold',
    state: (_pod, nowMs) => {
      if (during(nowMs)) return { ...WELL, refusing: true, failing: 1 };
      // Caches are empty and nothing is compiled: the first requests cost ten times as much, less and less over 10 s.
      const coldMs = nowMs >= TO_MS && nowMs < TO_MS + 10_000 ? 180 * (1 - (nowMs - TO_MS) / 10_000) : 0;
      return { ...WELL, workMs: WELL.workMs + coldMs };
    },
  },
  {
    ...usual,
    name: 'bad-pod',
    title: 'One bad pod of twenty: it answers 500, and faster than all others',
    pods: 20,
    requestsPerSecond: 1_000,
    durationMs: 80_000,
    troubleMs: [FROM_MS, 60_000],
    state: (pod, nowMs) => ({ ...WELL, failing: pod === 0 && nowMs >= FROM_MS && nowMs < 60_000 ? 1 : 0 }),
  },
];
