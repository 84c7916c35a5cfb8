import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { invalidCrdCases, sharedSentence, validCrdCases } from '../test/harness/crd-cases.ts';
import { type ParseResult, parseResiliencePolicy, parseServiceDependency } from './parse.ts';
import { FALLBACK_REASONS } from './policies/fallback.ts';
import type { ResiliencePolicy } from './resilience-policy.ts';
import type { ServiceDependency } from './service-dependency.ts';

function parse(value: unknown): ParseResult<ServiceDependency | ResiliencePolicy> {
  return (value as { kind: string }).kind === 'ServiceDependency'
    ? parseServiceDependency(value)
    : parseResiliencePolicy(value);
}

function model<M>(result: ParseResult<M>): M {
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.model;
}

const dependency = () => ({
  apiVersion: 'breakwater.dev/v1alpha1',
  kind: 'ServiceDependency',
  metadata: { name: 'checkout', namespace: 'shop' } as Record<string, unknown>,
  spec: {
    consumer: { selector: { matchLabels: { app: 'checkout' } } },
    dependsOn: [{ name: 'payments', service: { name: 'payments', port: 8080 } }],
  },
});

test.each(validCrdCases())('accepts $name', ({ text }) => {
  expect(parse(parseYaml(text))).toMatchObject({ ok: true });
});

describe('refuses, in the words of the API server,', () => {
  test.each(invalidCrdCases())('$name', ({ text, path, message }) => {
    const result = parse(parseYaml(text));
    const ours = result.ok ? [] : result.problems.filter((problem) => problem.path === path);
    expect(ours).not.toEqual([]);
    if (message.startsWith('unknown field')) return;
    const same = ours.some((problem) => sharedSentence(message, problem.message) !== '');
    expect({ message, ours, same }).toMatchObject({ same: true });
  });
});

describe('the model', () => {
  test('of a policy keeps the names of the fields and holds durations in milliseconds', () => {
    const text = validCrdCases().find(({ name }) => name === 'resiliencepolicy-reference')?.text ?? '';
    expect(model(parseResiliencePolicy(parseYaml(text)))).toEqual({
      kind: 'ResiliencePolicy',
      metadata: {
        name: 'payments',
        namespace: 'shop',
        uid: '',
        generation: 1,
        creationTimestamp: '1970-01-01T00:00:00Z',
        labels: {},
        annotations: {},
      },
      spec: {
        targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: 'checkout', sectionName: 'payments' }],
        timeouts: {
          request: 5_000,
          attempt: 1_500,
          connect: 1_000,
          idle: 60_000,
          deadline: { propagate: 'InCluster' },
        },
        retries: {
          maxAttempts: 3,
          retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'],
          retryOnStatusCodes: [409, 425],
          retryOnGrpcStatusCodes: ['Aborted', 'Unavailable'],
          methods: 'Idempotent',
          backoff: { initial: 25, max: 250 },
          maxRetryAfter: 1_000,
          budget: { percent: 20, minPerSecond: 10 },
        },
        circuitBreaker: {
          failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
          consecutiveFailures: 5,
          failureRate: { percent: 50, minimumCalls: 20 },
          slowCalls: { percent: 80, threshold: 1_000, minimumCalls: 20 },
          window: 10_000,
          openFor: 30_000,
          maxOpenFor: 300_000,
          halfOpen: { maxProbes: 2, successes: 2, probeTimeout: 1000 },
        },
        outlierDetection: {
          failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
          consecutiveFailures: 5,
          consecutiveLocalOriginFailures: 5,
          successRate: { minimumEndpoints: 5, minimumCalls: 100, deviationFactorPercent: 190 },
          interval: 10_000,
          maxEjectionPercent: 50,
          ejectFor: 30_000,
          maxEjectFor: 300_000,
          panicThresholdPercent: 50,
        },
        bulkhead: { maxConcurrent: 20, maxQueued: 100, queueTimeout: 500 },
        rateLimit: { requestsPerSecond: 200, burst: 50 },
        fallback: {
          fallbackOn: [...FALLBACK_REASONS],
          methods: 'Safe',
          response: { statusCode: 200, contentType: 'application/json', body: '{"items":[]}' },
        },
        loadBalancing: {
          algorithm: 'ConsistentHash',
          consistentHash: { key: 'Header', name: 'X-User-Id', maxLoadPercent: 150 },
          slowStart: { window: 30_000 },
          zoneAware: 'Hints',
        },
        healthCheck: {
          path: '/healthz',
          host: 'status.example.com',
          port: 8081,
          interval: 10_000,
          timeout: 1_000,
          unhealthyThreshold: 3,
          healthyThreshold: 2,
          expectedStatuses: [200, 204, '300-399'],
        },
        hedging: { afterPercentile: 95, minDelay: 10, maxDelay: 1_000, maxHedges: 1 },
        rules: [
          {
            name: 'charge',
            matches: [{ method: 'POST', path: { type: 'PathPrefix', value: '/charges' } }],
            timeouts: { request: 10_000 },
            retries: { maxAttempts: 1 },
          },
        ],
      },
    });
  });

  test('holds no default of a field that merges', () => {
    const text = validCrdCases().find(({ name }) => name === 'resiliencepolicy-empty-blocks')?.text ?? '';
    expect(model(parseResiliencePolicy(parseYaml(text))).spec).toEqual({
      targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: 'checkout' }],
      timeouts: {},
      retries: { backoff: {}, budget: {} },
      circuitBreaker: { failureRate: {}, halfOpen: {} },
      outlierDetection: { successRate: {} },
      bulkhead: { adaptive: {} },
      rateLimit: { requestsPerSecond: 100 },
      fallback: { lastGood: {} },
      loadBalancing: { slowStart: {} },
      healthCheck: {},
      hedging: {},
      rules: [],
    });
  });

  test('has the metadata of an object from the API server', () => {
    const metadata = {
      name: 'checkout',
      namespace: 'shop',
      uid: '6b1d',
      generation: 7,
      creationTimestamp: '2026-11-21T08:00:00Z',
      labels: { team: 'shop' },
      annotations: { 'breakwater.dev/enforcement': 'disabled' },
    };
    const value = {
      ...dependency(),
      metadata: { ...metadata, resourceVersion: '12', managedFields: [{ manager: 'kubectl' }] },
    };
    expect(model(parseServiceDependency(value)).metadata).toEqual(metadata);
  });

  test('is in the namespace default where the file names none', () => {
    expect(model(parseServiceDependency({ ...dependency(), metadata: { name: 'checkout' } })).metadata.namespace).toBe(
      'default',
    );
  });

  test('ignores fields it does not know, wherever they are', () => {
    const value = dependency();
    const future = {
      ...value,
      spec: { ...value.spec, overrides: 'Warn', dependsOn: value.spec.dependsOn.map((it) => ({ ...it, gateway: {} })) },
    };
    expect(parseServiceDependency(future)).toEqual(parseServiceDependency(value));
  });

  test('reads a field that is null as absent', () => {
    const value = { ...dependency(), metadata: { name: 'checkout', labels: null, annotations: null, uid: null } };
    expect(model(parseServiceDependency(value)).metadata).toMatchObject({ labels: {}, annotations: {}, uid: '' });
  });

  test('has the status that the operator wrote', () => {
    const status = {
      observedGeneration: 3,
      summary: '1 of 1 resolved, 12/12 sidecars',
      conditions: [
        { type: 'Ready', status: 'True', lastTransitionTime: '2026-11-21T08:00:00Z', reason: 'Ready', message: '' },
      ],
      circuits: [{ dependency: 'payments', rule: 'base', state: 'Open', sidecars: 2 }],
    };
    expect(model(parseServiceDependency({ ...dependency(), status })).status).toEqual(status);
  });

  test('survives a status that somebody else wrote', () => {
    expect(model(parseServiceDependency({ ...dependency(), status: { conditions: 'fine' } })).status).toBeUndefined();
  });
});

describe('what is no object of the kind', () => {
  test.each([null, undefined, 1, 'text', [], {}, { kind: 'ServiceDependency' }])('%j is refused', (value) => {
    expect(parseServiceDependency(value)).toMatchObject({ ok: false });
  });

  test('another version is named', () => {
    expect(parseServiceDependency({ ...dependency(), apiVersion: 'breakwater.dev/v1' })).toEqual({
      ok: false,
      problems: [
        {
          path: 'apiVersion',
          message: 'Unsupported value: "breakwater.dev/v1": supported values: "breakwater.dev/v1alpha1"',
        },
      ],
    });
  });

  test('every problem is told at once', () => {
    const value = {
      ...dependency(),
      spec: { consumer: {}, dependsOn: [{ name: 'A', service: { name: 'a', port: 0 } }] },
    };
    const result = parseServiceDependency(value);
    expect(result.ok ? [] : result.problems.map(({ path }) => path)).toEqual([
      'spec.consumer.selector',
      'spec.dependsOn[0].name',
      'spec.dependsOn[0].service.port',
    ]);
  });

  test('a nesting that would exhaust the stack is refused', () => {
    let nested: unknown = {};
    for (let depth = 0; depth < 100_000; depth++) nested = { nested };
    expect(parseServiceDependency({ ...dependency(), spec: nested })).toEqual({
      ok: false,
      problems: [{ path: '', message: 'is nested more than 64 levels deep' }],
    });
  });

  test('nothing makes it throw', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (spec, metadata) => {
        parseServiceDependency({ ...dependency(), spec, metadata });
        parseResiliencePolicy({ apiVersion: 'breakwater.dev/v1alpha1', kind: 'ResiliencePolicy', metadata, spec });
        parseResiliencePolicy(spec);
      }),
    );
  });

  test('nothing in any place of a valid object makes it throw', () => {
    const cases = validCrdCases()
      .filter(({ text }) => text.length < 5_000)
      .map(({ text }) => parseYaml(text) as object);
    const odd = fc.oneof(
      fc.anything(),
      fc.constantFrom<unknown>('', 'a', '1s', 0, -1, 1.5, null, [], {}, [null], [{}]),
    );
    let refused = 0;
    fc.assert(
      fc.property(fc.constantFrom(...cases), fc.array(fc.nat(), { minLength: 1 }), odd, (valid, way, value) => {
        const object = structuredClone(valid);
        replaceOnTheWay(object, ['spec', ...way], value);
        const result = parse(object);
        if (result.ok) return;
        refused += 1;
        for (const { path, message } of result.problems) expect([path === '', message === '']).toEqual([false, false]);
      }),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(50);
  });
});

/** Puts it where the way ends, which takes so-and-so-manieth keys. */
function replaceOnTheWay(object: object, [first = 0, ...rest]: readonly (string | number)[], value: unknown): void {
  const keys = Object.keys(object);
  const key = typeof first === 'string' ? first : (keys[first % keys.length] ?? 'added');
  const fields = object as Record<string, unknown>;
  const next = fields[key];
  if (rest.length > 0 && typeof next === 'object' && next !== null) replaceOnTheWay(next, rest, value);
  else fields[key] = value;
}
