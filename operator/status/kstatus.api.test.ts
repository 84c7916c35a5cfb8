// What those who wait make of our objects, at each stage of their lives: kubectl, and the kstatus libraries that helm and Flux decide by. The
// objects come from a real API server, their statuses from our code.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { kubectlOn, makeShop } from '../../test/harness/shop-namespace.ts';
import { compile } from '../compile/compile.ts';
import { type Manifest, pod, policy, service, serviceDependency, TARGETS, world } from '../compile/testing.ts';
import type { ExclusionSummary } from '../distribute/exclusions.ts';
import type { CircuitSummary } from '../distribute/session-summaries.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import type { OwnObject } from '../watch/world-source.ts';
import { statusOf } from './conditions.ts';
import type { SidecarReports, StatusSubject } from './scope.ts';
import { StatusWriter } from './writer.ts';

let plane: UsedControlPlane;
let api: ApiClient;
let writer: StatusWriter;

beforeAll(async () => {
  plane = await useControlPlane();
  api = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: () => 0 });
  writer = new StatusWriter(api, createOperatorMetrics());
  await makeShop(plane);
});

afterAll(async () => {
  await api?.close();
  await plane?.stop();
});

beforeEach(async () => {
  await kubectl('delete', 'sdep,rpol', '--all', '-n', 'shop', '--wait');
});

const kubectl = (...args: readonly string[]): Promise<string> => kubectlOn(plane, ...args);

async function apply(...manifests: readonly Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    const { code, stderr } = await plane.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(manifest));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  }
}

type Kind = 'ServiceDependency' | 'ResiliencePolicy';
interface Stored extends Manifest {
  metadata: { uid: string; generation: number; name: string };
  status?: unknown;
}

async function stored(kind: Kind, name: string): Promise<Stored> {
  return JSON.parse(await kubectl('get', kind, name, '-n', 'shop', '-o', 'json')) as Stored;
}

function ask(program: string, input: unknown): Promise<unknown> {
  return new Promise((done, failed) => {
    const child = execFile(join(plane.binaries, program), (error, stdout) =>
      error ? failed(error) : done(JSON.parse(stdout)),
    );
    child.stdin?.end(JSON.stringify(input));
  });
}

/** The health check for Argo CD that the docs give. */
function argoScript(kind: Kind): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const block =
    [...page.matchAll(/^```yaml\n([^]*?)^```/gm)].find(([, text]) => text?.includes('argocd-cm'))?.[1] ?? '';
  const { data } = parseYaml(block) as { data: Record<string, string> };
  return data[`resource.customizations.health.breakwater.dev_${kind}`] ?? '';
}

const ARGO: Readonly<Record<string, string>> = { InProgress: 'Progressing', Current: 'Healthy', Failed: 'Degraded' };

/** The verdicts of sigs.k8s.io/cli-utils and of its fork in helm and Flux, which have to be equal; and Argo CD has to say the same. */
async function kstatus(kind: Kind, name: string): Promise<{ status: string; message: string }> {
  const object = await stored(kind, name);
  const [[original, fork] = []] = (await ask('kstatus', [object])) as { status: string; message: string }[][];
  if (original === undefined) throw new Error('kstatus said nothing');
  expect(fork).toEqual(original);
  const expected = ARGO[original.status];
  if (expected !== undefined) {
    const [argo] = (await ask('argo-health', { script: argoScript(kind), objects: [object] })) as object[];
    expect(argo).toMatchObject({ status: expected, message: expect.stringMatching(/./) });
  }
  return original;
}

/** Whether `kubectl wait --for=condition=Ready` comes back at once. */
async function isWaitOver(kind: Kind, name: string): Promise<boolean> {
  const wait = ['wait', '--for=condition=Ready', `${kind}/${name}`, '-n', 'shop', '--timeout=0'];
  const { code, stderr } = await plane.kubectl(wait);
  if (code !== 0) expect(stderr).toContain('condition not met');
  return code === 0;
}

interface Operator {
  /** Of the workload shop/checkout. */
  applied?: number;
  circuits?: readonly CircuitSummary[];
  exclusions?: readonly ExclusionSummary[];
  /** Beside the objects of ours: what the cluster holds. */
  cluster?: readonly Manifest[];
  /** As an operator would see it that cannot read the object. */
  invalid?: boolean;
}

const CLUSTER = [service('payments'), pod('checkout-1'), pod('checkout-2')];

/** The operator looks at an object and writes its status. */
async function look(kind: Kind, name: string, given: Operator = {}): Promise<void> {
  const { cluster = CLUSTER, applied = 2, circuits = [], exclusions = [], invalid = false } = given;
  const list = JSON.parse(await kubectl('get', 'sdep,rpol', '-n', 'shop', '-o', 'json')) as { items: Stored[] };
  const result = compile(world([...list.items, ...cluster]));
  const object = await stored(kind, name);
  const { uid, generation } = object.metadata;
  const parsed = kind === 'ServiceDependency' ? parseServiceDependency(object) : parseResiliencePolicy(object);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed));
  const problems = [{ path: 'spec.dependsOn[0].service.port', message: 'write a port from 1 to 65535' }];
  const broken = { kind, namespace: 'shop', name, generation, problems };
  const content: StatusSubject['content'] = invalid ? { invalid: broken } : { model: parsed.model };
  const own: OwnObject = { kind, namespace: 'shop', name, uid, generation, content, status: object.status };
  const appliedPods = ['checkout-1', 'checkout-2'].slice(0, applied);
  const report = { applied, of: 2, nacks: [], locallyDisabled: [], appliedPods };
  const reports: SidecarReports = {
    applied: new Map([['shop/checkout', report]]),
    circuits,
    exclusions,
    opaque: [],
    tls: [],
  };
  const compiled = invalid
    ? { ...result, problems: [{ ...broken, object: { namespace: 'shop', name }, ...INVALID }] }
    : result;
  await writer.write(own, statusOf(own, compiled, reports, '2026-03-01T10:00:00Z'), new AbortController().signal);
}

const INVALID = {
  field: 'spec.dependsOn[0].service.port',
  condition: 'Accepted',
  severity: 'Error',
  reason: 'Invalid',
  message: 'write a port from 1 to 65535',
} as const;

const OPEN: CircuitSummary = {
  dependencyId: 'shop/checkout/payments',
  stateKey: 'circuitBreaker:base',
  state: 'Open',
  sidecars: 2,
  totalSidecars: 2,
  sinceUnixMs: Date.parse('2026-03-01T09:59:00Z'),
  failingSinceUnixMs: Date.parse('2026-03-01T09:50:00Z'),
  nextProbeUnixMs: Date.parse('2026-03-01T10:00:30Z'),
  reopenings: 4,
  reason: '5 consecutive failures (last: ConnectFailure)',
};

const EJECTED: ExclusionSummary = {
  dependencyId: 'shop/checkout/payments',
  stateKey: 'outlierDetection:base',
  sidecars: 1,
  totalSidecars: 2,
  panickingSidecars: 0,
  endpoints: 1,
  totalEndpoints: 3,
  sinceUnixMs: Date.parse('2026-03-01T09:59:00Z'),
  names: [{ endpoint: '10.0.0.2:8080', sidecars: 1, reason: '5 consecutive failures (last: Reset)' }],
};

const checkout = () => serviceDependency('checkout');
const team = (spec: Manifest = { circuitBreaker: {} }) => policy('team', [TARGETS.dependency('checkout')], spec);

test('an object that no operator has looked at is in progress, not done', async () => {
  await apply(checkout(), team());
  for (const [kind, name] of [
    ['ServiceDependency', 'checkout'],
    ['ResiliencePolicy', 'team'],
  ] as const) {
    expect(await kstatus(kind, name)).toMatchObject({
      status: 'InProgress',
      message: expect.stringContaining('latest observed generation is 0'),
    });
    expect(await isWaitOver(kind, name)).toBe(false);
    expect((await kubectl('get', kind, name, '-n', 'shop')).split('\n')[1]).toMatch(
      /Unknown +waiting for the operator/,
    );
  }
});

test('an object that is applied everywhere is current, and in progress again after every change until that is applied', async () => {
  await apply(checkout(), team());
  await look('ResiliencePolicy', 'team');
  expect(await kstatus('ResiliencePolicy', 'team')).toMatchObject({ status: 'Current' });
  expect(await isWaitOver('ResiliencePolicy', 'team')).toBe(true);

  await apply(team({ circuitBreaker: { consecutiveFailures: 7 } }));
  expect(await kstatus('ResiliencePolicy', 'team')).toMatchObject({
    status: 'InProgress',
    message: expect.stringContaining('generation is 2, but latest observed generation is 1'),
  });
  // The condition is True, and of the generation before.
  expect(await isWaitOver('ResiliencePolicy', 'team')).toBe(false);

  await look('ResiliencePolicy', 'team', { applied: 1 });
  expect(await kstatus('ResiliencePolicy', 'team')).toMatchObject({
    status: 'InProgress',
    message: expect.stringContaining('applied by 1 of 2 sidecars'),
  });
  expect(await isWaitOver('ResiliencePolicy', 'team')).toBe(false);

  await look('ResiliencePolicy', 'team');
  expect(await kstatus('ResiliencePolicy', 'team')).toMatchObject({ status: 'Current' });
  expect(await isWaitOver('ResiliencePolicy', 'team')).toBe(true);
});

test('an open circuit leaves both kinds current: the outage of another service fails no deployment', async () => {
  await apply(checkout(), team());
  await look('ServiceDependency', 'checkout', { circuits: [OPEN] });
  await look('ResiliencePolicy', 'team', { circuits: [OPEN] });
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({ status: 'Current' });
  expect(await kstatus('ResiliencePolicy', 'team')).toMatchObject({ status: 'Current' });
  expect(await isWaitOver('ServiceDependency', 'checkout')).toBe(true);
  expect((await kubectl('get', 'sdep', 'checkout', '-n', 'shop')).split('\n')[1]).toMatch(
    /True +1\/1 resolved · 2\/2 sidecars · payments Open in 2 of 2 /,
  );
  const described = await kubectl('describe', 'sdep', 'checkout', '-n', 'shop');
  for (const line of [
    /Failing Since: +2026-03-01T09:50:00Z/,
    /Next Probe: +2026-03-01T10:00:30Z/,
    /Reason: +5 consecutive failures \(last: ConnectFailure\)/,
    /Reopenings: +4/,
    /Sidecars: +2/,
    /Total Sidecars: +2/,
  ])
    expect(described).toMatch(line);

  // It is closed again: nothing of it is left behind.
  await look('ServiceDependency', 'checkout');
  const { status } = await stored('ServiceDependency', 'checkout');
  expect(status).toMatchObject({ openCircuits: '', summary: '1/1 resolved · 2/2 sidecars' });
  expect(status).not.toHaveProperty('circuits');
});

test('endpoints that get no calls leave both kinds current, and are told with their names while they last', async () => {
  await apply(checkout(), team({ outlierDetection: {} }));
  for (const [kind, name, dependency] of [
    ['ServiceDependency', 'checkout', 'payments'],
    ['ResiliencePolicy', 'team', 'shop/checkout/payments'],
  ] as const) {
    await look(kind, name, { exclusions: [EJECTED] });
    expect(await kstatus(kind, name)).toMatchObject({ status: 'Current' });
    expect((await stored(kind, name)).status).toMatchObject({
      summary: expect.stringContaining('payments 1 of 3 endpoints Ejected in 1 of 2'),
      excludedEndpoints: [{ dependency, rule: 'base', names: EJECTED.names }],
    });
  }
  // Another one is out, and the first one is back.
  const names = [{ endpoint: '10.0.0.3:8080', sidecars: 1, reason: 'success rate' }];
  await look('ServiceDependency', 'checkout', { exclusions: [{ ...EJECTED, names }] });
  expect((await stored('ServiceDependency', 'checkout')).status).toMatchObject({ excludedEndpoints: [{ names }] });
  await look('ServiceDependency', 'checkout');
  expect((await stored('ServiceDependency', 'checkout')).status).not.toHaveProperty('excludedEndpoints');
});

test('what another object may mend is in progress, with the fix', async () => {
  await apply(checkout());
  await look('ServiceDependency', 'checkout', { cluster: [] });
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({
    status: 'InProgress',
    message: expect.stringMatching(
      /Service shop\/payments does not exist, .*; create it, or correct name and namespace/,
    ),
  });
  expect(await isWaitOver('ServiceDependency', 'checkout')).toBe(false);
  await look('ServiceDependency', 'checkout');
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({ status: 'Current' });
});

test('what only another spec mends has failed, until that comes', async () => {
  await apply(checkout());
  await look('ServiceDependency', 'checkout', { invalid: true });
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({
    status: 'Failed',
    message: 'spec.dependsOn[0].service.port: write a port from 1 to 65535',
  });
  await look('ServiceDependency', 'checkout');
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({ status: 'Current' });
  const { status } = await stored('ServiceDependency', 'checkout');
  expect((status as { conditions: { type: string }[] }).conditions.map(({ type }) => type).sort()).toEqual([
    'Accepted',
    'Programmed',
    'Ready',
    'ResolvedRefs',
  ]);
});

test('an object that is being deleted is terminating', async () => {
  await apply({ ...checkout(), metadata: { name: 'checkout', namespace: 'shop', finalizers: ['example.com/hold'] } });
  await look('ServiceDependency', 'checkout');
  await kubectl('delete', 'sdep', 'checkout', '-n', 'shop', '--wait=false');
  expect(await kstatus('ServiceDependency', 'checkout')).toMatchObject({ status: 'Terminating' });
  await kubectl('patch', 'sdep', 'checkout', '-n', 'shop', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
});
