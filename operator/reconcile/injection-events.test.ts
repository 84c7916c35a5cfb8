import { expect, test } from 'vitest';
import type { InjectionReport } from '../inject/webhook.ts';
import type { EventInput } from './events.ts';
import { reportInjection } from './injection-events.ts';

function told(over: Partial<InjectionReport>): EventInput[] {
  const events: EventInput[] = [];
  reportInjection({ record: (event) => events.push(event) })({
    namespace: 'shop',
    name: 'checkout-',
    owner: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'checkout-6d5f', uid: 'uid-1' },
    injected: false,
    reason: 'HostNetwork',
    message: 'the pod uses the network of its node',
    leftOut: [],
    dryRun: false,
    ...over,
  });
  return events;
}

test('a pod that admission left alone is told at its controller, with the reason', () => {
  expect(told({})).toMatchObject([
    {
      regarding: { apiVersion: 'apps/v1', kind: 'ReplicaSet', namespace: 'shop', name: 'checkout-6d5f', uid: 'uid-1' },
      type: 'Warning',
      reason: 'NotInjected',
      note: 'Its pods get no breakwater sidecar (HostNetwork): the pod uses the network of its node',
    },
  ]);
});

test('what an injected pod declares and does not get is told at its controller', () => {
  const left = { destination: 'shop/db', reason: 'Headless' as const, message: 'the Service has no ClusterIP' };
  expect(told({ injected: true, reason: 'Injected', leftOut: [left] })).toMatchObject([
    {
      regarding: { kind: 'ReplicaSet', namespace: 'shop', name: 'checkout-6d5f' },
      type: 'Warning',
      reason: 'NotCaptured',
      note: 'Of its pods, calls to shop/db pass by the sidecar (Headless): the Service has no ClusterIP',
    },
  ]);
  expect(told({ injected: true, reason: 'Injected', leftOut: [left], dryRun: true })).toEqual([]);
});

test.each([
  ['was injected', { injected: true, reason: 'Injected' as const }],
  ['opted out', { reason: 'OptedOut' as const }],
  ['has its sidecar already', { reason: 'AlreadyInjected' as const }],
  ['was only tried', { dryRun: true }],
  ['has no controller to tell it at', { owner: undefined }],
])('nothing is told of a pod that %s', (_what, over) => {
  expect(told(over)).toEqual([]);
});
