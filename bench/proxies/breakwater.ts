// Ours, by the way that users take: `breakwater standalone` over a folder of manifests, with the sidecar bundled as in its image. Measured is
// the process of the sidecar; the operator beside it has the other CPU.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exitOf } from '../../cli/following-child.ts';
import { parseMetrics, type Sample, sumOf } from '../../cli/prometheus-text.ts';
import { startStandalone } from '../../cli/standalone-client.ts';
import { bundleSidecar } from '../../sidecar/image/bundle.ts';
import { ask, untilServing } from '../loopback.ts';
import { pin } from '../processes.ts';
import { commandLine, processTree } from '../procfs.ts';
import type { Proxy, RunningProxy, Setting } from '../setting.ts';

const NAMESPACE = 'bench';
const CONSUMER = 'load';
const DEPENDENCY = 'service';
/** More than it takes to open a circuit after five failures. */
const MAX_FAILING_REQUESTS = 20;

export interface RunningBreakwater extends RunningProxy {
  /** Throws where the policies do not act in the very process that was measured. Leaves its circuit open. */
  provePolicies(): Promise<void>;
}

export const breakwater = {
  name: 'breakwater',
  async start({ processes, folder, upstreamPort, bench, proxyCpu }: Setting): Promise<RunningBreakwater> {
    const manifests = join(folder, 'breakwater');
    await mkdir(manifests, { recursive: true });
    const list = { apiVersion: 'v1', kind: 'List', items: objects(upstreamPort, bench.rules) };
    await writeFile(join(manifests, 'bench.json'), JSON.stringify(list, null, 2));
    const image = join(folder, 'sidecar');
    await bundleSidecar(image);
    const bundle = join(image, 'main.js');
    const standalone = await startStandalone(manifests, ['--log-level', 'warn', '--sidecar-bundle', bundle]);
    processes.adopt(() => standalone.stop());
    try {
      const workload = standalone.ready.workloads[`${NAMESPACE}/${CONSUMER}`];
      const port = Number(workload?.dependencies[DEPENDENCY]?.split(':').at(-1));
      const adminPort = Number(new URL(workload?.admin ?? '').port);
      const pid = sidecarBelow(standalone.child.pid ?? 0, bundle);
      await pin(pid, proxyCpu);
      await untilServing(port, '/1k');
      const failed = exitOf(standalone.child).then(() => {
        throw new Error('standalone ended by itself');
      });
      failed.catch(() => undefined);
      return {
        port,
        pids: [pid],
        served: async () => servedBy(await scrape(adminPort)),
        failed,
        stop: () => standalone.stop(),
        provePolicies: () => provePolicies(port, adminPort),
      };
    } catch (error) {
      await standalone.stop();
      throw error;
    }
  },
} satisfies Proxy;

function sidecarBelow(standalonePid: number, script: string): number {
  const below = processTree(standalonePid).filter((pid) => pid !== standalonePid);
  const sidecars = below.filter((pid) => commandLine(pid).includes(script));
  const [pid] = sidecars;
  if (pid === undefined || sidecars.length > 1) throw new Error(`standalone runs ${sidecars.length} sidecars, not one`);
  return pid;
}

async function scrape(adminPort: number): Promise<Sample[]> {
  const { status, body } = await ask(adminPort, '/metrics');
  if (status !== 200) throw new Error(`the sidecar answers /metrics with ${status}`);
  return parseMetrics(body);
}

const its = (labels: Sample['labels']) => labels['dependency'] === DEPENDENCY;

function servedBy(samples: readonly Sample[]): number {
  return sumOf(
    samples,
    'breakwater_requests_total',
    (labels) => its(labels) && labels['code'] === '2xx' && labels['reason'] === 'upstream',
  );
}

async function provePolicies(port: number, adminPort: number): Promise<void> {
  const { body: correlation } = await ask(port, '/seen');
  if (correlation === '') throw new Error('the sidecar sent no correlation ID');
  let reason: unknown;
  for (let request = 0; request < MAX_FAILING_REQUESTS && reason !== 'circuit-open'; request++) {
    reason = (await ask(port, '/unavailable')).headers['breakwater-reason'];
  }
  if (reason !== 'circuit-open') throw new Error('the sidecar did not open its circuit: its policies do not act');
  const samples = await scrape(adminPort);
  if (sumOf(samples, 'breakwater_retries_total', its) === 0) throw new Error('the sidecar did not retry');
  for (const name of ['breakwater_bulkhead_in_flight', 'breakwater_request_duration_seconds_count']) {
    if (!samples.some((sample) => sample.name === name && its(sample.labels))) throw new Error(`there is no ${name}`);
  }
}

function objects(upstreamPort: number, rules: number): object[] {
  const namespaced = (name: string) => ({ name, namespace: NAMESPACE });
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: namespaced(DEPENDENCY),
      spec: { clusterIP: '10.96.0.10', ports: [{ name: 'http', port: 80 }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...namespaced(`${DEPENDENCY}-1`), labels: { 'kubernetes.io/service-name': DEPENDENCY } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: upstreamPort, protocol: 'TCP' }],
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
    },
    {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: namespaced(CONSUMER),
      spec: {
        consumer: { selector: { matchLabels: { app: CONSUMER } } },
        dependsOn: [{ name: DEPENDENCY, service: { name: DEPENDENCY, port: 'http' } }],
      },
    },
    {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ResiliencePolicy',
      metadata: namespaced(DEPENDENCY),
      spec: {
        targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: CONSUMER, sectionName: DEPENDENCY }],
        ...policies,
        rules: [...otherRules(rules - policies.rules.length), ...policies.rules],
      },
    },
  ];
}

/** Each with a value of its own, so that none can be taken for another, and for a path that nobody asks for. */
function otherRules(count: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `other-${index}`,
    matches: [{ method: 'GET', path: { type: 'PathPrefix', value: `/other/${index}` } }],
    timeouts: { request: `${index + 3}s` },
  }));
}

/** All four, with every way of opening a circuit, and a rule that does not match. */
const policies = {
  timeouts: { request: '5s', attempt: '2s', connect: '1s', idle: '60s' },
  retries: {
    maxAttempts: 3,
    retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'],
    methods: 'Idempotent',
    backoff: { initial: '25ms', max: '250ms' },
    budget: { percent: 20, minPerSecond: 10 },
  },
  circuitBreaker: {
    failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
    consecutiveFailures: 5,
    failureRate: { percent: 50, minimumCalls: 20 },
    slowCalls: { percent: 80, threshold: '1s', minimumCalls: 20 },
    window: '10s',
    openFor: '30s',
  },
  bulkhead: { maxConcurrent: 1024, maxQueued: 1024, queueTimeout: '500ms' },
  rules: [
    {
      name: 'charge',
      matches: [{ method: 'POST', path: { type: 'PathPrefix', value: '/charges' } }],
      timeouts: { request: '10s' },
      retries: { maxAttempts: 1 },
    },
  ],
};
