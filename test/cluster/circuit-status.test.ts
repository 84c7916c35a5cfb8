// What a person sees at 3 a.m.: whose circuit is open, since when, in how many pods, why, and when it is probed next; and that it costs the
// API server little while it flaps.
import { rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { api, apply, control, kubectl } from './harness/kube.ts';
import { resiliencePolicy, service, serviceDependency } from './harness/objects.ts';
import { type OwnObject, PAYMENTS_URL, pathOf, type Report, Shop, untilCondition } from './harness/shop.ts';
import { eventually, run, sleep } from './shell.ts';

const CHECKOUTS = 3;
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('circuit-status', {
    checkout: CHECKOUTS,
    policy: { circuitBreaker: { consecutiveFailures: 5, openFor: '20s', halfOpen: { successes: 1 } } },
  });
});
afterAll(() => shop?.close());

interface Circuit {
  dependency: string;
  rule: string;
  state: string;
  sidecars: number;
  totalSidecars: number;
  since: string;
  failingSince: string;
  reason: string;
  nextProbe?: string;
  reopenings: number;
}

async function circuits(kind: 'ServiceDependency' | 'ResiliencePolicy', name: string): Promise<Circuit[]> {
  const { status } = await api<OwnObject & { status?: { circuits?: Circuit[] } }>(
    'GET',
    pathOf(kind, shop.namespace, name),
  );
  return status?.circuits ?? [];
}

/** Each pod of checkout calls payments; resolves when all have. */
async function loadFromAll(requests: number): Promise<void> {
  for (const pod of await shop.checkoutPods()) {
    await control<Report>(shop.namespace, pod.metadata.name, 'load', { url: PAYMENTS_URL, requests });
  }
}

async function events(): Promise<{ reason: string; note: string }[]> {
  const path = `/apis/events.k8s.io/v1/namespaces/${shop.namespace}/events`;
  const { items } = await api<{ items: { reason: string; note: string; regarding: { kind: string } }[] }>('GET', path);
  return items.filter(
    ({ reason, regarding }) => regarding.kind === 'ServiceDependency' && reason.startsWith('Circuit'),
  );
}

test('an open circuit says since when, in how many pods, why, and when it is probed next', async () => {
  const beforeMs = Date.now();
  await shop.behave({ status: 500 });
  await loadFromAll(5);
  const [circuit] = await eventually('all pods show it', 15_000, async () => {
    const found = await circuits('ServiceDependency', 'checkout');
    return found[0]?.sidecars === CHECKOUTS ? found : undefined;
  });
  expect(circuit).toMatchObject({
    dependency: 'payments',
    rule: 'base',
    state: 'Open',
    totalSidecars: CHECKOUTS,
    reason: '5 consecutive failures (last: ServerError)',
    reopenings: 0,
  });
  const times = [circuit?.failingSince, circuit?.since, circuit?.nextProbe].map((time) => Date.parse(time ?? ''));
  expect(times.toSorted((a, b) => a - b)).toEqual(times);
  expect(times[0]).toBeGreaterThan(beforeMs - 2_000);
  expect(times[2]).toBeGreaterThanOrEqual((times[1] ?? 0) + 19_000);
  const ofPolicy = await eventually('the policy shows it', 15_000, async () => {
    const found = await circuits('ResiliencePolicy', 'payments');
    return found[0]?.sidecars === CHECKOUTS ? found : undefined;
  });
  expect(ofPolicy[0]?.dependency).toBe(`${shop.namespace}/checkout/payments`);
});

test('… and neither object stops being ready', async () => {
  await kubectl(
    '-n',
    shop.namespace,
    'wait',
    '--for=condition=Ready',
    'sdep/checkout',
    'rpol/payments',
    '--timeout=5s',
  );
});

test('… and an Event says where to look', async () => {
  const told = await eventually('the Event is there', 20_000, async () =>
    (await events()).find(({ reason }) => reason === 'CircuitOpened'),
  );
  expect(told.note).toMatch(
    new RegExp(
      `^The circuit of ${shop.namespace}/checkout/payments opened in [1-3] of 3 sidecars: 5 consecutive failures`,
    ),
  );
  expect(told.note).toContain(`Look at Service ${shop.namespace}/payments`);
});

test('when the dependency answers again, the status is empty and an Event says so', async () => {
  await shop.behave({ status: 200 });
  await eventually('every circuit is closed', 60_000, async () => {
    await loadFromAll(1);
    return (await circuits('ServiceDependency', 'checkout')).length === 0 ? true : undefined;
  });
  await eventually('the Event is there', 20_000, async () =>
    (await events()).find(({ reason }) => reason === 'CircuitClosed'),
  );
});

test('circuits that flap for twenty seconds cost a bounded number of writes and Events', async () => {
  await shop.setPolicy({
    circuitBreaker: { consecutiveFailures: 1, openFor: '100ms', maxOpenFor: '100ms', halfOpen: { successes: 1 } },
  });
  const before = (await events()).length;
  const versions = new Set<string>();
  const untilMs = Date.now() + 20_000;
  for (let round = 0; Date.now() < untilMs; round += 1) {
    await shop.behave({ status: round % 2 === 0 ? 500 : 200 });
    await loadFromAll(2);
    const { metadata } = await api<OwnObject>('GET', pathOf('ServiceDependency', shop.namespace, 'checkout'));
    versions.add(metadata.resourceVersion ?? '');
    await sleep(200);
  }
  // Six at once, then one in ten seconds, and what was there before.
  expect(versions.size).toBeLessThanOrEqual(10);
  expect((await events()).length - before).toBeLessThanOrEqual(8);
});

test('helm waits until the sidecars apply what a chart holds, and says what is missing where they cannot', async () => {
  const folder = temporaryFolder('helm');
  try {
    const chart = async (name: string) => {
      const dependsOn = [{ name: 'stock', service: { name, port: 8080 } }];
      const objects = [
        serviceDependency(shop.namespace, 'helm', 'checkout', dependsOn),
        resiliencePolicy(shop.namespace, 'helm', 'helm', 'stock', { timeouts: { request: '3s' } }),
      ];
      await mkdir(join(folder, 'templates'), { recursive: true });
      writeFileSync(join(folder, 'Chart.yaml'), 'apiVersion: v2\nname: helm\nversion: 0.1.0\n');
      writeFileSync(join(folder, 'templates', 'all.yaml'), objects.map((object) => stringify(object)).join('---\n'));
    };
    const upgrade = (timeout: string) =>
      run('helm4', ['upgrade', '--install', 'helm', folder, '-n', shop.namespace, '--wait', `--timeout=${timeout}`]);
    await chart('nobody');
    await expect(upgrade('5s')).rejects.toThrow(/Service \S+\/nobody does not exist|not ready/);
    await apply(service(shop.namespace, 'stock', [{ port: 8080, name: 'http' }]));
    await chart('stock');
    await upgrade('30s');
    await untilCondition('ResiliencePolicy', shop.namespace, 'helm', 'Ready', 'True', 1_000);
  } finally {
    await run('helm4', ['uninstall', 'helm', '-n', shop.namespace]).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  }
});
