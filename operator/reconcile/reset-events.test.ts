import { expect, test } from 'vitest';
import { serviceDependency, world } from '../compile/testing.ts';
import type { OwnObject } from '../watch/world-source.ts';
import type { EventInput } from './events.ts';
import { ResetEvents } from './reset-events.ts';

function setUp(status?: object) {
  const told: EventInput[] = [];
  const [first] = world([serviceDependency('checkout')]).serviceDependencies;
  if (first === undefined) throw new Error('no model');
  let model = first;
  const object = (): OwnObject => ({
    kind: 'ServiceDependency',
    namespace: 'shop',
    name: 'checkout',
    uid: 'uid-1',
    generation: 1,
    content: { model },
    status,
  });
  const start = () =>
    new ResetEvents({
      source: {
        world: () => ({ ...world([]), serviceDependencies: [model] }),
        own: (key) => (key === 'ServiceDependency/shop/checkout' ? object() : undefined),
      },
      events: { record: (event) => told.push(event) },
    });
  const annotate = (value: string | undefined) => {
    const annotations: Record<string, string> = value === undefined ? {} : { 'breakwater.dev/reset-circuit': value };
    model = { ...model, metadata: { ...model.metadata, annotations } };
  };
  return { told, start, annotate };
}

test('tells each value of the annotation that is another one than before, once', () => {
  const { told, start, annotate } = setUp({});
  const events = start();
  events.compare();
  for (const value of ['1', '1', undefined, '2']) {
    annotate(value);
    events.compare();
    events.compare();
  }
  expect(told.map(({ note }) => note)).toEqual(
    ['1', '2'].map(
      (value) =>
        `breakwater.dev/reset-circuit is now "${value}": every sidecar that has not seen this value closes the circuits of shop/checkout and forgets what they counted; those that a policy forces stay as they are.`,
    ),
  );
  expect(told[0]).toMatchObject({
    type: 'Normal',
    reason: 'CircuitsReset',
    regarding: { kind: 'ServiceDependency', namespace: 'shop', name: 'checkout', uid: 'uid-1' },
  });
});

test('takes what stands in the status for told, by whichever operator', () => {
  const { told, start, annotate } = setUp({ circuitReset: '1' });
  annotate('1');
  start().compare();
  expect(told).toEqual([]);
  annotate('2');
  const next = start();
  next.compare();
  expect(told).toHaveLength(1);
});

test('says nothing of an object that nobody has told of yet: no sidecar of it knew another value', () => {
  const { told, start, annotate } = setUp();
  annotate('1');
  const events = start();
  events.compare();
  expect(told).toEqual([]);
  events.stop();
  events.compare();
  expect(told).toEqual([]);
});
