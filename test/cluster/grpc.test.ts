// Calls of gRPC from an injected pod, all on one connection of the application, as libraries of gRPC make them: to every pod of the dependency,
// judged and repeated by the statuses of gRPC, under the rule of their method.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { apply, control } from './harness/kube.ts';
import { deployment, resiliencePolicy, service, serviceDependency } from './harness/objects.ts';
import { deleteNamespace, freshNamespace, isInjected, untilCondition, untilReady } from './harness/shop.ts';
import { eventually } from './shell.ts';
import type { GrpcLoad, GrpcReport } from './workloads/grpc-client.ts';
import type { GrpcBehavior, GrpcCounts } from './workloads/grpc-server.ts';

const NAMESPACE = 'test-grpc';
const PODS = 3;
const OK = 0;
const ABORTED = 10;
const FAILED_PRECONDITION = 9;
const UNAVAILABLE = 14;

let payments: string[] = [];
let checkout = '';

beforeAll(async () => {
  await freshNamespace(NAMESPACE, { 'breakwater.dev/injection': 'enabled' });
  await apply(
    service(NAMESPACE, 'payments', [{ port: 8080, name: 'grpc' }]),
    deployment({
      namespace: NAMESPACE,
      name: 'payments',
      script: 'grpc-server.ts',
      ports: [8080],
      replicas: PODS,
      labels: { 'breakwater.dev/injection': 'disabled' },
    }),
    serviceDependency(NAMESPACE, 'checkout', 'checkout', [
      { name: 'payments', service: { name: 'payments', port: 8080 } },
    ]),
    deployment({ namespace: NAMESPACE, name: 'checkout', script: 'grpc-client.ts' }),
  );
  const [pod] = await untilReady(NAMESPACE, 'app=checkout', 1);
  expect(pod && isInjected(pod)).toBe(true);
  checkout = pod?.metadata.name ?? '';
  payments = (await untilReady(NAMESPACE, 'app=payments', PODS)).map(({ metadata }) => metadata.name);
  await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Programmed', 'True');
}, 120_000);
afterAll(() => deleteNamespace(NAMESPACE));

beforeEach(async () => {
  await behave({});
  await Promise.all(payments.map((pod) => control(NAMESPACE, pod, 'reset')));
});

async function behave(behavior: Partial<GrpcBehavior>, pods = payments): Promise<void> {
  await Promise.all(pods.map((pod) => control(NAMESPACE, pod, 'behave', behavior)));
}

async function setPolicy(spec: Record<string, unknown>): Promise<void> {
  await apply(resiliencePolicy(NAMESPACE, 'payments', 'checkout', 'payments', spec));
  await untilCondition('ResiliencePolicy', NAMESPACE, 'payments', 'Programmed', 'True');
}

const load = (wanted: GrpcLoad) => control<GrpcReport>(NAMESPACE, checkout, 'load', wanted);

/** Calls that arrived, by method. */
async function arrived(): Promise<Record<string, number>> {
  const all = await Promise.all(payments.map((pod) => control<GrpcCounts>(NAMESPACE, pod, 'counts')));
  const sum: Record<string, number> = {};
  for (const { calls } of all)
    for (const [method, count] of Object.entries(calls)) sum[method] = (sum[method] ?? 0) + count;
  return sum;
}

describe('calls on one connection', () => {
  test('go to every pod', async () => {
    const { right, servedBy, statuses } = await load({ method: 'Get', calls: 300, concurrency: 10 });
    expect([statuses, right]).toEqual([{ [OK]: 300 }, 300]);
    expect(Object.keys(servedBy).sort()).toEqual(payments.toSorted());
    // Of two that are asked for, the cheaper one is taken: none of three is left out for long.
    for (const count of Object.values(servedBy)) expect(count).toBeGreaterThan(15);
  });

  test('may be streams of answers, and of both', async () => {
    expect(await load({ method: 'Watch', calls: 20, concurrency: 5, messages: 10 })).toMatchObject({
      statuses: { [OK]: 20 },
      messages: 200,
      right: 20,
    });
    expect(await load({ method: 'Chat', calls: 10, concurrency: 5, messages: 30 })).toMatchObject({
      statuses: { [OK]: 10 },
      messages: 300,
      right: 10,
    });
  });
});

describe('statuses of gRPC', () => {
  test('are tried again where the policy names them, and no other', async () => {
    await setPolicy({
      retries: {
        methods: 'All',
        retryOnGrpcStatusCodes: ['Aborted'],
        backoff: { initial: '1ms', max: '5ms' },
        budget: { percent: 100, minPerSecond: 100 },
      },
    });
    await behave({ firstAttemptStatus: ABORTED });
    expect((await load({ method: 'Get', calls: 50, concurrency: 5 })).statuses).toEqual({ [OK]: 50 });
    expect(await arrived()).toEqual({ Get: 100 });
    await behave({ firstAttemptStatus: FAILED_PRECONDITION });
    expect((await load({ method: 'Get', calls: 10 })).statuses).toEqual({ [FAILED_PRECONDITION]: 10 });
    expect(await arrived()).toEqual({ Get: 110 });
  });

  test('open the circuit, which answers with one', async () => {
    await setPolicy({ circuitBreaker: { consecutiveFailures: 5, openFor: '5m' } });
    await behave({ status: UNAVAILABLE });
    const { reasons, statuses } = await load({ method: 'Get', calls: 20 });
    expect([statuses, reasons]).toEqual([{ [UNAVAILABLE]: 20 }, { 'circuit-open': 15 }]);
    expect(await arrived()).toEqual({ Get: 5 });
  });
});

test('a rule is for its method alone', async () => {
  await setPolicy({
    rules: [
      {
        name: 'reads',
        matches: [{ grpc: { service: 'shop.Orders', method: 'Get' } }],
        retries: {
          methods: 'All',
          backoff: { initial: '1ms', max: '5ms' },
          budget: { percent: 100, minPerSecond: 100 },
        },
      },
    ],
  });
  await behave({ firstAttemptStatus: UNAVAILABLE });
  expect((await load({ method: 'Get', calls: 20 })).statuses).toEqual({ [OK]: 20 });
  expect((await load({ method: 'Charge', calls: 20 })).statuses).toEqual({ [UNAVAILABLE]: 20 });
  expect(await arrived()).toEqual({ Get: 40, Charge: 20 });
});

test('a pod that says of itself that it does not serve gets no calls', async () => {
  const [sick = '', ...others] = payments;
  await behave({ serving: false }, [sick]);
  await setPolicy({ healthCheck: { grpc: { service: 'shop.Orders' }, interval: '1s', unhealthyThreshold: 1 } });
  const avoided = await eventually('the pod that does not serve is avoided', 15_000, async () => {
    const { servedBy, statuses } = await load({ method: 'Get', calls: 60, concurrency: 4 });
    expect(statuses).toEqual({ [OK]: 60 });
    return servedBy[sick] === undefined ? servedBy : undefined;
  });
  expect(Object.keys(avoided).sort()).toEqual(others.toSorted());
  await behave({ serving: true }, [sick]);
  await eventually('it serves again', 15_000, async () => {
    const { servedBy } = await load({ method: 'Get', calls: 60, concurrency: 4 });
    return (servedBy[sick] ?? 0) > 0 ? true : undefined;
  });
});
