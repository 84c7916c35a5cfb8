// The whole operator against a real API server: what kubectl writes comes out as plans, endpoints, statuses and Events. A sidecar is
// played by this test, with a real token of a real service account.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { EndpointsFrame, PlanFrame } from '../plan/wire.ts';
import { systemClock } from '../runtime/clock.ts';
import { silentLogger } from '../runtime/log.ts';
import type { UsedControlPlane } from '../test/harness/control-plane.ts';
import { useControlPlane } from '../test/harness/shared-control-plane.ts';
import { type RunningOperator, startOperator } from './main.ts';
import { TIMINGS } from './platform.ts';
import {
  CERTIFICATE_SECRET,
  installedConfig,
  installedObjects,
  OPERATOR,
  SYSTEM,
  WEBHOOK,
} from './testing/installed.ts';

let plane: UsedControlPlane;
let operator: RunningOperator;
let agent: Agent;

beforeAll(async () => {
  plane = await useControlPlane();
  await apply(...installedObjects(), ...shop());
  await patchStatus('pod', 'checkout-1', { phase: 'Running' });
  operator = await startOperator(
    installedConfig(plane.kubeconfigPath, 'breakwater-operator-0'),
    undefined,
    silentLogger,
    // Nobody comes by a Service here.
    { ...TIMINGS, drainMs: 0 },
  );
  agent = new Agent({ connect: { ca: operator.trustBundle(), servername: `${OPERATOR}.${SYSTEM}.svc` } });
});

afterAll(async () => {
  await agent?.destroy();
  await operator?.stop();
  await plane?.stop();
});

async function apply(...objects: object[]): Promise<void> {
  for (const object of objects) {
    const { code, stderr } = await plane.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(object));
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }
}

async function get<T>(...names: string[]): Promise<T> {
  const { stdout, stderr } = await plane.kubectl(['get', '--namespace', 'shop', '--output', 'json', ...names]);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as T;
}

/** Gives what the API server made of it. */
async function patchStatus(kind: string, name: string, status: object): Promise<string> {
  const patch = ['patch', kind, name, '--namespace', 'shop', '--subresource', 'status', '--type', 'merge'];
  const { stdout, stderr } = await plane.kubectl([...patch, '--output', 'json', '--patch', JSON.stringify({ status })]);
  expect(stderr).toBe('');
  return stdout;
}

interface Status {
  observedGeneration: number;
  summary: string;
  programmed: string;
  openCircuits: string;
  conditions: { type: string; status: string; reason: string; message: string; lastTransitionTime: string }[];
}

async function statusOf(kind: string, name: string): Promise<Status> {
  const { status } = await get<{ status?: Status }>(kind, name);
  if (status === undefined) throw new Error(`${kind} ${name} has no status yet`);
  return status;
}

async function condition(kind: string, name: string, type: string) {
  const found = (await statusOf(kind, name)).conditions.find((one) => one.type === type);
  if (found === undefined) throw new Error(`${kind} ${name} has no condition ${type}`);
  return found;
}

const soon = <T>(check: () => Promise<T>) => vi.waitFor(check, { timeout: 30_000, interval: 100 });

function pod(name: string, containers: string[], labels: Record<string, string>) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels },
    spec: {
      serviceAccountName: 'default',
      containers: containers.map((container) => ({ name: container, image: 'example/none' })),
    },
  };
}

function shop(): object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'shop' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'payments', namespace: 'shop' },
      spec: { selector: { app: 'payments' }, ports: [{ name: 'http', port: 8080, targetPort: 9090 }] },
    },
    slice(['198.18.0.1']),
    pod('checkout-1', ['app', 'breakwater'], { app: 'checkout' }),
  ];
}

function slice(addresses: string[]) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'payments-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'payments' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 9090, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
}

const dependency = {
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ServiceDependency',
  metadata: { name: 'checkout', namespace: 'shop' },
  spec: {
    consumer: { selector: { matchLabels: { app: 'checkout' } } },
    dependsOn: [{ name: 'payments', service: { name: 'payments', port: 8080 } }],
  },
};

function policy(name: string, target: string, spec: object) {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: { name, namespace: 'shop' },
    spec: { targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: target }], ...spec },
  };
}

async function tokenOf(podName: string): Promise<string> {
  const { metadata } = await get<{ metadata: { uid: string } }>('pod', podName);
  const create = ['create', 'token', 'default', '--namespace', 'shop', '--audience', 'breakwater'];
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', podName, '--bound-object-uid', metadata.uid];
  const { stdout, stderr } = await plane.kubectl([...create, ...bound]);
  expect(stderr).toBe('');
  return stdout.trim();
}

/** A sidecar's side of one stream: frames as they come. */
async function openStream(path: string, token: string) {
  const { statusCode, body } = await request(`https://127.0.0.1:${operator.httpsPort}${path}`, {
    dispatcher: agent,
    headers: { authorization: `Bearer ${token}` },
    bodyTimeout: 0,
  });
  expect(statusCode).toBe(200);
  const frames: (PlanFrame | EndpointsFrame)[] = [];
  const lines = createInterface({ input: body });
  lines.on('line', (line) => frames.push(JSON.parse(line) as PlanFrame | EndpointsFrame));
  const ended = once(lines, 'close');
  // That we hang up ourselves is no failure.
  for (const emitter of [body, lines]) emitter.on('error', () => undefined);
  ended.catch(() => undefined);
  return { frames, body, ended };
}

async function report(path: string, token: string, body: object): Promise<void> {
  const { statusCode } = await request(`https://127.0.0.1:${operator.httpsPort}${path}`, {
    method: 'POST',
    dispatcher: agent,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(statusCode).toBe(204);
}

const admin = async (path: string) => {
  const { statusCode, body } = await request(`http://127.0.0.1:${operator.adminPort}${path}`);
  return { statusCode, text: await body.text() };
};

describe('an operator', () => {
  test('waits for the definitions of its kinds, alive and not ready', async () => {
    expect((await admin('/livez')).statusCode).toBe(200);
    await soon(async () => expect((await admin('/readyz')).text).toContain('servicedependencies (404'));
    expect((await admin('/readyz')).statusCode).toBe(503);
  });

  test('is ready once they are there and the API server trusts the webhook', async () => {
    const applied = await plane.kubectl(['apply', '--server-side', '-f', `${import.meta.dirname}/../crds/manifests`]);
    expect(applied).toMatchObject({ code: 0 });
    await soon(async () => expect(await admin('/readyz')).toEqual({ statusCode: 200, text: 'ok\n' }));
    const { stdout } = await plane.kubectl(['get', 'mutatingwebhookconfiguration', WEBHOOK, '--output', 'json']);
    const { webhooks } = JSON.parse(stdout) as { webhooks: { clientConfig: { caBundle: string } }[] };
    expect(Buffer.from(webhooks[0]?.clientConfig.caBundle ?? '', 'base64').toString()).toBe(operator.trustBundle());
  });

  test('tells in the status that a sidecar has not applied the plan yet', async () => {
    await apply(dependency, policy('payments', 'checkout', { circuitBreaker: {} }));
    await soon(async () => {
      expect(await condition('sdep', 'checkout', 'ResolvedRefs')).toMatchObject({ status: 'True' });
      expect(await condition('sdep', 'checkout', 'Programmed')).toMatchObject({ status: 'False' });
      expect((await statusOf('sdep', 'checkout')).programmed).toBe('0/1');
      expect(await condition('rpol', 'payments', 'Accepted')).toMatchObject({ status: 'True' });
    });
  });

  test('gives a pod its plan, and counts what it applied', async () => {
    const token = await tokenOf('checkout-1');
    const stream = await openStream('/v1/plan', token);
    const plan = await soon(() => Promise.resolve(mustHave(stream.frames.find((frame) => frame.kind === 'plan'))));
    expect(plan.plan.dependencies.map(({ id }) => id)).toEqual(['shop/checkout/payments']);
    expect(plan.plan.dependencies[0]?.policies[0]?.circuitBreaker).not.toBeNull();
    await report('/v1/acknowledgements', token, { stream: 'plan', version: plan.version, applied: true });
    await soon(async () => {
      const status = await statusOf('sdep', 'checkout');
      expect(status.programmed).toBe('1/1');
      expect(status.conditions.map(({ status }) => status)).toEqual(['True', 'True', 'True', 'True']);
    });
    stream.body.destroy();
  });

  // In real time, beside other tests: what the operator does too late it does too late each time.
  test('brings a change of a policy and of an EndpointSlice to the sidecar within a second', { retry: 2 }, async () => {
    const token = await tokenOf('checkout-1');
    const plans = await openStream('/v1/plan', token);
    const endpoints = await openStream('/v1/endpoints', token);
    const addressesSeen = () =>
      endpoints.frames.flatMap((frame) =>
        frame.kind === 'snapshot' || frame.kind === 'update'
          ? frame.sets.flatMap((set) => set.endpoints.map((endpoint) => endpoint.address))
          : [],
      );
    await soon(() => Promise.resolve(expect(addressesSeen()).toContain('198.18.0.1')));

    await apply(slice(['198.18.0.1', '198.18.0.2']));
    let writtenMs = performance.now();
    await soon(() => Promise.resolve(expect(addressesSeen()).toContain('198.18.0.2')));
    expect(performance.now() - writtenMs).toBeLessThan(1_000);

    const seenBefore = plans.frames.length;
    await apply(policy('payments', 'checkout', { circuitBreaker: { consecutiveFailures: 7 } }));
    writtenMs = performance.now();
    await soon(() => {
      const [news] = plans.frames.slice(seenBefore).filter((frame) => frame.kind === 'plan');
      expect(news?.plan.dependencies[0]?.policies[0]?.circuitBreaker?.consecutiveFailures).toBe(7);
      return Promise.resolve();
    });
    expect(performance.now() - writtenMs).toBeLessThan(1_000);
    plans.body.destroy();
    endpoints.body.destroy();
  });

  test('shows an open circuit in the status of both kinds and as an Event, and its closing', async () => {
    const token = await tokenOf('checkout-1');
    const stream = await openStream('/v1/plan', token);
    const plan = await soon(() => Promise.resolve(mustHave(stream.frames.find((frame) => frame.kind === 'plan'))));
    await report('/v1/acknowledgements', token, { stream: 'plan', version: plan.version, applied: true });
    const stateKey = mustHave(plan.plan.dependencies[0]?.policies[0]?.circuitBreaker).stateKey;
    const circuit = {
      dependency: 'shop/checkout/payments',
      stateKey,
      state: 'Open',
      since: 1,
      reason: '5 failures in a row',
    };
    await report('/v1/circuits', token, { circuits: [circuit] });
    await soon(async () => {
      expect((await statusOf('sdep', 'checkout')).openCircuits).toBe('payments Open in 1 of 1');
      expect((await statusOf('rpol', 'payments')).openCircuits).toBe('payments Open in 1 of 1');
    });
    await report('/v1/circuits', token, { circuits: [] });
    await soon(async () => expect((await statusOf('sdep', 'checkout')).openCircuits).toBe(''));
    await soon(async () => {
      const { items } = await get<{ items: { reason: string; note: string; regarding: { name: string } }[] }>(
        'events.events.k8s.io',
      );
      const told = items.filter(({ regarding }) => regarding.name === 'checkout');
      expect(told.map(({ reason }) => reason).sort()).toEqual(['CircuitClosed', 'CircuitOpened']);
      expect(told.find(({ reason }) => reason === 'CircuitOpened')?.note).toContain('5 failures in a row');
    });
    stream.body.destroy();
  });

  test('writes no status while nothing changes', async () => {
    const version = async () =>
      (await get<{ metadata: { resourceVersion: string } }>('sdep', 'checkout')).metadata.resourceVersion;
    const writes = async () => (await admin('/metrics')).text.match(/breakwater_status_writes_total.*/g);
    const aWhile = () => new Promise((resolve) => setTimeout(resolve, 1_500));
    // What the test before changed is written at most a second later: it must not be taken for a write of this one.
    let written = await writes();
    for (let settled = false, tries = 0; !settled && tries < 10; tries++) {
      await aWhile();
      const now = await writes();
      settled = JSON.stringify(now) === JSON.stringify(written);
      written = now;
    }
    const before = await version();
    await apply(slice(['198.18.0.3']));
    await aWhile();
    expect(await version()).toBe(before);
    expect(await writes()).toEqual(written);
  });

  test('says of a policy without a target what is missing', async () => {
    await apply(policy('lost', 'nowhere', { timeouts: { request: '1s' } }));
    await soon(async () => {
      const accepted = await condition('rpol', 'lost', 'Accepted');
      expect(accepted).toMatchObject({ status: 'False', reason: 'TargetNotFound' });
      expect(accepted.message).toContain('nowhere');
    });
  });

  test('mends a status that somebody else wrote', async () => {
    const patched = await patchStatus('sdep', 'checkout', { summary: 'all is well' });
    expect(patched).toContain('"summary": "all is well"');
    await soon(async () => expect((await statusOf('sdep', 'checkout')).summary).toContain('1/1 resolved'));
  });

  test('reports pods that were missed, on the pod and in the status', async () => {
    await plane.kubectl(['label', 'namespace', 'shop', 'breakwater.dev/injection=enabled']);
    await apply(pod('checkout-2', ['app'], { app: 'checkout' }));
    await soon(async () => {
      expect((await condition('sdep', 'checkout', 'Programmed')).message).toContain('kubectl delete pod checkout-2');
      const { items } = await get<{ items: { reason: string; note: string; regarding: { name: string } }[] }>(
        'events.events.k8s.io',
      );
      const told = items.find(({ regarding }) => regarding.name === 'checkout-2');
      expect(told).toMatchObject({ reason: 'NotInjected' });
      expect(told?.note).toContain('kubectl delete pod checkout-2 --namespace shop');
    });
  });

  test('tells of pods that another check refuses because of the sidecar, for as long as the Event does', async () => {
    const message =
      'Error creating: pods "late-7e6a-" is forbidden: failed quota: must specify limits.cpu for: breakwater';
    await apply(
      {
        apiVersion: 'breakwater.dev/v1alpha1',
        kind: 'ServiceDependency',
        metadata: { name: 'late', namespace: 'shop' },
        spec: {
          consumer: { selector: { matchLabels: { app: 'late' } } },
          dependsOn: [{ name: 'stripe', host: { name: 'api.stripe.com', port: 443 } }],
        },
      },
      // As the controllers of Kubernetes write it.
      {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: 'late-7e6a.1', namespace: 'shop' },
        involvedObject: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'late-7e6a', namespace: 'shop' },
        reason: 'FailedCreate',
        type: 'Warning',
        message,
        firstTimestamp: '2026-01-02T00:00:00Z',
        lastTimestamp: '2026-01-02T00:00:00Z',
        count: 3,
        source: { component: 'replicaset-controller' },
      },
    );
    await soon(async () => {
      const refused = await condition('sdep', 'late', 'Programmed');
      expect(refused).toMatchObject({ status: 'False', reason: 'InjectionRefused' });
      expect(refused.message).toContain('ReplicaSet late-7e6a cannot create its pods');
      expect(refused.message).toContain('breakwater.dev/sidecar-cpu-request');
    });
    expect(await plane.kubectl(['delete', 'event', 'late-7e6a.1', '--namespace', 'shop'])).toMatchObject({ code: 0 });
    await soon(async () => expect(await condition('sdep', 'late', 'Programmed')).toMatchObject({ status: 'True' }));
  });

  test('ends the stream of a pod that is gone', async () => {
    const token = await tokenOf('checkout-1');
    const stream = await openStream('/v1/plan', token);
    await plane.kubectl(['delete', 'pod', 'checkout-1', '--namespace', 'shop', '--force', '--grace-period=0']);
    await stream.ended;
    expect(stream.frames.at(-1)).toEqual({ kind: 'end', reason: 'PodGone' });
  });

  test('sends a pod that is newer than everything its plan at once', async () => {
    await apply(pod('checkout-3', ['app', 'breakwater'], { app: 'checkout' }));
    const stream = await openStream('/v1/plan', await tokenOf('checkout-3'));
    await soon(() => Promise.resolve(mustHave(stream.frames.find((frame) => frame.kind === 'plan'))));
    stream.body.destroy();
  });
});

function startProcess() {
  const child = spawn(process.execPath, [`${import.meta.dirname}/main.ts`], {
    env: {
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      KUBECONFIG: plane.kubeconfigPath,
      BREAKWATER_NAMESPACE: SYSTEM,
      BREAKWATER_POD_NAME: 'breakwater-operator-1',
      BREAKWATER_SERVICE_NAME: OPERATOR,
      BREAKWATER_SERVICE_ACCOUNT: OPERATOR,
      BREAKWATER_LEASE: OPERATOR,
      BREAKWATER_CERTIFICATE_SECRET: CERTIFICATE_SECRET,
      BREAKWATER_WEBHOOK_CONFIGURATION: WEBHOOK,
      BREAKWATER_SIDECAR_IMAGE: 'breakwater/sidecar:test',
      BREAKWATER_HTTPS_PORT: '0',
      BREAKWATER_ADMIN_PORT: '0',
    },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const logged: { msg: string; level: string; adminPort?: number; httpsPort?: number }[] = [];
  createInterface({ input: child.stderr }).on('line', (line) =>
    logged.push(JSON.parse(line) as (typeof logged)[number]),
  );
  const ready = async () => {
    const { adminPort } = await soon(() =>
      Promise.resolve(mustHave(logged.find(({ msg }) => msg === 'the operator runs'))),
    );
    await soon(async () => {
      const { statusCode, body } = await request(`http://127.0.0.1:${adminPort}/readyz`);
      expect([statusCode, await body.text()]).toEqual([200, 'ok\n']);
    });
  };
  const says = (message: string) => soon(() => Promise.resolve(mustHave(logged.find(({ msg }) => msg === message))));
  return { child, exited: once(child, 'exit'), logged, ready, says };
}

test('as a process beside one that leads it is ready within seconds, and ends cleanly when told to, answering those who still come', async () => {
  const { child, exited, logged, ready } = startProcess();
  try {
    await ready();
    const { httpsPort } = mustHave(logged.find(({ msg }) => msg === 'the operator runs'));
    const inject = async () => {
      const { statusCode, headers, body } = await request(`https://127.0.0.1:${httpsPort}/inject`, {
        method: 'POST',
        dispatcher: agent,
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      await body.dump();
      return [statusCode, headers['connection']];
    };
    expect(await inject()).toEqual([400, 'keep-alive']);
    child.kill('SIGTERM');
    await soon(async () => expect(await inject()).toEqual([400, 'close']));
    // What a Service takes to lead nobody here any more.
    await systemClock.sleep(TIMINGS.drainMs / 2);
    expect(await inject()).toEqual([400, 'close']);
    expect(await exited).toEqual([0, null]);
    await expect(inject()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(logged.filter(({ level }) => level !== 'info')).toEqual([]);
    expect(logged.map(({ msg }) => msg)).toContain('another replica leads');
  } finally {
    child.kill('SIGKILL');
  }
});

test('as a process it leads when the one before has stopped, and ends loudly when another one takes the lead', async () => {
  const { child, exited, logged, ready, says } = startProcess();
  try {
    await ready();
    await operator.stop();
    await says('this replica leads');
    const taken = { spec: { holderIdentity: 'somebody-else' } };
    const patch = ['patch', 'lease', OPERATOR, '--namespace', SYSTEM, '--type', 'merge', '--patch'];
    expect(await plane.kubectl([...patch, JSON.stringify(taken)])).toMatchObject({ code: 0 });
    expect(await exited).toEqual([1, null]);
    const loud = logged
      .filter(({ level }) => level !== 'info')
      .map(({ level, msg }) => `${level}: ${msg}`)
      .sort();
    expect(loud).toEqual(['error: the lead was lost to another replica', 'fatal: the operator ends']);
  } finally {
    child.kill('SIGKILL');
  }
});

function mustHave<T>(value: T | null | undefined): T {
  if (value === undefined || value === null) throw new Error('it is not there yet');
  return value;
}
