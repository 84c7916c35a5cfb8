// What kubectl tells: at a glance, on refusal, on mistakes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { invalidCrdCases, SEPARATOR } from '../harness/crd-cases.ts';
import { errorsOfEach } from '../harness/dry-run.ts';
import { apply, kubectl } from './harness/kube.ts';
import { resiliencePolicy, serviceDependency } from './harness/objects.ts';
import { Shop, untilCondition } from './harness/shop.ts';
import { CommandError, eventually, run } from './shell.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('status', {
    checkout: 2,
    policy: { circuitBreaker: { consecutiveFailures: 5, openFor: '10m' } },
  });
});
afterAll(() => shop?.close());

/** Columns of the row of one object in `kubectl get sdep,rpol -A -o wide`, by the heads of the table. */
async function row(kind: string, name: string): Promise<Record<string, string>> {
  const table = await kubectl('get', 'sdep,rpol', '-A', '-o', 'wide');
  let head: { title: string; at: number }[] = [];
  for (const line of table.split('\n')) {
    if (line.startsWith('NAMESPACE'))
      head = [...line.matchAll(/\S+/g)].map((match) => ({ title: match[0], at: match.index }));
    else if (line.startsWith(`${shop.namespace} `) && line.includes(`${kind}.breakwater.dev/${name} `)) {
      return Object.fromEntries(
        head.map(({ title, at }, index) => [title, line.slice(at, head[index + 1]?.at).trim()]),
      );
    }
  }
  throw new Error(`${kind}/${name} is not in\n${table}`);
}

test('kubectl get sdep,rpol -A -o wide tells what is resolved and programmed', async () => {
  expect(await row('servicedependency', 'checkout')).toMatchObject({
    READY: 'True',
    RESOLVED: '1/1',
    PROGRAMMED: '2/2',
    CIRCUITS: '',
  });
  expect(await row('resiliencepolicy', 'payments')).toMatchObject({
    READY: 'True',
    RESOLVED: '1/1',
    PROGRAMMED: '2/2',
  });
});

test('… and what is open, and in how many sidecars', async () => {
  await shop.behave({ status: 500 });
  await shop.load({ requests: 5 });
  await eventually('the column shows it', 10_000, async () => {
    const { CIRCUITS } = await row('servicedependency', 'checkout');
    return CIRCUITS?.startsWith('payments Open in 1 of ') ? true : undefined;
  });
});

test('a policy with a missing target says so, and what to do', async () => {
  await apply(resiliencePolicy(shop.namespace, 'lost', 'no-such-dependency', 'payments', { circuitBreaker: {} }));
  const resolved = await untilCondition('ResiliencePolicy', shop.namespace, 'lost', 'ResolvedRefs', 'False');
  expect(resolved.reason).toBe('TargetNotFound');
  expect(resolved.message).toMatch(/no-such-dependency/);
  expect(await row('resiliencepolicy', 'lost')).toMatchObject({ READY: 'False', RESOLVED: '0/1' });
});

test('a dependency on a missing Service says so, and is mended when the Service appears', async () => {
  await apply(
    serviceDependency(shop.namespace, 'later', 'nobody', [{ name: 'stock', service: { name: 'stock', port: 80 } }]),
  );
  const resolved = await untilCondition('ServiceDependency', shop.namespace, 'later', 'ResolvedRefs', 'False');
  expect(resolved.message).toMatch(/stock/);
  await kubectl('-n', shop.namespace, 'create', 'service', 'clusterip', 'stock', '--tcp=80:80');
  await untilCondition('ServiceDependency', shop.namespace, 'later', 'ResolvedRefs', 'True');
});

test('of two policies on one target the younger says that it has no effect', async () => {
  await apply(resiliencePolicy(shop.namespace, 'younger', 'checkout', 'payments', { bulkhead: {} }));
  const accepted = await untilCondition('ResiliencePolicy', shop.namespace, 'younger', 'Accepted', 'False');
  expect(accepted.reason).toBe('Conflicted');
  expect(accepted.message).toMatch(/payments/);
});

describe('kubectl apply refuses each invalid example with a message that a user can act on', () => {
  // The whole folder goes through an API server in the tests beside the CRDs; here a sample, as a user does it.
  const sample = invalidCrdCases().filter((_one, index) => index % 5 === 0);
  let refusals: string[][];
  beforeAll(async () => {
    const texts = sample.map(({ text }) => text.replace(/namespace: \w+/, `namespace: ${shop.namespace}`));
    refusals = await errorsOfEach(texts, async (folder) => {
      const args = ['apply', '--dry-run=server', '--validate=strict', '-n', shop.namespace, '-f', folder];
      const refusal = await run('kubectl', args).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!(refusal instanceof CommandError)) throw new Error('nothing was refused', { cause: refusal });
      return refusal.stderr;
    });
  });

  test.each(sample.map((one, index) => [one.name, index, one] as const))('%s', (_name, index, { message }) => {
    expect(refusals[index]).toHaveLength(1);
    for (const sentence of message.split(SEPARATOR)) expect(refusals[index]?.[0]).toContain(sentence);
  });
});
