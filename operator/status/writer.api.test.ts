// Which of two writers of a status wins is decided by a real API server: server-side apply with `force` and a version of the object.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { kubectlOn, makeShop } from '../../test/harness/shop-namespace.ts';
import { createPolicy, lookAt, storedPolicy } from '../elect/testing/policies.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { StatusWriter } from './writer.ts';

const signal = new AbortController().signal;

let plane: UsedControlPlane;
let api: ApiClient;

beforeAll(async () => {
  plane = await useControlPlane();
  api = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: () => 0 });
  await makeShop(plane);
});

afterAll(async () => {
  await api?.close();
  await plane?.stop();
});

beforeEach(async () => {
  await kubectl('delete', 'rpol', '--all', '-n', 'shop', '--wait');
  await createPolicy(api, 'p');
});

const kubectl = (...args: readonly string[]): Promise<string> => kubectlOn(plane, ...args);

const stored = () => storedPolicy(api, 'p');
const seen = () => lookAt(api, 'p');

/** A process of its own knows only what it wrote itself. */
const writer = () => new StatusWriter(api, createOperatorMetrics());

test('what a replica sends late loses to what the one that leads since has written', async () => {
  const before = await seen();
  expect(await writer().write(before, { summary: 'of the one that leads now' }, signal)).toBe('Written');
  const { metadata } = await stored();
  // The one before looked whether it leads, was stopped by the kernel, and sends what it had decided then.
  expect(await writer().write(before, { summary: 'of the one before' }, signal)).toBe('Missed');
  expect(await stored()).toMatchObject({
    metadata: { resourceVersion: metadata.resourceVersion },
    status: { summary: 'of the one that leads now' },
  });
});

test('what was decided of a spec that is another one by now is not written', async () => {
  const before = await seen();
  await kubectl('patch', 'rpol', 'p', '-n', 'shop', '--type=merge', '-p', '{"spec":{"timeouts":{"request":"2s"}}}');
  expect(await writer().write(before, { summary: 'of 1s' }, signal)).toBe('Missed');
  expect(await writer().write(await seen(), { summary: 'of 2s' }, signal)).toBe('Written');
});

test('a watch that is behind our own writes keeps nothing from being written', async () => {
  const before = await seen();
  const own = writer();
  for (const summary of ['first', 'second', 'third']) {
    expect(await own.write(before, { summary }, signal)).toBe('Written');
  }
  expect(await stored()).toMatchObject({ status: { summary: 'third' } });
});
