// Leases of a real API server: what it accepts is not for us to imagine.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { kubectlOn, makeShop } from '../../test/harness/shop-namespace.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { StatusWriter } from '../status/writer.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { Elector } from './elector.ts';
import { fencedApi } from './fenced-api.ts';
import { createLeaseStore } from './lease-store.ts';
import { createPolicy, lookAt, storedPolicy } from './testing/policies.ts';

/** A fifth of the real ones: what is shown does not depend on them. */
const TIMES = { leaseDurationMs: 3_000, renewWithinMs: 2_000, retryMs: 400 };

let plane: UsedControlPlane;
let api: ApiClient;

beforeAll(async () => {
  plane = await useControlPlane();
  api = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: systemRandom });
  await makeShop(plane);
});

afterAll(async () => {
  await api?.close();
  await plane?.stop();
});

const kubectl = (...args: readonly string[]): Promise<string> => kubectlOn(plane, ...args);

/** As the chart makes it. */
const prepare = (name: string) =>
  plane.kubectl(
    ['apply', '--server-side', '-f', '-'],
    JSON.stringify({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace: 'default', labels: { owner: 'chart' } },
    }),
  );

function elector(lease: string, identity: string): Elector {
  return new Elector({
    store: createLeaseStore({ api, namespace: 'default', name: lease, timeoutMs: 1_000 }),
    leaseName: lease,
    identity,
    times: TIMES,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    metrics: createOperatorMetrics(),
  });
}

interface Spec {
  holderIdentity: string;
  leaseDurationSeconds: number;
  leaseTransitions: number;
  acquireTime: string;
  renewTime: string;
}

const specOf = async (name: string) =>
  (JSON.parse(await kubectl('get', 'lease', name, '--output', 'json')) as { spec: Spec }).spec;

const soon = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 40_000, interval: 50 });

test('one of three leads, the record says so, and the next follows when it stops', async () => {
  await prepare('three');
  const electors = ['a', 'b', 'c'].map((identity) => elector('three', identity));
  for (const one of electors) one.start();
  const leaders = () => electors.filter(({ role }) => role === 'Leading');
  await soon(() => expect(leaders()).toHaveLength(1));
  const first = await specOf('three');
  expect(['a', 'b', 'c']).toContain(first.holderIdentity);
  expect(first).toMatchObject({ leaseDurationSeconds: 3, leaseTransitions: 1 });
  expect(first.renewTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  await soon(async () => expect((await specOf('three')).renewTime > first.renewTime).toBe(true));
  expect((await specOf('three')).acquireTime).toBe(first.acquireTime);

  const [leader] = leaders();
  await leader?.stop();
  await soon(() => expect(leaders().filter((one) => one !== leader)).toHaveLength(1));
  const second = await specOf('three');
  expect(second.holderIdentity).not.toBe(first.holderIdentity);
  expect(second.leaseTransitions).toBe(2);
  for (const one of electors) await one.stop();
  expect(await specOf('three')).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
  expect(await kubectl('get', 'lease', 'three', '--output', 'jsonpath={.metadata.labels.owner}')).toBe('chart');
});

test('a label that somebody puts on the Lease costs nobody the lead', async () => {
  await prepare('labelled');
  const one = elector('labelled', 'a');
  const roles: string[] = [];
  one.onChange(() => roles.push(one.role));
  one.start();
  await soon(() => expect(one.role).toBe('Leading'));
  await kubectl('label', 'lease', 'labelled', 'seen=true');
  const { renewTime } = await specOf('labelled');
  await soon(async () => expect((await specOf('labelled')).renewTime > renewTime).toBe(true));
  expect(roles).toEqual(['Leading']);
  await one.stop();
});

test('a Lease that kubectl writes by hand ends the lead', async () => {
  await prepare('taken');
  const one = elector('taken', 'a');
  one.start();
  await soon(() => expect(one.role).toBe('Leading'));
  await kubectl('patch', 'lease', 'taken', '--type', 'merge', '--patch', '{"spec":{"holderIdentity":"me"}}');
  await soon(() => expect(one.role).toBe('Lost'));
  expect(one.leftMs()).toBe(0);
  await one.stop();
});

/**
 * The look at the clock and the bytes on their way are two steps, and the kernel may stop the process between them. So nothing can promise
 * that nothing is sent: what was caught there goes out late, one write of a process at most, and has to lose.
 */
test('a leader that is stopped by the kernel overwrites nothing when it goes on', async () => {
  await prepare('stopped');
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) await createPolicy(api, name);
  // It writes as fast as it can, for as long as it leads.
  const child = spawn(
    process.execPath,
    [`${import.meta.dirname}/testing/busy-leader.ts`, plane.kubeconfigPath, JSON.stringify(TIMES), ...names],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    const said: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
    const written = async () => Number((await storedPolicy(api, 'a')).status?.summary);
    await soon(async () => expect(await written()).toBeGreaterThan(5));
    child.kill('SIGSTOP');
    const other = elector('stopped', 'other');
    other.start();
    await soon(() => expect(other.role).toBe('Leading'));
    const writer = new StatusWriter(fencedApi(api, other), createOperatorMetrics());
    const { signal } = new AbortController();
    for (const name of names) {
      // What the stopped one had sent before may still come while this one looks.
      const write = async () => writer.write(await lookAt(api, name), { summary: 'other' }, signal);
      await soon(async () => expect(await write()).not.toBe('Missed'));
    }
    const statuses = async () => {
      const found = await Promise.all(names.map((name) => storedPolicy(api, name)));
      return found.map(({ metadata, status }) => ({ version: metadata.resourceVersion, summary: status?.summary }));
    };
    const before = await statuses();
    child.kill('SIGCONT');
    await soon(() => expect(said).toContain('Lost'));
    expect(await statuses()).toEqual(before);
    expect(before.map(({ summary }) => summary)).toEqual(names.map(() => 'other'));
    await other.stop();
  } finally {
    child.kill('SIGKILL');
  }
}, 180_000);
