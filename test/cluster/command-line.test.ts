// The command line against a cluster that runs: pods that `breakwater inject` has made, in a namespace that no webhook looks at, and what
// `kubectl breakwater explain` says of them.
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { apply, control, type Pod } from './harness/kube.ts';
import { deployment, resiliencePolicy, serviceDependency } from './harness/objects.ts';
import {
  deleteNamespace,
  freshNamespace,
  isInjected,
  type Report,
  Shop,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { REPOSITORY_ROOT } from './images.ts';
import { run } from './shell.ts';

const NAMESPACE = 'test-by-hand';
const CAPTURES = ['iptables', 'loopback', 'explicit'] as const;
let shop: Shop;
let folder: string;

const breakwater = (args: readonly string[], input = '') =>
  run(process.execPath, [join(REPOSITORY_ROOT, 'cli/main.ts'), ...args], { input });

beforeAll(async () => {
  folder = temporaryFolder('test-plugin');
  shop = await Shop.open('command-line');
  await freshNamespace(NAMESPACE);
  const payments = { name: 'payments', service: { name: 'payments', namespace: shop.namespace, port: 8080 } };
  await apply(
    ...CAPTURES.map((capture) => serviceDependency(NAMESPACE, capture, `checkout-${capture}`, [payments])),
    ...CAPTURES.map((capture) =>
      resiliencePolicy(NAMESPACE, capture, capture, 'payments', {
        circuitBreaker: { consecutiveFailures: 5, openFor: '10m' },
      }),
    ),
  );
});
afterAll(async () => {
  await Promise.all([shop?.close(), deleteNamespace(NAMESPACE), rm(folder, { recursive: true, force: true })]);
});

test.each(CAPTURES)('a Deployment that was injected by hand is protected, capture %s', async (capture) => {
  const name = `checkout-${capture}`;
  const annotations = { 'breakwater.dev/capture': capture };
  const manifest = JSON.stringify(deployment({ namespace: NAMESPACE, name, script: 'client.ts', annotations }));
  const injected = await breakwater(['inject', '-', '--strict'], manifest);
  await run('kubectl', ['apply', '-f', '-'], { input: injected });
  const [pod] = await untilReady(NAMESPACE, `app=${name}`, 1);
  if (pod === undefined || !isInjected(pod)) throw new Error('no pod, or one without a sidecar');
  await untilCondition('ResiliencePolicy', NAMESPACE, capture, 'Programmed', 'True');
  await shop.behave({ status: 500 });
  await shop.resetCounts();
  const report = await control<Report>(NAMESPACE, pod.metadata.name, 'load', { url: urlFor(pod), requests: 20 });
  expect(report.reasons).toEqual({ 'circuit-open': 15 });
  expect((await shop.counts()).requests).toBe(5);
});

/** Where the application would call: the Service, or what stands in its environment. */
function urlFor(pod: Pod): string {
  const containers = pod.spec.containers as { name: string; env?: { name: string; value?: string }[] }[];
  const variables = containers.find(({ name }) => name === 'app')?.env ?? [];
  const told = variables.find(({ name }) => name === 'BREAKWATER_PAYMENTS_URL')?.value;
  return told === undefined ? `http://payments.${shop.namespace}:8080/` : `${told}/`;
}

test('kubectl breakwater explain says what holds for it', async () => {
  const plugin = join(folder, 'kubectl-breakwater');
  await writeFile(
    plugin,
    `#!/bin/sh\nexec '${process.execPath}' '${join(REPOSITORY_ROOT, 'cli/main.ts')}' '--invoked-as=kubectl breakwater' "$@"\n`,
  );
  await chmod(plugin, 0o755);
  const env = { PATH: `${folder}:${process.env['PATH']}` };
  const said = await run(
    'kubectl',
    ['breakwater', 'explain', 'deploy/checkout-iptables', 'payments', '-n', NAMESPACE],
    { env },
  );
  expect(said).toContain(`calls payments: Service ${shop.namespace}/payments:8080, HTTP by its port`);
  expect(said).toMatch(/openFor +10m +test-by-hand\/iptables/);
  expect(said).not.toContain('PodsNotInjected');
});
