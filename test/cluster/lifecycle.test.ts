// How the sidecar lives beside the application: readiness, Jobs, StatefulSets.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api, apply, control, exec, isReady, type KubeObject, kubectl, listPods } from './harness/kube.ts';
import { podTemplate, service, serviceDependency } from './harness/objects.ts';
import { isInjected, type Report, Shop, untilReady } from './harness/shop.ts';
import { eventually, sleep } from './shell.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('lifecycle', { policy: { circuitBreaker: { consecutiveFailures: 5, openFor: '60s' } } });
});
afterAll(() => shop?.close());

test('a Job with a sidecar completes', async () => {
  const { namespace } = shop;
  const template = podTemplate({ namespace, name: 'batch', script: 'client.ts' });
  const call = "fetch('http://payments:8080/').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(2))";
  await apply({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'batch', namespace },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: template.metadata,
        spec: {
          restartPolicy: 'Never',
          containers: template.spec.containers.map(({ name, image, imagePullPolicy }) => ({
            name,
            image,
            imagePullPolicy,
            command: ['node', '-e', call],
          })),
        },
      },
    },
  });
  await eventually('the Job is complete', 40_000, async () => {
    const job = await api<KubeObject & { status: { succeeded?: number; failed?: number } }>(
      'GET',
      `/apis/batch/v1/namespaces/${namespace}/jobs/batch`,
    );
    if (job.status.failed) throw new Error('the Job failed');
    return job.status.succeeded === 1 ? true : undefined;
  });
  const [pod] = await listPods(namespace, 'app=batch');
  expect(pod && isInjected(pod)).toBe(true);
  expect(pod?.status.phase).toBe('Succeeded');
});

test("a StatefulSet's pod called by its own name is the one that answers", async () => {
  const { namespace } = shop;
  await apply(
    service(namespace, 'ledger', [{ port: 8080, name: 'http' }], { clusterIP: 'None' }),
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'ledger', namespace },
      spec: {
        serviceName: 'ledger',
        replicas: 3,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: { app: 'ledger' } },
        template: podTemplate({
          namespace,
          name: 'ledger',
          script: 'upstream.ts',
          labels: { 'breakwater.dev/injection': 'disabled' },
        }),
      },
    },
    serviceDependency(namespace, 'checkout-ledger', 'checkout', [
      { name: 'ledger', service: { name: 'ledger', port: 8080 } },
    ]),
  );
  await untilReady(namespace, 'app=ledger', 3);
  await sleep(1_500);
  for (const name of ['ledger-0', 'ledger-1', 'ledger-2']) {
    const report = await shop.load({ url: `http://${name}.ledger:8080/`, requests: 30, concurrency: 5 });
    expect(report.statuses).toEqual({ 200: 30 });
    expect(report.servedBy).toEqual({ [name]: 30 });
  }
});

test('a pod whose dependency is down stays ready', async () => {
  await shop.behave({ status: 500 });
  await shop.load({ requests: 20 });
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
  await shop.scalePayments(0);
  await untilReady(shop.namespace, 'app=payments', 0);
  // Longer than the sidecar's readiness probe needs to fail: three times five seconds.
  const end = Date.now() + 17_000;
  while (Date.now() < end) {
    const [pod] = await shop.checkoutPods();
    expect(pod && isReady(pod)).toBe(true);
    expect(pod?.status.initContainerStatuses?.every((one) => one.restartCount === 0)).toBe(true);
    await sleep(1_000);
  }
});

test('a pod that ends finishes its calls first: the sidecar is the last to stop', async () => {
  await shop.scalePayments(1);
  await untilReady(shop.namespace, 'app=payments', 1);
  const { namespace } = shop;
  // A script that goes on calling for two seconds after SIGTERM, and tells in its log how that went.
  const script = `
    let bad = 0, good = 0, ending = false;
    const call = () => fetch('http://payments:8080/').then((r) => r.ok ? good++ : bad++, () => bad++);
    process.on('SIGTERM', () => { ending = true; good = bad = 0; setTimeout(() => { console.log(JSON.stringify({ good, bad })); process.exit(0); }, 2000); });
    setInterval(() => void call(), 50);`;
  const template = podTemplate({ namespace, name: 'leaver', script: 'client.ts' });
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'leaver', namespace, labels: { app: 'leaver' } },
    spec: {
      terminationGracePeriodSeconds: 20,
      containers: [
        {
          name: 'app',
          image: template.spec.containers[0]?.image,
          imagePullPolicy: 'IfNotPresent',
          command: ['node', '-e', script],
        },
      ],
    },
  });
  await untilReady(namespace, 'app=leaver', 1);
  await sleep(1_000);
  const logs = kubectl('-n', namespace, 'logs', '-f', 'leaver', '-c', 'app');
  await kubectl('-n', namespace, 'delete', 'pod', 'leaver', '--wait=true', '--timeout=120s');
  const told = JSON.parse((await logs).trim().split('\n').at(-1) ?? '{}') as { good: number; bad: number };
  expect(told.good).toBeGreaterThan(20);
  expect(told.bad).toBe(0);
});

test('the files of the sidecar are its own: the application cannot read its token', async () => {
  const pod = await shop.checkout();
  await expect(exec(shop.namespace, pod, 'app', 'ls', '/var/run/secrets/breakwater.dev')).rejects.toThrow(
    /No such file/,
  );
  const report = await control<Report>(shop.namespace, pod, 'load', { url: 'http://payments:8080/', requests: 1 });
  expect(report.calls).toBe(1);
});
