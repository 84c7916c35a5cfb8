// A real Prometheus scrapes the sidecars and the operator, and every query of the dashboard returns data.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { api, apiText, apply, isReady, kubectl, listPods, podProxy } from './harness/kube.ts';
import { DEBIAN_IMAGE } from './harness/objects.ts';
import { ADMIN_PORT, Shop, untilReady } from './harness/shop.ts';
import { CHART, OPERATOR_REPLICAS, SYSTEM_NAMESPACE } from './install.ts';
import { eventually, run, sleep } from './shell.ts';

interface Panel {
  title: string;
  targets: { expr: string }[];
}

const dashboard = JSON.parse(await readFile(join(CHART, 'files', 'dashboard.json'), 'utf8')) as { panels: Panel[] };
const queries = dashboard.panels.flatMap((panel) => panel.targets.map((target) => [panel.title, target.expr] as const));

let shop: Shop;

// The targets that the PodMonitor of the chart finds: pods labelled breakwater.dev/injected, their port breakwater-http, namespace and pod as
// labels; and for the operator its port admin. Debian's Prometheus is built without service discovery by Kubernetes, so the test looks them
// up in its place.
async function targetsIn(namespace: string, selector: string, portName: string): Promise<unknown[]> {
  const pods = await listPods(namespace, selector);
  return pods.map(({ spec, status, metadata }) => {
    const ports = [...(spec.initContainers ?? []), ...spec.containers].flatMap((container) => container.ports ?? []);
    const port = ports.find(({ name }) => name === portName)?.containerPort;
    return { targets: [`${status.podIP}:${port}`], labels: { namespace, pod: metadata.name } };
  });
}

async function configuration(namespace: string): Promise<unknown> {
  const sidecars = await targetsIn(namespace, 'breakwater.dev/injected=true', 'breakwater-http');
  const operators = await targetsIn(SYSTEM_NAMESPACE, 'app.kubernetes.io/component=operator', 'admin');
  return {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    scrape_configs: [
      { job_name: 'breakwater-sidecars', static_configs: sidecars },
      { job_name: 'breakwater-operator', static_configs: operators },
    ],
  };
}

beforeAll(async () => {
  shop = await Shop.open('monitoring', {
    checkout: 2,
    policy: {
      timeouts: { request: '2s' },
      retries: { maxAttempts: 3, retryOn: ['ServerError', 'Reset', 'ConnectFailure'] },
      circuitBreaker: { consecutiveFailures: 50, openFor: '500ms', maxOpenFor: '500ms' },
      bulkhead: { maxConcurrent: 2, maxQueued: 2, queueTimeout: '50ms' },
    },
  });
  const { namespace } = shop;
  await apply(
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'prometheus', namespace },
      // JSON is YAML.
      data: { 'prometheus.yml': JSON.stringify(await configuration(namespace)) },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'prometheus',
        namespace,
        labels: { app: 'prometheus', 'breakwater.dev/injection': 'disabled' },
      },
      spec: {
        terminationGracePeriodSeconds: 1,
        securityContext: { runAsUser: 65_534 },
        containers: [
          {
            name: 'prometheus',
            image: DEBIAN_IMAGE,
            imagePullPolicy: 'IfNotPresent',
            command: [
              'prometheus',
              '--config.file=/etc/test/prometheus.yml',
              '--storage.tsdb.path=/data',
              '--web.listen-address=0.0.0.0:9090',
            ],
            readinessProbe: { httpGet: { path: '/-/ready', port: 9090 }, periodSeconds: 1 },
            volumeMounts: [
              { name: 'configuration', mountPath: '/etc/test' },
              { name: 'data', mountPath: '/data' },
            ],
          },
        ],
        volumes: [
          { name: 'configuration', configMap: { name: 'prometheus' } },
          { name: 'data', emptyDir: {} },
        ],
      },
    },
  );
  await untilReady(namespace, 'app=prometheus', 1);
  // Everything that a panel shows happens: calls, retries, refusals, a full bulkhead, failures, a tunnel.
  const stop = await shop.startLoad({ concurrency: 6, pauseMs: 5 });
  await sleep(2_000);
  await shop.behave({ status: 503, share: 0.5 });
  await sleep(2_000);
  await shop.behave({ status: 503 });
  await sleep(1_500);
  await shop.behave({ delayMs: 30 });
  await shop.load({ url: 'http://prometheus.invalid/', requests: 1 }).catch(() => undefined);
  const [prometheus] = await listPods(namespace, 'app=prometheus');
  await shop.load({ url: `http://${prometheus?.status.podIP}:9090/-/ready`, requests: 3 });
  await sleep(3_000);
  await stop();
}, 180_000);
afterAll(() => shop?.close());

async function ask(expression: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
  const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
  const answer = await api<{
    status: string;
    data: { result: { metric: Record<string, string>; value: [number, string] }[] };
  }>('GET', podProxy(shop.namespace, 'prometheus', 9090, path));
  return answer.data.result;
}

/** As Grafana fills the variables in when everything is chosen. */
const filled = (expression: string) =>
  expression.replaceAll('$namespace', '.*').replaceAll('$dependency', '.*').replaceAll('$__rate_interval', '1m');

test('Prometheus finds and scrapes every sidecar', async () => {
  const up = await eventually('both sidecars are up', 15_000, async () => {
    const result = await ask('up{job="breakwater-sidecars"}');
    return result.length === 2 && result.every((one) => one.value[1] === '1') ? result : undefined;
  });
  const pods = (await shop.checkoutPods()).map((pod) => pod.metadata.name);
  expect(new Set(up.map((one) => one.metric['pod']))).toEqual(new Set(pods));
});

test('and every replica of the operator, of which one leads', async () => {
  await eventually('all replicas are up, and one leads', 15_000, async () => {
    const up = await ask('sum(up{job="breakwater-operator"})');
    const leaders = await ask('sum(leader_election_master_status{name=~".*breakwater.*"})');
    return up[0]?.value[1] === String(OPERATOR_REPLICAS) && leaders[0]?.value[1] === '1' ? true : undefined;
  });
});

describe('every query of the dashboard returns data', () => {
  test.each(queries)('%s: %s', async (_title, expression) => {
    const result = await eventually('it returns data', 5_000, async () => {
      const series = await ask(filled(expression));
      return series.length > 0 ? series : undefined;
    });
    expect(result.every((series) => series.value[1] !== 'NaN')).toBe(true);
  });
});

test('the text passes promtool: names, types and help are as Prometheus wants them', async () => {
  const text = await apiText('GET', podProxy(shop.namespace, await shop.checkout(), ADMIN_PORT, '/metrics'));
  const [pod] = await listPods(shop.namespace, 'app=prometheus');
  expect(pod && isReady(pod)).toBe(true);
  const checked = await run(
    'kubectl',
    ['-n', shop.namespace, 'exec', '-i', 'prometheus', '--', 'promtool', 'check', 'metrics'],
    { input: text },
  );
  expect(checked).not.toMatch(/error/i);
});

test('the dashboard is installed as a ConfigMap that Grafana finds', async () => {
  const found = await kubectl(
    'get',
    'configmaps',
    '-A',
    '-l',
    'grafana_dashboard=1',
    '-o',
    'jsonpath={.items[*].data.breakwater\\.json}',
  );
  expect(JSON.parse(found)).toEqual(dashboard);
});
