// Certificates that live two minutes: the authority is renewed three times while pods are created, with a webhook that may not fail, and
// while the pods of the first day live on, lose their sidecar's process, and lose all that it had been told.
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { bundleOf, createPods } from './harness/creation.ts';
import { killContainer } from './harness/kill.ts';
import { api, apiText, exec, kubectl, type Pod, podProxy } from './harness/kube.ts';
import {
  ADMIN_PORT,
  isInjected,
  metricValue,
  type OwnObject,
  pathOf,
  Shop,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { setFailurePolicy } from './harness/webhook.ts';
import { OPERATOR_DEPLOYMENT, OPERATOR_REPLICAS, SYSTEM_NAMESPACE } from './install.ts';
import { eventually } from './shell.ts';

const AUTHORITY_LIFETIME_SECONDS = 120;
const SERVING_LIFETIME_SECONDS = 60;
const LIFETIMES = {
  BREAKWATER_AUTHORITY_LIFETIME_SECONDS: AUTHORITY_LIFETIME_SECONDS,
  BREAKWATER_SERVING_LIFETIME_SECONDS: SERVING_LIFETIME_SECONDS,
};
const OPERATOR = 'app.kubernetes.io/component=operator';
const SIDECAR = 'breakwater';
const STATE_DIRECTORY = '/var/run/breakwater';
const FIRST_PODS = 3;

const SECRET = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/secrets/breakwater-certificates`;

/** What the operator stores of its certificates, without what is secret. */
interface State {
  authorities: { id: string; certificate: string }[];
  serving: { issuer: string };
}

let shop: Shop;
let policies = 0;

beforeAll(async () => {
  await beginAnew(Object.entries(LIFETIMES).map(([name, seconds]) => `${name}=${seconds}`));
  await setFailurePolicy('Fail');
  shop = await Shop.open('rotation', { checkout: FIRST_PODS, idle: true, policy: nextPolicy() });
}, 180_000);

afterAll(async () => {
  await setFailurePolicy('Ignore');
  await shop?.close();
  await beginAnew(Object.keys(LIFETIMES).map((name) => `${name}-`));
}, 120_000);

/**
 * Installs the operator with other variables and without the certificates that it had: what was issued for ten years is good for ten
 * years, however long what comes next is to live.
 */
async function beginAnew(environment: readonly string[]): Promise<void> {
  const deployment = `deployment/${OPERATOR_DEPLOYMENT}`;
  await kubectl('-n', SYSTEM_NAMESPACE, 'scale', deployment, '--replicas=0');
  await kubectl('-n', SYSTEM_NAMESPACE, 'wait', 'pod', '-l', OPERATOR, '--for=delete', '--timeout=180s');
  await api('PATCH', SECRET, { data: null }, 'application/merge-patch+json');
  await kubectl('-n', SYSTEM_NAMESPACE, 'set', 'env', deployment, ...environment);
  await kubectl('-n', SYSTEM_NAMESPACE, 'scale', deployment, `--replicas=${OPERATOR_REPLICAS}`);
  await untilReady(SYSTEM_NAMESPACE, OPERATOR, OPERATOR_REPLICAS);
}

async function state(): Promise<State> {
  const { data } = await api<{ data: Record<string, string> }>('GET', SECRET);
  return JSON.parse(Buffer.from(data['certificates.json'] ?? '', 'base64').toString('utf8')) as State;
}

function nextPolicy() {
  policies += 1;
  return { circuitBreaker: { consecutiveFailures: 5, openFor: `${policies}s` } };
}

/** All sidecars take a change of the policy, and are counted. */
async function changeReaches(sidecars: number): Promise<void> {
  await shop.applyPolicy(nextPolicy());
  await untilCondition('ResiliencePolicy', shop.namespace, 'payments', 'Programmed', 'True');
  const { status } = await api<OwnObject>('GET', pathOf('ResiliencePolicy', shop.namespace, 'payments'));
  expect(status).toMatchObject({ programmed: `${sidecars}/${sidecars}` });
}

const isCheckout = 'app=checkout';

/** Ids of the authorities that a pod was born with, newest first, as the operator stores them. */
const bornWith = (pod: Pod, { authorities }: State): string[] =>
  authorities.filter(({ certificate }) => bundleOf(pod).includes(certificate.trim())).map(({ id }) => id);

const logOf = ({ metadata }: Pod, ...options: string[]) =>
  kubectl('-n', shop.namespace, 'logs', metadata.name, '-c', SIDECAR, ...options);

/** How often a stream of this process of the sidecar was opened. */
const timesUp = (log: string, stream: string): number =>
  log.split('\n').filter((line) => line.includes('"stream is up"') && line.includes(`"stream":"${stream}"`)).length;

async function podNamed(name: string): Promise<Pod> {
  return api<Pod>('GET', `/api/v1/namespaces/${shop.namespace}/pods/${name}`);
}

/** Ends the sidecar of the pod without a word, and waits until the next one has both streams. Resolves to the log of the next one. */
async function restart(name: string): Promise<string> {
  const pod = await podNamed(name);
  await killContainer(pod, SIDECAR);
  await eventually(`the sidecar of ${name} is back`, 30_000, async () => {
    const { status } = await podNamed(name);
    const sidecar = status.initContainerStatuses?.find((one) => one.name === SIDECAR);
    return sidecar?.restartCount === 1 && sidecar.ready ? true : undefined;
  });
  await eventually(`the sidecar of ${name} has its streams`, 15_000, async () => {
    const text = await apiText('GET', podProxy(shop.namespace, name, ADMIN_PORT, '/metrics'));
    return metricValue(text, 'breakwater_stream_up') === 2 ? true : undefined;
  });
  return logOf(pod);
}

test('the authority is renewed three times: every pod is injected, and every sidecar stays or comes back', async () => {
  const stop = createPods(shop.namespace, 'checkout');
  onTestFinished(async () => void (await stop()));
  const first = await untilReady(shop.namespace, isCheckout, FIRST_PODS);
  const [emptied, kept, untouched] = first;
  if (!emptied || !kept || !untouched) throw new Error('there are no pods');
  const begin = await state();
  const known = bornWith(emptied, begin);
  expect(known.length).toBeGreaterThan(0);
  for (const pod of first) expect(bornWith(pod, begin)).toEqual(known);

  const signed = new Set([begin.serving.issuer]);
  const authorityChanges = () =>
    eventually('another authority signs', AUTHORITY_LIFETIME_SECONDS * 500, async () => {
      const { issuer } = (await state()).serving;
      return known.includes(issuer) || signed.has(issuer) ? undefined : signed.add(issuer);
    });
  let sidecars = FIRST_PODS;
  const grow = async () => {
    sidecars += 1;
    await kubectl('-n', shop.namespace, 'scale', 'deployment/checkout', `--replicas=${sidecars}`);
    const pods = await untilReady(shop.namespace, isCheckout, sidecars);
    expect(pods.every(isInjected)).toBe(true);
    await changeReaches(sidecars);
  };
  await authorityChanges();
  await grow();
  await authorityChanges();
  for (const pod of first) {
    const log = await logOf(pod);
    expect([timesUp(log, 'plan'), timesUp(log, 'endpoints')]).toEqual([1, 1]);
  }

  // With nothing but what it was born with.
  const emptying = `const fs = require('node:fs');
    for (const name of fs.readdirSync('${STATE_DIRECTORY}')) fs.rmSync('${STATE_DIRECTORY}/' + name, { recursive: true });`;
  await exec(shop.namespace, emptied.metadata.name, SIDECAR, 'node', '-e', emptying);
  const newborn = await restart(emptied.metadata.name);
  expect(newborn).not.toContain('restored from disk');
  const { authorities, serving } = await state();
  expect(known).not.toContain(serving.issuer);
  expect(authorities.map(({ id }) => id)).toContain(known[0]);
  await grow();

  // With what it was told, for all that it was born with is over.
  await eventually('the authorities of the first day are gone', AUTHORITY_LIFETIME_SECONDS * 1_000, async () => {
    const now = await state();
    signed.add(now.serving.issuer);
    return now.authorities.some(({ id }) => known.includes(id)) ? undefined : true;
  });
  const returned = await restart(kept.metadata.name);
  expect(returned).toContain('plan restored from disk');
  await changeReaches(sidecars);

  const pods = await untilReady(shop.namespace, isCheckout, sidecars);
  const before = [emptied, kept].map((pod) => logOf(pod, '--previous'));
  const logs = await Promise.all([...before, ...pods.map((pod) => logOf(pod))]);
  expect(logs.filter((log) => log.includes('"untrusted"'))).toEqual([]);
  const held = await logOf(untouched);
  expect([timesUp(held, 'plan'), timesUp(held, 'endpoints')]).toEqual([1, 1]);

  const { injected, bundles, failures } = await stop();
  console.info(`${injected} pods injected with ${bundles.size} bundles, by certificates of ${signed.size} authorities`);
  expect(failures).toEqual([]);
  expect(injected).toBeGreaterThan(200);
  expect(bundles.size).toBeGreaterThanOrEqual(4);
}, 260_000);
