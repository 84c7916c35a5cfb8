import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { kubectl } from './harness/kube.ts';
import { REAL_TIME } from './harness/real-time.ts';
import { metricValue, Shop } from './harness/shop.ts';
import { eventually, sleep } from './shell.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('kill-switch', { policy: { circuitBreaker: { consecutiveFailures: 5, openFor: '10m' } } });
  await shop.behave({ status: 500 });
  await shop.load({ requests: 5 });
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
});
afterAll(() => shop?.close());

const switches = [
  ['of the ServiceDependency', () => ['-n', shop.namespace, 'annotate', 'sdep', 'checkout']],
  ['of the namespace', () => ['annotate', 'namespace', shop.namespace]],
] as const;

test.each(switches)(
  'the annotation %s switches policies off within a second, and on again',
  REAL_TIME,
  async (_which, target) => {
    // Where it is tried again it may have been left switched off.
    await kubectl(...target(), 'breakwater.dev/enforcement-');
    await eventually('policies act', 10_000, async () =>
      (await shop.load({ requests: 3 })).reasons['circuit-open'] === 3 ? true : undefined,
    );
    // Kept open over the switch: such a connection ends with the answer to its last request, a new one is forwarded.
    const stop = await shop.startLoad({ concurrency: 4, pauseMs: 10 });
    onTestFinished(async () => void (await stop()));
    const off = Date.now();
    await kubectl(...target(), 'breakwater.dev/enforcement=disabled');
    const annotated = Date.now();
    await eventually(
      'calls reach the service',
      2_000,
      async () => ((await shop.load({ requests: 5 })).statuses['500'] === 5 ? true : undefined),
      50,
    );
    await eventually('the metric tells it', 2_000, async () =>
      metricValue(await shop.metrics(), 'breakwater_enforcement', { dependency: 'payments' }) === 0 ? true : undefined,
    );
    await sleep(annotated + 2_500 - Date.now());
    await kubectl(...target(), 'breakwater.dev/enforcement-');
    const on = Date.now();
    await eventually(
      'policies act again',
      1_000,
      async () => ((await shop.load({ requests: 3 })).reasons['circuit-open'] === 3 ? true : undefined),
      50,
    );
    const report = await stop();

    expect(report.errors).toEqual({});
    const between = (from: number, to: number) => report.details.filter((call) => call.at > from && call.at < to);
    const refused = between(annotated + 1_000, on - 200);
    expect(refused.length).toBeGreaterThan(10);
    expect(refused.filter((call) => call.reason !== '')).toEqual([]);
    expect(refused.every((call) => call.status === 500)).toBe(true);
    expect(between(off - 200, off).every((call) => call.reason === 'circuit-open')).toBe(true);
    // The circuit is open as before: its state was kept.
    expect((await shop.load({ requests: 20, concurrency: 4 })).reasons).toEqual({ 'circuit-open': 20 });
  },
);
