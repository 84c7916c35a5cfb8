import { expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiError } from '../watch/api-errors.ts';
import { type EventInput, EventRecorder, microTime } from './events.ts';

interface Call {
  method: string;
  path: string;
  body: Record<string, unknown> & { metadata?: { name: string }; series?: unknown };
}

function setUp() {
  const clock = new ManualClock();
  const metrics = createOperatorMetrics();
  const calls: Call[] = [];
  const names = new Set<string>();
  const answers = { fails: undefined as Error | undefined };
  const api = {
    request<T>(method: string, path: string, options: { body?: unknown } = {}): Promise<T> {
      const body = options.body as Call['body'];
      calls.push({ method, path, body });
      if (answers.fails !== undefined) return Promise.reject(answers.fails);
      const name = body.metadata?.name ?? '';
      if (method === 'POST' && names.has(name)) return Promise.reject(new ApiError(409, 'AlreadyExists', '', []));
      names.add(name);
      return Promise.resolve({} as T);
    },
  };
  const recorder = new EventRecorder({ api, instance: 'operator-0', clock, log: silentLogger, metrics });
  return { clock, metrics, calls, answers, recorder };
}

function opened(note = 'it opened', name = 'checkout'): EventInput {
  const regarding = {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
  };
  return { regarding, type: 'Warning', reason: 'CircuitOpened', action: 'ObserveCircuit', note };
}

test('an Event goes to the namespace of its object, with a time of six digits', async () => {
  const { calls, recorder } = setUp();
  recorder.record(opened());
  await settle();
  expect(calls).toHaveLength(1);
  expect(calls[0]).toMatchObject({
    method: 'POST',
    path: '/apis/events.k8s.io/v1/namespaces/shop/events',
    body: { reportingController: 'breakwater.dev/operator', reportingInstance: 'operator-0', note: 'it opened' },
  });
  expect(calls[0]?.body['eventTime']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  expect(microTime(1_700_000_000_123)).toBe('2023-11-14T22:13:20.123000Z');
});

test('the same Event within ten seconds is not told, and later becomes a series', async () => {
  const { clock, calls, recorder, metrics } = setUp();
  recorder.record(opened());
  await clock.advance(9_999);
  recorder.record(opened());
  await clock.advance(1);
  expect(calls).toHaveLength(1);
  recorder.record(opened());
  await settle();
  expect(calls.slice(1).map(({ method }) => method)).toEqual(['POST', 'PATCH']);
  expect(calls.at(-1)?.body.series).toMatchObject({ count: 2 });
  await clock.advance(10_000);
  recorder.record(opened());
  await settle();
  expect(calls.at(-1)?.body.series).toMatchObject({ count: 3 });
  const text = await metrics.registry.metrics();
  expect(text).toContain('breakwater_events_total{result="throttled"} 1');
  expect(text).toContain('breakwater_events_total{result="repeated"} 2');
});

test('a storm of Events is slowed down: fifty at once, then five a second', async () => {
  const { clock, calls, recorder } = setUp();
  for (let number = 0; number < 100; number += 1) recorder.record(opened(`number ${number}`));
  await clock.advance(0);
  expect(calls).toHaveLength(50);
  await clock.advance(2_000);
  expect(calls).toHaveLength(60);
  await clock.advance(8_000);
  expect(calls).toHaveLength(100);
});

test('an Event that cannot be written is counted and forgotten, and the next one is told', async () => {
  const { calls, answers, recorder, metrics } = setUp();
  answers.fails = new ApiError(403, 'Forbidden', '', []);
  recorder.record(opened('one'));
  await settle();
  answers.fails = undefined;
  recorder.record(opened('two'));
  await settle();
  expect(calls).toHaveLength(2);
  expect(await metrics.registry.metrics()).toContain('breakwater_events_total{result="error"} 1');
});

test('names of Events stay within what Kubernetes takes', async () => {
  const { calls, recorder } = setUp();
  recorder.record(opened('x'.repeat(5_000), 'n'.repeat(253)));
  await settle();
  expect(calls[0]?.body.metadata?.name.length).toBeLessThanOrEqual(253);
  expect(String(calls[0]?.body['note']).length).toBe(1_024);
});

test('stopping ends what waits', async () => {
  const { clock, calls, recorder } = setUp();
  for (let number = 0; number < 80; number += 1) recorder.record(opened(`number ${number}`));
  await clock.advance(0);
  await recorder.stop();
  recorder.record(opened('late'));
  await settle();
  expect(calls).toHaveLength(50);
  expect(clock.timers).toBe(0);
});

test('an Event can be written whatever the owner is called and whatever a user wrote', async () => {
  const { calls, recorder } = setUp();
  const names = [
    '../../../api/v1/secrets',
    'A\u0000\n\u202e',
    '.',
    `${'a'.repeat(199)}-b`,
    'x'.repeat(65_536),
    'a.-.b',
    '',
  ];
  for (const name of names) recorder.record(opened('ü'.repeat(65_536), name));
  await settle();
  expect(calls).toHaveLength(names.length);
  for (const { body } of calls) {
    expect(body.metadata?.name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    expect(body.metadata?.name.length).toBeLessThanOrEqual(253);
    expect(Buffer.byteLength(String(body['note']))).toBeLessThanOrEqual(1024);
    expect((body['regarding'] as { name: string }).name.length).toBeLessThanOrEqual(253);
  }
});
