// What can be known from outside about the connection to the operator, beside the metrics of the data path.
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { MetricDefinition } from '../metrics/definitions.ts';
import type { MetricRegistry, Sample } from '../metrics/registry.ts';

const STREAMS = ['plan', 'endpoints'] as const;
type StreamName = (typeof STREAMS)[number];

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

const streamUp: MetricDefinition = {
  name: 'breakwater_stream_up',
  type: 'gauge',
  help: 'One while the stream from the operator is up and has confirmed what is held.',
  labels: ['stream'],
};
const snapshotAge: MetricDefinition = {
  name: 'breakwater_snapshot_age_seconds',
  type: 'gauge',
  help: 'Time since the operator last confirmed what is held, zero while the stream is up; NaN before the first time.',
  labels: ['stream'],
};
const planInfo: MetricDefinition = {
  name: 'breakwater_plan_info',
  type: 'gauge',
  help: 'One, with the version of the plan in force; absent before the first plan.',
  labels: ['version'],
};
const endpointsConfirmed: MetricDefinition = {
  name: 'breakwater_endpoints_confirmed',
  type: 'gauge',
  help: 'One once a live stream has confirmed the endpoints; zero while they come from disk or are unknown.',
  labels: [],
};
const locallyDisabled: MetricDefinition = {
  name: 'breakwater_locally_disabled',
  type: 'gauge',
  help: 'One while `breakwater disable` is in force in this sidecar.',
  labels: [],
};
const firstPlanWaitOver: MetricDefinition = {
  name: 'breakwater_first_plan_wait_over',
  type: 'gauge',
  help: 'One when the sidecar became ready without a plan, because the bounded wait was over.',
  labels: [],
};
const framesRefused: MetricDefinition = {
  name: 'breakwater_frames_refused_total',
  type: 'counter',
  help: 'Frames from the operator that could not be applied.',
  labels: ['stream'],
};
const stateWriteFailures: MetricDefinition = {
  name: 'breakwater_state_write_failures_total',
  type: 'counter',
  help: 'Writes to the state directory that failed.',
  labels: [],
};

/** Registers the gauges and counters; `monotonicMs` is read at a scrape, for the ages. */
export function createSubscribeMetrics(registry: MetricRegistry, monotonicMs: () => MonotonicMs): SubscribeMetrics {
  /** Stream → when what is held was last known to be true; absent while nothing is held. */
  const confirmedAtMs = new Map<StreamName, MonotonicMs>();
  const live = new Set<StreamName>();
  const refused = { plan: 0, endpoints: 0 };
  let version: string | null = null;
  let confirmed = false;
  let disabled = false;
  let waitOver = false;
  let writeFailures = 0;
  const ageSeconds = (stream: StreamName) =>
    live.has(stream) ? 0 : Math.max(0, monotonicMs() - (confirmedAtMs.get(stream) ?? Number.NaN)) / 1000;
  const single = (definition: MetricDefinition, value: () => number | boolean) =>
    registry.register({ definition, sample: () => [{ labels: {}, value: Number(value()) }] });
  const ofStreams = (definition: MetricDefinition, value: (stream: StreamName) => number) => {
    const sample = (): Sample[] => STREAMS.map((stream) => ({ labels: { stream }, value: value(stream) }));
    registry.register({ definition, sample });
  };
  ofStreams(streamUp, (stream) => Number(live.has(stream)));
  ofStreams(snapshotAge, ageSeconds);
  registry.register({
    definition: planInfo,
    sample: () => (version === null ? [] : [{ labels: { version }, value: 1 }]),
  });
  single(endpointsConfirmed, () => confirmed);
  single(locallyDisabled, () => disabled);
  single(firstPlanWaitOver, () => waitOver);
  ofStreams(framesRefused, (stream) => refused[stream]);
  single(stateWriteFailures, () => writeFailures);
  return {
    setStreamUp(stream, isUp, nowMs) {
      confirmedAtMs.set(stream, nowMs);
      if (isUp) live.add(stream);
      else live.delete(stream);
    },
    setRestored: (stream, ageMs, nowMs) => void confirmedAtMs.set(stream, nowMs - Math.max(0, ageMs)),
    setPlanVersion: (value) => void (version = value),
    setEndpointsConfirmed: (value) => void (confirmed = value),
    setLocallyDisabled: (value) => void (disabled = value),
    setFirstPlanWaitOver: () => void (waitOver = true),
    countRefused: (stream) => void refused[stream]++,
    countStateWriteFailure: () => void writeFailures++,
  };
}
