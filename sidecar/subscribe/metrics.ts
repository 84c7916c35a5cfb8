// What can be known from outside about the connection to the operator, beside the metrics of the data path.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { MonotonicMs } from '../../runtime/clock.ts';

type StreamName = 'plan' | 'endpoints';

export interface SubscribeMetrics {
  setStreamUp(stream: StreamName, up: boolean, nowMs: MonotonicMs): void;
  /** What is held was true `ageMs` before `nowMs`: read from disk. */
  setRestored(stream: StreamName, ageMs: number, nowMs: MonotonicMs): void;
  setPlanVersion(version: string): void;
  setEndpointsConfirmed(confirmed: boolean): void;
  setLocallyDisabled(disabled: boolean): void;
  setFirstPlanWaitOver(): void;
  countRefused(stream: StreamName): void;
  countStateWriteFailure(): void;
}

/** Registers the gauges and counters; `monotonicMs` is read at a scrape, for the ages. */
export function createSubscribeMetrics(registry: Registry, monotonicMs: () => MonotonicMs): SubscribeMetrics {
  const registers = [registry];
  const up = new Gauge({
    name: 'breakwater_stream_up',
    help: 'One while the stream from the operator is up and has confirmed what is held.',
    labelNames: ['stream'],
    registers,
  });
  /** Stream → when what is held was last known to be true; absent while nothing is held. */
  const confirmedAtMs = new Map<StreamName, MonotonicMs>();
  const live = new Set<StreamName>();
  const age: Gauge = new Gauge({
    name: 'breakwater_snapshot_age_seconds',
    help: 'Time since the operator last confirmed what is held, zero while the stream is up; NaN before the first time.',
    labelNames: ['stream'],
    registers,
    collect() {
      for (const stream of ['plan', 'endpoints'] as const) {
        const at = confirmedAtMs.get(stream) ?? Number.NaN;
        age.set({ stream }, live.has(stream) ? 0 : Math.max(0, monotonicMs() - at) / 1000);
      }
    },
  });
  const version = new Gauge({
    name: 'breakwater_plan_info',
    help: 'One, with the version of the plan in force; absent before the first plan.',
    labelNames: ['version'],
    registers,
  });
  const gauge = (name: string, help: string) => {
    const created = new Gauge({ name, help, registers });
    created.set(0);
    return created;
  };
  const confirmed = gauge(
    'breakwater_endpoints_confirmed',
    'One once a live stream has confirmed the endpoints; zero while they come from disk or are unknown.',
  );
  const disabled = gauge('breakwater_locally_disabled', 'One while `breakwater disable` is in force in this sidecar.');
  const waitOver = gauge(
    'breakwater_first_plan_wait_over',
    'One when the sidecar became ready without a plan, because the bounded wait was over.',
  );
  const refused = new Counter({
    name: 'breakwater_frames_refused_total',
    help: 'Frames from the operator that could not be applied.',
    labelNames: ['stream'],
    registers,
  });
  const writeFailures = new Counter({
    name: 'breakwater_state_write_failures_total',
    help: 'Writes to the state directory that failed.',
    registers,
  });
  for (const stream of ['plan', 'endpoints'] as const) {
    up.set({ stream }, 0);
    refused.inc({ stream }, 0);
  }
  return {
    setStreamUp(stream, isUp, nowMs) {
      up.set({ stream }, isUp ? 1 : 0);
      confirmedAtMs.set(stream, nowMs);
      if (isUp) live.add(stream);
      else live.delete(stream);
    },
    setRestored: (stream, ageMs, nowMs) => confirmedAtMs.set(stream, nowMs - Math.max(0, ageMs)),
    setPlanVersion(value) {
      version.reset();
      version.set({ version: value }, 1);
    },
    setEndpointsConfirmed: (value) => confirmed.set(value ? 1 : 0),
    setLocallyDisabled: (value) => disabled.set(value ? 1 : 0),
    setFirstPlanWaitOver: () => waitOver.set(1),
    countRefused: (stream) => refused.inc({ stream }),
    countStateWriteFailure: () => writeFailures.inc(),
  };
}
