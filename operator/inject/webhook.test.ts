import { fastify } from 'fastify';
import { Registry } from 'prom-client';
import { describe, expect, test, vi } from 'vitest';
import { readBootstrap } from '../../plan/bootstrap.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { applyPatch } from './apply-patch.ts';
import type { Declared } from './declared.ts';
import type { Pod, PodNamespace } from './pod.ts';
import { defaultSettings } from './settings.ts';
import {
  type AdmissionResponse,
  createInjectionMetrics,
  type InjectionReport,
  type InjectorOptions,
  registerInjector,
} from './webhook.ts';

const namespaces = new Map<string, PodNamespace>([
  ['shop', { labels: { 'breakwater.dev/injection': 'enabled' }, annotations: {} }],
  [
    'locked',
    {
      labels: { 'breakwater.dev/injection': 'enabled', 'pod-security.kubernetes.io/enforce': 'restricted' },
      annotations: {},
    },
  ],
  ['others', { labels: {}, annotations: {} }],
]);

const pod = (over: Partial<Pod> = {}): Pod => ({
  metadata: {
    generateName: 'checkout-',
    ownerReferences: [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'checkout-1', uid: 'rs-uid', controller: true },
    ],
  },
  spec: { serviceAccountName: 'checkout', containers: [{ name: 'app', image: 'shop/checkout:1' }] },
  ...over,
});

function setUp(over: Partial<InjectorOptions> = {}) {
  const clock = new ManualClock();
  const registry = new Registry();
  const reports: InjectionReport[] = [];
  const server = fastify();
  registerInjector(server, {
    clock,
    log: silentLogger,
    namespaceOf: (name) => namespaces.get(name),
    declared: () => [],
    clusterDomain: 'cluster.local',
    caBundle: () => 'PEM',
    operatorUrl: 'https://breakwater-operator.breakwater-system.svc:8443',
    version: '0.1.0',
    defaults: defaultSettings(),
    report: (report) => reports.push(report),
    metrics: createInjectionMetrics(registry),
    ...over,
  });
  const post = async (payload: unknown) => {
    const answer = await server.inject({ method: 'POST', url: '/inject', payload: payload as object });
    return { status: answer.statusCode, body: answer.json<{ response: AdmissionResponse }>() };
  };
  const review = async (request: object) => {
    const { status, body } = await post({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      request: {
        uid: 'review-1',
        kind: { group: '', version: 'v1', kind: 'Pod' },
        operation: 'CREATE',
        namespace: 'shop',
        object: pod(),
        ...request,
      },
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: { uid: 'review-1', allowed: true },
    });
    return body.response;
  };
  return { clock, registry, reports, server, post, review };
}

type Operations = Parameters<typeof applyPatch>[1];

function patched(response: AdmissionResponse): Pod {
  expect(response.patchType).toBe('JSONPatch');
  const operations = JSON.parse(Buffer.from(response.patch ?? '', 'base64').toString()) as Operations;
  return applyPatch(pod(), operations) as Pod;
}

describe('a pod', () => {
  test('is injected, and reported with its controller', async () => {
    const { review, reports } = setUp();
    const response = await review({});
    expect(patched(response).spec?.initContainers?.map(({ name }) => name)).toEqual([
      'breakwater-capture',
      'breakwater',
    ]);
    expect(response.auditAnnotations).toEqual({ injection: 'Injected' });
    expect(response.warnings).toBeUndefined();
    expect(reports).toEqual([
      {
        namespace: 'shop',
        name: 'checkout-',
        owner: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'checkout-1', uid: 'rs-uid' },
        injected: true,
        reason: 'Injected',
        message: '',
        leftOut: [],
        dryRun: false,
      },
    ]);
  });

  test('that cannot be injected is allowed with a warning that Kubernetes does not cut', async () => {
    const { review, reports } = setUp();
    const annotations = { 'breakwater.dev/capture': 'iptables' };
    const response = await review({ namespace: 'locked', dryRun: true, object: pod({ metadata: { annotations } }) });
    expect(response.patch).toBeUndefined();
    expect(response.warnings?.[0]).toContain(
      'not injected by Breakwater (PodSecurity): the namespace enforces PodSecurity restricted',
    );
    expect(response.warnings?.every((warning) => warning.length <= 256)).toBe(true);
    expect(response.auditAnnotations).toEqual({ injection: 'PodSecurity' });
    expect(reports).toMatchObject([{ injected: false, reason: 'PodSecurity', dryRun: true }]);
  });

  test('that opted out is not talked about', async () => {
    const { review } = setUp();
    const response = await review({
      object: pod({ metadata: { labels: { 'breakwater.dev/injection': 'disabled' } } }),
    });
    expect(response.warnings).toBeUndefined();
    expect(response.patch).toBeUndefined();
  });

  test('with a misspelt annotation is injected and warned about', async () => {
    const { review } = setUp();
    const response = await review({
      object: pod({ metadata: { annotations: { 'breakwater.dev/captur': 'iptables' } } }),
    });
    expect(response.patch).toBeDefined();
    expect(response.warnings).toEqual([
      'breakwater: the annotation breakwater.dev/captur is not known to Breakwater and has no effect',
    ]);
  });

  test('of a namespace that is not known yet waits for it, for a second', async () => {
    const late = new Map<string, PodNamespace>();
    const { review, clock } = setUp({ namespaceOf: (name) => late.get(name) });
    const first = review({});
    await settle();
    await clock.advance(500);
    late.set('shop', { labels: {}, annotations: {} });
    await clock.advance(25);
    expect((await first).patch).toBeDefined();
    const second = review({ namespace: 'other' });
    await settle();
    await clock.advance(1_000);
    expect((await second).warnings?.[0]).toContain('NamespaceUnknown');
  });
});

describe('a pod without privileges', () => {
  const host: Declared = {
    by: 'checkout',
    entry: 'stripe',
    service: null,
    host: { name: 'api.stripe.com', port: 443 },
  };
  const absent: Declared = {
    by: 'checkout',
    entry: 'db',
    service: { namespace: 'shop', name: 'db', port: 5432, service: undefined },
    host: null,
  };

  test('is born with what it declares, by its labels', async () => {
    const asked: unknown[] = [];
    const { review } = setUp({
      declared: (...from) => {
        asked.push(from);
        return [host];
      },
    });
    const labels = { app: 'checkout' };
    const response = await review({ namespace: 'locked', object: pod({ metadata: { labels } }) });
    expect(asked).toEqual([['locked', labels]]);
    const operations = JSON.parse(Buffer.from(response.patch ?? '', 'base64').toString()) as Operations;
    const patched = applyPatch(pod({ metadata: { labels } }), operations) as Pod;
    expect(patched.spec?.initContainers?.map(({ name }) => name)).toEqual(['breakwater']);
    expect(patched.spec?.hostAliases).toEqual([
      { ip: expect.stringMatching(/^127\.77\./) as string, hostnames: ['api.stripe.com'] },
    ]);
    expect(readBootstrap(patched.metadata?.annotations?.['breakwater.dev/bootstrap'] ?? '')).toMatchObject({
      ok: true,
      bootstrap: { capture: 'loopback', entries: [{ host: 'api.stripe.com' }] },
    });
  });

  test('waits for what was applied together with it', async () => {
    let known: Declared[] = [];
    const { review, clock } = setUp({ declared: () => known });
    const answer = review({ namespace: 'locked' });
    await settle();
    await clock.advance(300);
    known = [host];
    await clock.advance(25);
    const response = await answer;
    expect(Buffer.from(response.patch ?? '', 'base64').toString()).toContain('api.stripe.com');
  });

  test('waits half a second at most, and once for each controller', async () => {
    const { review, clock, reports } = setUp({ declared: () => [host, absent] });
    const first = review({ namespace: 'locked' });
    await settle();
    await clock.advance(500);
    expect((await first).warnings).toEqual([
      'breakwater: calls to shop/db pass by the sidecar (NotThere): the Service does not exist yet; create it, then restart the pod',
    ]);
    expect(reports).toMatchObject([{ injected: true, leftOut: [{ destination: 'shop/db', reason: 'NotThere' }] }]);
    await review({ namespace: 'locked' });
    expect(reports).toHaveLength(2);
  });

  test('waits for nothing where connections are redirected', async () => {
    const { review } = setUp({ declared: () => [] });
    expect((await review({})).auditAnnotations).toEqual({ injection: 'Injected' });
  });

  test('is told no more than can be read', async () => {
    const many = Array.from({ length: 60 }, (_, at): Declared => {
      return { ...absent, service: { namespace: 'shop', name: `db-${at}`, port: 1, service: undefined } };
    });
    const { review, clock } = setUp({ declared: () => many });
    const answer = review({ namespace: 'locked' });
    await settle();
    await clock.advance(500);
    const { warnings } = await answer;
    expect(warnings).toHaveLength(17);
    expect(warnings?.at(-1)).toBe('breakwater: and 44 more warnings');
  });
});

describe('a pod that has no room for a sidecar', () => {
  test.each([
    ['annotations', { metadata: { annotations: { a: 'x'.repeat(256 * 1024 - 60) } } }, 'annotations would have'],
    [
      'size',
      { spec: { serviceAccountName: 'default', containers: [{ name: 'app', image: `a/b:${'x'.repeat(1_450_000)}` }] } },
      'near what an object may have',
    ],
  ])('by its %s starts without, and is told', async (_, parts, message) => {
    const { review, reports } = setUp();
    const response = await review({ object: { ...pod(), ...parts } });
    expect(response.patch).toBeUndefined();
    expect(response.warnings?.[0]).toContain(`not injected by Breakwater (PodTooLarge): `);
    expect(response.warnings?.[0]).toContain(message);
    expect(reports).toMatchObject([{ injected: false, reason: 'PodTooLarge' }]);
  });
});

describe('never refuses', () => {
  test.each([
    ['a pod without a spec', { object: {} }],
    ['a pod that is none', { object: 'pod' }],
    ['no object', { object: null }],
    ['lists that are none', { object: { metadata: { annotations: 7 }, spec: { containers: 'x', volumes: 3 } } }],
  ])('%s', async (_name, request) => {
    const { review } = setUp();
    await review(request);
  });

  test('when the operator fails, and then warns', async () => {
    const { review, registry } = setUp({
      caBundle: () => {
        throw new Error('no certificates');
      },
    });
    const response = await review({});
    expect(response.patch).toBeUndefined();
    expect(response.warnings?.[0]).toContain('the operator failed');
    expect(await registry.getSingleMetricAsString('breakwater_inject_reviews_total')).toContain(
      'result="InternalError"} 1',
    );
  });

  test('when the report fails', async () => {
    const { review } = setUp({
      report: () => {
        throw new Error('no room');
      },
    });
    expect((await review({})).patch).toBeDefined();
  });
});

describe('leaves alone', () => {
  test.each([
    ['other kinds', { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } }],
    ['other operations', { operation: 'UPDATE' }],
    ['subresources', { subResource: 'ephemeralcontainers' }],
  ])('%s', async (_name, request) => {
    const { review, reports } = setUp();
    expect((await review(request)).patch).toBeUndefined();
    expect(reports).toEqual([]);
  });

  test.each([{}, { request: {} }, { request: { uid: '' } }, []])('what is no review: %j', async (payload) => {
    const { post } = setUp();
    const answer = await post(payload);
    expect(answer).toMatchObject({ status: 400, body: { reason: 'BadReview' } });
  });

  test('what is far too large', async () => {
    const { server } = setUp();
    const payload = JSON.stringify({ request: { uid: 'x', object: 'x'.repeat(5 * 1024 * 1024) } });
    const answer = await server.inject({
      method: 'POST',
      url: '/inject',
      headers: { 'content-type': 'application/json' },
      payload,
    });
    expect(answer.statusCode).toBe(413);
  });
});

describe('a stranger, whom nothing keeps from calling the webhook,', () => {
  const reviewOf = (object: string) => `{"request":{"uid":"a","namespace":"nowhere","object":${object}}}`;

  test('has nobody told of pods in namespaces that did not ask for sidecars', async () => {
    const { review, reports, clock } = setUp();
    await review({ namespace: 'others' });
    const unknown = review({ namespace: 'nowhere' });
    await settle();
    await clock.advance(2_000);
    await unknown;
    expect(reports).toEqual([]);
  });

  test.each([
    ['small objects only', `[${'{},'.repeat(1_200_000)}{}]`],
    ['nothing but brackets', '['.repeat(3_900_000)],
  ])('sends %s, and no object is made of it', async (_what, object) => {
    const { server } = setUp();
    const headers = { 'content-type': 'application/json' };
    const answer = await server.inject({ method: 'POST', url: '/inject', headers, payload: reviewOf(object) });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ reason: 'BadReview' });
  });

  test('has no more than a few large reviews read at a time, beside which small ones go on', async () => {
    const { server, clock, review } = setUp();
    const headers = { 'content-type': 'application/json' };
    const send = () =>
      server.inject({ method: 'POST', url: '/inject', headers, payload: reviewOf(`"${'x'.repeat(300_000)}"`) });
    // Each waits for its namespace.
    const held = Array.from({ length: 8 }, send);
    await vi.waitFor(() => expect(clock.timers).toBe(8));
    const refused = await send();
    expect(refused.statusCode).toBe(503);
    expect(refused.headers['connection']).toBe('close');
    expect(refused.json()).toMatchObject({ reason: 'Busy' });
    expect((await review({})).patch).toBeDefined();
    await clock.advance(2_000);
    for (const answer of await Promise.all(held)) expect(answer.statusCode).toBe(200);
    const later = send();
    await vi.waitFor(() => expect(clock.timers).toBe(1));
    await clock.advance(2_000);
    expect((await later).statusCode).toBe(200);
  });
});
