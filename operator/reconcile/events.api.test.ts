// Whether the API server takes our Events as they are, and makes a series of one that is told again by the operator after this one.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { type EventInput, EventRecorder } from './events.ts';

let plane: UsedControlPlane;
let api: ApiClient;

beforeAll(async () => {
  plane = await useControlPlane();
  api = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: () => 0 });
});

afterAll(async () => {
  await api?.close();
  await plane?.stop();
});

const event: EventInput = {
  regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'checkout-1', uid: 'uid-1' },
  type: 'Warning',
  reason: 'NotInjected',
  action: 'Inject',
  note: 'This pod has no breakwater sidecar.',
};

interface Told {
  items: { note: string; reportingInstance: string; series?: { count: number; lastObservedTime: string } }[];
}

async function untilTold(check: (events: Told['items']) => void): Promise<void> {
  await vi.waitFor(
    async () => check((await api.request<Told>('GET', '/apis/events.k8s.io/v1/namespaces/default/events')).items),
    { timeout: 10_000, interval: 50 },
  );
}

function recorder(instance: string): EventRecorder {
  return new EventRecorder({ api, instance, clock: systemClock, log: silentLogger, metrics: createOperatorMetrics() });
}

test('an Event is kept, and the same one of the next operator makes it a series', async () => {
  const first = recorder('operator-0');
  first.record(event);
  await untilTold((events) => expect(events).toMatchObject([{ note: event.note, reportingInstance: 'operator-0' }]));
  await first.stop();

  const second = recorder('operator-1');
  second.record(event);
  await untilTold((events) => {
    expect(events).toHaveLength(1);
    expect(events[0]?.series?.count).toBe(2);
    expect(events[0]?.series?.lastObservedTime).toMatch(/\.\d{6}Z$/);
  });
  second.record({ ...event, note: 'Something else.' });
  await untilTold((events) => expect(events).toHaveLength(2));
  await second.stop();
});
