import { Gauge, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { MetricRegistry } from './registry.ts';

const definition = { name: 'calls', type: 'gauge', help: 'Calls, by\n"name" and \\.', labels: ['by'] } as const;
const hostile = ['plain', 'a "quoted" one', 'back\\slash', 'two\nlines', '', 'ünïcode', '{}=,'];

it('writes what prom-client writes', async () => {
  const theirs = new Registry();
  const gauge = new Gauge({ ...definition, labelNames: definition.labels, registers: [theirs] });
  const ours = new MetricRegistry();
  const values = [0, -1, 1.5, 1e21, 1e-7, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  ours.register({
    definition,
    sample: () => hostile.map((by, index) => ({ labels: { by }, value: values[index] ?? 0 })),
  });
  for (const [index, by] of hostile.entries()) gauge.set({ by }, values[index] ?? 0);
  expect(ours.contentType).toBe(theirs.contentType);
  expect(ours.metrics().trimEnd()).toBe((await theirs.metrics()).trimEnd());
});

it('separates metrics, and names the series of a histogram by themselves', () => {
  const registry = new MetricRegistry();
  registry.register({ definition: { name: 'up', type: 'gauge', help: 'Up.', labels: [] }, sample: () => [] });
  registry.register({
    definition: { name: 'seconds', type: 'histogram', help: 'Time.', labels: [] },
    sample: () => [
      { labels: { le: '+Inf' }, value: 2, metricName: 'seconds_bucket' },
      { labels: {}, value: Number.NaN, metricName: 'seconds_sum' },
    ],
  });
  expect(registry.metrics()).toBe(
    '# HELP up Up.\n# TYPE up gauge\n\n# HELP seconds Time.\n# TYPE seconds histogram\nseconds_bucket{le="+Inf"} 2\nseconds_sum NaN\n\n',
  );
});

it('refuses a second metric of the same name', () => {
  const registry = new MetricRegistry();
  registry.register({ definition, sample: () => [] });
  expect(() => registry.register({ definition, sample: () => [] })).toThrow('calls is registered already');
});
