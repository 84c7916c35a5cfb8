// An operator that is told to stop before it has begun.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { silentLogger } from '../runtime/log.ts';
import type { UsedControlPlane } from '../test/harness/control-plane.ts';
import { useControlPlane } from '../test/harness/shared-control-plane.ts';
import type { OperatorConfig } from './config.ts';
import { startOperator } from './main.ts';
import { installedConfig } from './testing/installed.ts';

const NAMESPACE = 'broken-start';
let plane: UsedControlPlane;

beforeAll(async () => {
  plane = await useControlPlane();
});
afterAll(() => plane?.stop());

async function apply(object: object): Promise<void> {
  const { code, stderr } = await plane.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(object));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}

async function holder(): Promise<string> {
  const path = '{.spec.holderIdentity}';
  return (await plane.kubectl(['get', 'lease', NAMESPACE, '-n', NAMESPACE, '-o', `jsonpath=${path}`])).stdout;
}

function config(): OperatorConfig {
  const installed = installedConfig(plane.kubeconfigPath, 'breakwater-operator-0');
  if (installed.source.kind !== 'cluster') throw new Error('an installed operator is one of a cluster');
  return {
    ...installed,
    source: { ...installed.source, namespace: NAMESPACE, lease: NAMESPACE, certificateSecret: NAMESPACE },
  };
}

test('the lead is given back by an operator that is stopped while it waits for certificates', async () => {
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } });
  const metadata = { name: NAMESPACE, namespace: NAMESPACE };
  await apply({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata });
  // Nobody replaces what cannot be read: a person has to.
  const data = { 'certificates.json': Buffer.from('damaged').toString('base64') };
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata, data });
  const told = new AbortController();
  const starting = startOperator(config(), told.signal, silentLogger);
  starting.catch(() => undefined);
  await vi.waitFor(async () => expect(await holder()).toMatch(/^breakwater-operator-0_/), { timeout: 60_000 });
  told.abort();
  await expect(starting).rejects.toThrow('certificates did not start');
  expect(await holder()).toBe('');
}, 120_000);
