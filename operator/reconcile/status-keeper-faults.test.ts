// Status writes before an API server that refuses, conflicts, is overloaded or away: everything is written in the end, and nobody is
// asked more often than does good.
import { beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import type { InvalidObject } from '../compile/world.ts';
import { createOperatorMetrics, type OperatorMetrics } from '../metrics.ts';
import type { WriteResult } from '../status/writer.ts';
import { ApiError, ApiUnreachable } from '../watch/api-errors.ts';
import { recordingLogger } from '../watch/recording-logger.ts';
import { type OwnObject, ownKey } from '../watch/world-source.ts';
import { CircuitEvents } from './circuit-events.ts';
import { EMPTY_RESULT, sourceOf } from './fixtures.ts';
import { MissedPods } from './missed-pods.ts';
import { StatusKeeper } from './status-keeper.ts';

let clock: ManualClock;
let metrics: OperatorMetrics;
let objects: Map<string, OwnObject>;
let applied: number;
/** What becomes of a write; undefined: it is written. */
let answer: (object: OwnObject) => Error | 'Missed' | Promise<never> | undefined;
let attempts: { name: string; atMs: number }[];
let logged: string[];
let keeper: StatusKeeper<number>;

beforeEach(() => {
  clock = new ManualClock();
  metrics = createOperatorMetrics();
  objects = new Map();
  applied = 0;
  attempts = [];
  logged = [];
  answer = () => undefined;
  const source = sourceOf(objects);
  const events = { record: () => undefined };
  keeper = new StatusKeeper<number>({
    source,
    result: () => EMPTY_RESULT,
    isCompiled: () => true,
    summaries: () => applied,
    statusOf: (object, _result, summaries) => ({ observedGeneration: object.generation, applied: summaries }),
    sink: {
      async write(object, status): Promise<WriteResult> {
        if (JSON.stringify(object.status) === JSON.stringify(status)) return 'Unchanged';
        attempts.push({ name: object.name, atMs: clock.monotonicMs() });
        const said = await answer(object);
        if (said instanceof Error) throw said;
        if (said !== undefined) return said;
        objects.set(ownKey(object.kind, object.namespace, object.name), { ...object, status });
        return 'Written';
      },
      forget: () => undefined,
    },
    circuits: new CircuitEvents({ source, circuits: () => [], events, clock }),
    missedPods: new MissedPods(events),
    clock,
    log: recordingLogger(logged),
    metrics,
  });
});

function put(name: string, generation = 1): string {
  const invalid: InvalidObject = { kind: 'ResiliencePolicy', namespace: 'shop', name, generation, problems: [] };
  const key = ownKey('ResiliencePolicy', 'shop', name);
  const { kind, namespace } = invalid;
  objects.set(key, { kind, namespace, name, uid: name, generation, content: { invalid }, status: undefined });
  return key;
}

/** Everything changes all the time, as in a cluster where pods come and go. */
async function busy(durationMs: number): Promise<void> {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
    applied += 1;
    keeper.changed();
    await clock.advance(1_000);
  }
}

const attemptsOf = (name: string) => attempts.filter((attempt) => attempt.name === name).map(({ atMs }) => atMs);
const times = (count: number, value: object) => Array.from({ length: count }, () => value);
const statuses = () => [...objects.values()].map(({ status }) => status);

test.each([
  ['refused (422)', new ApiError(422, 'Invalid', 'spec is in the way', [])],
  ['forbidden (403)', new ApiError(403, 'Forbidden', 'a policy says no', [])],
])('one that is %s is tried ever less often, whatever changes, and holds up no other', async (_name, error) => {
  put('refused');
  put('other');
  answer = ({ name }) => (name === 'refused' ? error : undefined);
  keeper.start();
  await busy(120_000);
  expect(attemptsOf('refused').length).toBeGreaterThan(5);
  // 100 ms, doubling, fit ten times into two minutes.
  expect(attemptsOf('refused').length).toBeLessThanOrEqual(12);
  expect(attemptsOf('other').length).toBeGreaterThan(40);
  expect(logged.filter((line) => !line.startsWith('info'))).toEqual(['error reconciliation failed']);
  answer = () => undefined;
  await clock.advance(61_000);
  expect(statuses()).toEqual(times(2, { observedGeneration: 1, applied }));
  expect(logged.at(-1)).toBe('info reconciliation works again');
  await keeper.stop();
});

test('one whose object was mended is tried at once', async () => {
  put('a');
  answer = ({ generation }) => (generation === 1 ? new ApiError(422, 'Invalid', 'no', []) : undefined);
  keeper.start();
  await busy(60_000);
  put('a', 2);
  keeper.changed();
  await clock.advance(200);
  expect(statuses()).toEqual([{ observedGeneration: 2, applied }]);
  await keeper.stop();
});

test.each([
  ['cannot be reached', new ApiUnreachable('PATCH: connect ECONNREFUSED'), 30_000],
  ['fails (500)', new ApiError(500, 'InternalError', 'etcd is away', []), 30_000],
  ['is overloaded (429)', new ApiError(429, 'TooManyRequests', 'later', [], 40_000), 40_000],
  ['does not know us (401)', new ApiError(401, 'Unauthorized', 'who?', []), 30_000],
])('while the API server %s all wait together, and all are written after', async (_name, error, boundMs) => {
  for (let number = 0; number < 60; number += 1) put(`p${number}`);
  answer = () => error;
  keeper.start();
  await busy(180_000);
  // Four workers each time: 250 ms, doubling to 30 s, is a dozen times in three minutes.
  expect(attempts.length).toBeGreaterThan(8);
  expect(attempts.length).toBeLessThanOrEqual(4 * 14);
  expect(logged).toEqual(['error reconciliation failed']);
  answer = () => undefined;
  await clock.advance(boundMs + 1_000);
  expect(statuses()).toEqual(times(60, { observedGeneration: 1, applied }));
  expect(logged).toEqual(['error reconciliation failed', 'info reconciliation works again']);
  await keeper.stop();
  expect(clock.timers).toBe(0);
});

test('one that meets another state of its object (409) is tried again, and is no failure', async () => {
  put('a');
  let conflicts = 4;
  answer = () => {
    conflicts -= 1;
    return conflicts >= 0 ? 'Missed' : undefined;
  };
  keeper.start();
  await clock.advance(5_000);
  expect(statuses()).toEqual([{ observedGeneration: 1, applied: 0 }]);
  expect(attempts).toHaveLength(5);
  expect(logged).toEqual([]);
  expect(await metrics.registry.metrics()).toContain(
    'controller_runtime_reconcile_errors_total{controller="status"} 0',
  );
  await keeper.stop();
});

test('writes that never end are given up, and hold up the others for a minute at most', async () => {
  for (const name of ['h1', 'h2', 'h3', 'h4', 'well']) put(name);
  answer = ({ name }) => (name === 'well' ? undefined : new Promise<never>(() => undefined));
  keeper.start();
  await clock.advance(59_000);
  expect(attemptsOf('well')).toEqual([]);
  await clock.advance(2_000);
  expect(attemptsOf('well')).toHaveLength(1);
  // Those that were tried again meanwhile hang once more.
  answer = () => undefined;
  await clock.advance(62_000);
  expect(statuses()).toEqual(times(5, { observedGeneration: 1, applied: 0 }));
  await keeper.stop();
  expect(clock.timers).toBe(0);
});
