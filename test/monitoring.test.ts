// The dashboard and the alerts of the chart ask for metrics and labels that the code has, and lead to sections of the docs that exist.
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createDistributorMetrics } from '../operator/distribute/metrics.ts';
import { createInjectionMetrics } from '../operator/inject/webhook.ts';
import { createOperatorMetrics } from '../operator/metrics.ts';
import { createSidecarMetrics } from '../sidecar/metrics/sidecar-metrics.ts';
import { createSubscribeMetrics } from '../sidecar/subscribe/metrics.ts';
import { readText } from './examples.ts';

interface Alert {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook: string };
}

const { groups } = parse(readText('charts/breakwater/files/alerts.yaml')) as { groups: { rules: Alert[] }[] };
const alerts = groups.flatMap(({ rules }) => rules);
const { panels } = JSON.parse(readText('charts/breakwater/files/dashboard.json')) as {
  panels: {
    id: number;
    title: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets: { expr: string; legendFormat: string }[];
  }[];
};
const queries: [string, string][] = [
  ...alerts.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...panels.flatMap(({ title, targets }) => targets.map(({ expr }): [string, string] => [title, expr])),
];

/** What Prometheus adds at a scrape, and histograms for their buckets. */
const ADDED = ['namespace', 'pod', 'le'];

async function labelsOfMetrics(): Promise<Map<string, Set<string>>> {
  const sidecar = createSidecarMetrics().registry;
  createSubscribeMetrics(sidecar, () => 0);
  const { registry } = createOperatorMetrics();
  createDistributorMetrics(registry);
  createInjectionMetrics(registry);
  const known = new Map<string, Set<string>>();
  const add = (name: string, labels: readonly string[]) => known.set(name, new Set([...ADDED, ...labels]));
  for (const { name, labels } of sidecar.getMetricsAsJSON()) add(name, labels);
  for (const { name } of await registry.getMetricsAsJSON()) {
    const { labelNames = [] } = registry.getSingleMetric(name) as unknown as { labelNames?: string[] };
    add(name, labelNames);
  }
  return known;
}

const METRIC = /\b((?:breakwater|leader_election)_\w+)(?:\{([^}]*)\})?/g;
const withoutSuffix = (name: string): string => name.replace(/_(bucket|sum|count)$/, '');

describe('dashboard and alerts', async () => {
  const known = await labelsOfMetrics();

  it.each(queries)('%s asks for metrics and labels that there are: %s', (_, expr) => {
    const metrics = [...expr.matchAll(METRIC)];
    expect(metrics).not.toEqual([]);
    const all = new Set<string>();
    for (const [, name = '', selector = ''] of metrics) {
      const labels = known.get(name) ?? known.get(withoutSuffix(name));
      expect(labels, name).toBeDefined();
      for (const label of labels ?? []) all.add(label);
      for (const [, label = ''] of selector.matchAll(/(\w+)(?:=|!)/g))
        expect([...(labels ?? [])], name).toContain(label);
    }
    for (const [, list = ''] of expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
      for (const label of list.split(', ').filter((one) => one !== '')) expect([...all], expr).toContain(label);
    }
  });

  it('panels lie beside each other', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });

  it.each(alerts.map((alert) => [alert.alert, alert] as const))(
    '%s says what to do, and where to read on',
    (_, alert) => {
      const { summary, description, runbook } = alert.annotations;
      expect(['info', 'warning', 'critical']).toContain(alert.labels.severity);
      expect(description.length).toBeGreaterThan(20);
      // What stands between braces is a label that the expression keeps, or its value.
      for (const [, label = ''] of `${summary} ${description}`.matchAll(/\$labels\.(\w+)/g)) {
        expect(alert.expr).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
      }
      const [page = '', anchor = ''] = runbook.split('#');
      const anchors = [...readText(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
          .replaceAll(' ', '-'),
      );
      expect(anchors).toContain(anchor);
    },
  );
});
