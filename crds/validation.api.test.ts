// What a real API server makes of our definitions, beside what our own parser makes of the same objects: standalone mode and the operator
// read by the parser what kubectl users write through the server, so the two must agree, and not only on the cases that somebody thought of.
// More of the others: RUNS=1000.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { json as readJson } from 'node:stream/consumers';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments, parse as parseYaml } from 'yaml';
import { z } from 'zod';
import type { UsedControlPlane } from '../test/harness/control-plane.ts';
import { invalidCrdCases, rewriteMessage, SEPARATOR, validCrdCases } from '../test/harness/crd-cases.ts';
import { type Created, createEach, sentencesIn } from '../test/harness/dry-run.ts';
import { useControlPlane } from '../test/harness/shared-control-plane.ts';
import { UNSEEN_STATUS } from './kubernetes.ts';
import { type ParseResult, parseResiliencePolicy, parseServiceDependency } from './parse.ts';
import type { ResiliencePolicy } from './resilience-policy.ts';
import type { ServiceDependency } from './service-dependency.ts';

const RUNS = z.coerce.number().int().min(1).default(800).parse(process.env['RUNS']);

let plane: UsedControlPlane;

beforeAll(async () => {
  plane = await useControlPlane();
  const applied = await plane.kubectl(['apply', '--server-side', '-f', `${import.meta.dirname}/manifests`]);
  expect(applied).toMatchObject({ code: 0, stderr: '' });
  expect(await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s'])).toMatchObject({
    code: 0,
  });
  for (const namespace of ['shop', 'breakwater-system'])
    expect(await plane.kubectl(['create', 'namespace', namespace])).toMatchObject({ code: 0 });
  await untilServed();
});

afterAll(() => plane?.stop());

/** A definition is established a moment before its objects can be written. */
async function untilServed(): Promise<void> {
  for (const kind of ['servicedependency', 'resiliencepolicy'] as const) {
    const creation = async () => {
      const { stderr } = await plane.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(example(kind)));
      expect(stderr).toBe('');
    };
    await vi.waitFor(creation, { timeout: 20_000, interval: 200 });
  }
}

type Model = ServiceDependency | ResiliencePolicy;

function parse(value: unknown): ParseResult<Model> {
  return (value as { kind: string }).kind === 'ServiceDependency'
    ? parseServiceDependency(value)
    : parseResiliencePolicy(value);
}

type Example = Record<string, unknown> & { metadata: object; spec: Record<string, unknown> };

function example(kind: 'servicedependency' | 'resiliencepolicy', topic = 'reference'): Example {
  const found = validCrdCases().find(({ name }) => name === `${kind}-${topic}`);
  return parseYaml(found?.text ?? '') as Example;
}

/** An object in the place of a list has, for kubectl, fields that nobody knows. */
function unknownFieldsIn(error: string, path: string): string | undefined {
  const fields = [...error.matchAll(/unknown field "([^"]+)"/g)].map(([, field = '']) => field);
  if (fields.length === 0 || !fields.every((field) => field.startsWith(`${path}.`))) return undefined;
  return fields.map((field) => `unknown field "${field}"`).join(', ');
}

const valid = validCrdCases();
const invalid = invalidCrdCases();

describe('kubectl', () => {
  let taken: Created[];
  let refused: Created[];
  beforeAll(async () => {
    const created = await createEach(
      plane,
      [...valid, ...invalid].map(({ text }) => text),
    );
    taken = created.slice(0, valid.length);
    refused = created.slice(valid.length);
  });

  test.each(valid.map(({ name, text }, index) => ({ name, text, index })))(
    'takes $name, and reads it as we do',
    ({ text, index }) => {
      const { errors = [], objects: [object] = [] } = taken[index] ?? {};
      expect(errors).toEqual([]);
      const stored = parse(object);
      const ours = parse(parseYaml(text));
      expect(stored).toMatchObject({ ok: true });
      expect(stored.ok && stored.model.spec).toEqual(ours.ok && ours.model.spec);
    },
  );

  // UPDATE_GOLDEN=1 writes down what it says now.
  test.each(invalid.map((one, index) => ({ ...one, index })))('refuses $name', ({ index, ...one }) => {
    const { errors = [] } = refused[index] ?? {};
    expect(errors).toHaveLength(1);
    const [error = ''] = errors;
    const said = sentencesIn(error).get(one.path)?.join(SEPARATOR) ?? unknownFieldsIn(error, one.path);
    if (process.env['UPDATE_GOLDEN'] === '1' && said !== undefined) rewriteMessage(one, said);
    else expect({ error, said }).toMatchObject({ said: one.message });
  });

  test('reads what YAML 1.1 calls a boolean as one, so no such word is ours', async () => {
    const text =
      'apiVersion: breakwater.dev/v1alpha1\nkind: ResiliencePolicy\nmetadata: {name: x, namespace: shop}\nspec: {targetRefs: [{group: "", kind: Service, name: x}], bulkhead: {mode: off}}';
    const { code, stderr } = await plane.kubectl(['create', '--dry-run=server', '-f', '-'], text);
    expect(code).toBe(1);
    expect(stderr).toContain('spec.bulkhead.mode: Invalid value: "boolean"');
  });

  test('explains a field with its default and range', async () => {
    const { stdout } = await plane.kubectl(['explain', 'rpol.spec.timeouts.request']);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('Range: 1ms to 1h, or 0s for none. Default: 5s.');
  });
});

test('kubectl takes every object of our kinds in the examples and the demo', async () => {
  const objects = shippedObjects();
  expect(objects.length).toBeGreaterThan(1);
  for (const namespace of new Set(objects.map(({ metadata }) => metadata.namespace ?? 'default'))) {
    await plane.kubectl(['create', 'namespace', namespace]);
  }
  const created = await createEach(
    plane,
    objects.map((object) => JSON.stringify(object)),
  );
  for (const [index, object] of objects.entries()) {
    expect({ object, errors: created[index]?.errors }).toEqual({ object, errors: [] });
    expect(parse(object)).toMatchObject({ ok: true });
  }
});

describe('a field that the schema does not know', () => {
  const unknown = () => {
    const policy = example('resiliencepolicy');
    return JSON.stringify({
      ...policy,
      metadata: { ...policy.metadata, name: 'unknown' },
      spec: { ...policy.spec, failover: { region: 'north' } },
    });
  };

  test.each([
    ['create', []],
    ['apply', []],
    ['apply', ['--server-side']],
    ['replace', ['--force']],
  ])('is refused by kubectl %s %s', async (command, flags) => {
    const { code, stderr } = await plane.kubectl([command, ...flags, '-f', '-'], unknown());
    expect(code).toBe(1);
    expect(stderr).toMatch(/unknown field "spec\.failover"|\.spec\.failover: field not declared in schema/);
  });

  test('is dropped for other clients, with a warning', async () => {
    const answer = await post('resiliencepolicies', JSON.parse(unknown()));
    expect(answer.status).toBe(201);
    expect(answer.warning).toContain('unknown field \\"spec.failover\\"');
    expect(answer.body).not.toHaveProperty('spec.failover');
    expect(answer.body).toHaveProperty('spec.bulkhead');
  });

  test.each(['fallbacks', 'overrides'])('such as %s of a later version is ignored by our parser', (name) => {
    const value = example('servicedependency');
    expect(parse({ ...value, spec: { ...value.spec, [name]: 'x' } })).toEqual(parse(value));
  });
});

describe('status', () => {
  const at = '2026-11-21T08:00:00Z';
  const status = {
    observedGeneration: 1,
    conditions: [
      {
        type: 'Ready',
        status: 'False',
        observedGeneration: 1,
        lastTransitionTime: at,
        reason: 'CircuitOpen',
        message: 'x',
      },
    ],
    resolved: '2/2',
    programmed: '12/12',
    openCircuits: 'payments Open in 2',
    summary: '2 of 2 resolved, 12/12 sidecars, payments Open in 2',
    circuits: [
      {
        dependency: 'payments',
        rule: 'base',
        state: 'Open',
        sidecars: 2,
        totalSidecars: 12,
        since: at,
        failingSince: at,
        reason: '5 consecutive failures (last: ConnectFailure)',
        nextProbe: at,
        reopenings: 3,
      },
      // As an operator of an earlier version wrote it.
      { dependency: 'payments', rule: 'charge', state: 'HalfOpen', sidecars: 2 },
    ],
    excludedEndpoints: [
      {
        dependency: 'payments',
        rule: 'base',
        state: 'Ejected',
        endpoints: 2,
        totalEndpoints: 5,
        sidecars: 3,
        totalSidecars: 12,
        panickingSidecars: 1,
        since: at,
        names: [{ endpoint: '10.0.0.2:8080', sidecars: 3, reason: '5 consecutive failures (last: Reset)' }],
      },
    ],
  };

  test('is written through its own resource only, and kubectl get shows it', async () => {
    for (const kind of ['servicedependency', 'resiliencepolicy'] as const) {
      const value = example(kind);
      const named = { ...value, metadata: { ...value.metadata, name: 'shown' }, status };
      expect(await plane.kubectl(['apply', '-f', '-'], JSON.stringify(named))).toMatchObject({ code: 0 });
      const before = await plane.kubectl(['get', kind, 'shown', '-n', 'shop', '-o', 'jsonpath={.status}']);
      // What was applied with it is dropped, and an object that nobody has looked at says so.
      expect(JSON.parse(before.stdout)).toEqual(UNSEEN_STATUS);
      const row = (await plane.kubectl(['get', kind, 'shown', '-n', 'shop'])).stdout;
      expect(row).toMatch(/shown +Unknown +waiting for the operator +\d+s/);
      const patched = await plane.kubectl([
        'patch',
        kind,
        'shown',
        '-n',
        'shop',
        '--subresource=status',
        '--type=merge',
        '-p',
        JSON.stringify({ status }),
      ]);
      expect(patched).toMatchObject({ code: 0 });
      const stored = await plane.kubectl(['get', kind, 'shown', '-n', 'shop', '-o', 'json']);
      const read = parse(JSON.parse(stored.stdout));
      expect(read.ok && read.model.status).toEqual(status);
    }
    expect((await plane.kubectl(['get', 'sdep,rpol', '-A'])).stdout).toMatch(/NAME +READY +SUMMARY +AGE/);
    const table = (await plane.kubectl(['get', 'sdep,rpol', '-A', '-o', 'wide'])).stdout;
    expect(table).toMatch(/NAME +READY +SUMMARY +AGE +RESOLVED +PROGRAMMED +CIRCUITS/);
    expect(table).toMatch(
      /servicedependency\.breakwater\.dev\/shown +False +2 of 2 resolved, [^\n]* 2\/2 +12\/12 +payments Open in 2/,
    );
    expect(table).toMatch(
      /resiliencepolicy\.breakwater\.dev\/shown +False +2 of 2 resolved, [^\n]* 2\/2 +12\/12 +payments Open in 2/,
    );
    expect((await plane.kubectl(['get', 'breakwater', '-n', 'shop', '-o', 'name'])).stdout.split('\n')).toEqual(
      expect.arrayContaining(['servicedependency.breakwater.dev/shown', 'resiliencepolicy.breakwater.dev/shown']),
    );
  });

  test('that does not fit is refused', async () => {
    const patch = JSON.stringify({
      status: {
        circuits: [{ dependency: 'payments', rule: 'base', state: 'Ajar', sidecars: 2 }],
        excludedEndpoints: status.excludedEndpoints.map((one) => ({ ...one, state: 'Tired' })),
      },
    });
    const value = example('servicedependency');
    await plane.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ ...value, metadata: { ...value.metadata, name: 'refused' } }),
    );
    const { code, stderr } = await plane.kubectl([
      'patch',
      'sdep',
      'refused',
      '-n',
      'shop',
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('status.circuits[0].state: Unsupported value: "Ajar"');
    expect(stderr).toContain('status.excludedEndpoints[0].state: Unsupported value: "Tired"');
  });
});

test('two appliers each own their entry of dependsOn', async () => {
  const entry = (name: string) => {
    const value = example('servicedependency');
    const dependsOn = [{ name, service: { name, port: 80 } }];
    return JSON.stringify({
      ...value,
      metadata: { name: 'shared', namespace: 'shop' },
      spec: { ...value.spec, dependsOn },
    });
  };
  for (const name of ['a', 'b']) {
    const applied = await plane.kubectl(
      ['apply', '--server-side', `--field-manager=team-${name}`, '-f', '-'],
      entry(name),
    );
    expect(applied).toMatchObject({ code: 0 });
  }
  const { stdout } = await plane.kubectl([
    'get',
    'sdep',
    'shared',
    '-n',
    'shop',
    '-o',
    'jsonpath={.spec.dependsOn[*].name}',
  ]);
  expect(stdout).toBe('a b');
});

describe('the parser and the API server', () => {
  test.each([
    ['servicedependency', 'servicedependencies', 'reference'],
    ['servicedependency', 'servicedependencies', 'match-expressions'],
    ['servicedependency', 'servicedependencies', 'hosts'],
    ['resiliencepolicy', 'resiliencepolicies', 'reference'],
    ['resiliencepolicy', 'resiliencepolicies', 'rules'],
  ] as const)('agree on every change of a %s (%s, %s)', async (kind, plural, topic) => {
    const value = example(kind, topic);
    const seen = { accepted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(change(value.spec), { minLength: 1, maxLength: 2 }), async (changes) => {
        const spec = structuredClone(value.spec);
        for (const { path, to } of changes) replace(spec, path, structuredClone(to));
        const changed = { ...value, spec };
        const ours = parse(changed);
        const server = await post(`${plural}?dryRun=All&fieldValidation=Ignore`, changed);
        expect([201, 422], JSON.stringify(server.body)).toContain(server.status);
        if (ours.ok !== (server.status === 201)) throw new Error(JSON.stringify({ spec, ours, server: server.body }));
        if (ours.ok) seen.accepted++;
        else seen.refused++;
        const stored = ours.ok ? parse(server.body) : undefined;
        if (ours.ok) expect(stored?.ok && stored.model.spec).toEqual(ours.model.spec);
      }),
      { numRuns: RUNS },
    );
    // About one in eighteen.
    expect(seen.accepted).toBeGreaterThan(RUNS / 40);
    expect(seen.refused).toBeGreaterThan(RUNS / 40);
  });
});

interface Shipped {
  apiVersion: string;
  metadata: { namespace?: string };
}

function shippedObjects(): Shipped[] {
  const root = join(import.meta.dirname, '..');
  const files = ['examples', 'cli/demo']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(root, folder, file)),
    );
  const documents = files
    .filter((file) => /\.ya?ml$/.test(file))
    .flatMap((file) =>
      parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Shipped | null),
    );
  return documents
    .filter((object) => object !== null)
    .filter(({ apiVersion }) => apiVersion.startsWith('breakwater.dev/'));
}

type Path = readonly (string | number)[];

// biome-ignore format: a table
const candidates = {
  durations: ['0s', '0ms', '1ms', '99ms', '100ms', '999ms', '1s', '1.5s', '5s', '10s', '59s', '60s', '75s', '76s', '5m', '10m', '601s', '1h',
    '3601s', '24h', '25h', '99999h', '1h1h1h1h1h'],
  texts: ['', 'a', 'b', 'A', 'a-b', '-a', 'a.b', 'a_b', 'base', 'off', 'http', '80', '8-0', 'a--b', '/', '/a', '/a//b', '/a/../b', '/a/..', '/a?b',
    '/a#b', '/a b', '/ü', 'a\n', '\u{1f600}', 'x'.repeat(64), 'Enforce', 'Disabled', 'Shadow', 'Required', 'Optional', 'Allow', 'Deny', 'a.example.com', 'a.b.svc', 'a.b.', '10.0.0.1', '*.a.b', 'Service',
    'ServiceDependency', 'breakwater.dev', 'Reset', 'ServerError', 'All', 'Idempotent', 'POST', 'GET', 'post', 'Exact', 'PathPrefix', 'In', 'Exists'],
  numbers: [-1, 0, 1, 2, 3, 10, 11, 20, 100, 101, 1000, 1001, 65_535, 65_536, 100_000, 100_001, 1.5, 2 ** 31, 2 ** 53, 1e300],
  others: [null, true, false, [], {}, [null], [{}], { name: 'a' }, [{ name: 'a' }], ['Reset'], ['Reset', 'Reset'], { mode: 'Disabled' },
    { request: '1s', attempt: '2s' }, { matchLabels: { 'a b': 'c' } }],
};

/** Replaces some part of a spec by something that may or may not fit there, mostly of the same kind. */
function change(spec: unknown): fc.Arbitrary<{ path: Path; to: unknown }> {
  const anything = fc.constantFrom<unknown>(...Object.values(candidates).flat());
  return fc.constantFrom(...paths(spec, [])).chain((path) => {
    const similar = fc.constantFrom<unknown>(...candidates[kindOf(at(spec, path))]);
    return fc.record({
      path: fc.constant(path),
      to: fc.oneof({ weight: 4, arbitrary: similar }, { weight: 1, arbitrary: anything }),
    });
  });
}

function kindOf(value: unknown): keyof typeof candidates {
  if (typeof value === 'number') return 'numbers';
  if (typeof value === 'string') return /^\d+(h|m|s|ms)$/.test(value) ? 'durations' : 'texts';
  return 'others';
}

function at(root: unknown, path: Path): unknown {
  return path.reduce((value, part) => (value as Record<string | number, unknown>)[part], root);
}

function paths(value: unknown, path: Path): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Array.isArray(value)
    ? value.map((item, index) => paths(item, [...path, index]))
    : Object.entries(value).map(([name, item]) => paths(item, [...path, name]));
  return [...(path.length > 0 ? [path] : []), ...below.flat()];
}

function replace(root: unknown, path: Path, to: unknown): void {
  let parent = root as Record<string | number, unknown>;
  for (const part of path.slice(0, -1)) {
    const next = parent[part];
    // An earlier change may have taken the place away.
    if (typeof next !== 'object' || next === null) return;
    parent = next as Record<string | number, unknown>;
  }
  const last = path.at(-1);
  if (last !== undefined) parent[last] = to;
}

interface Answer {
  status: number;
  warning: string;
  body: unknown;
}

/** Creates an object as a client does that is not kubectl. */
function post(resource: string, value: unknown): Promise<Answer> {
  const url = `${plane.serverUrl}/apis/breakwater.dev/v1alpha1/namespaces/shop/${resource}`;
  const headers = { authorization: `Bearer ${plane.token}`, 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', headers, ca: readFileSync(plane.caFile) }, (response) => {
      readJson(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, warning: response.headers['warning'] ?? '', body }),
        reject,
      );
    });
    call.once('error', reject);
    call.end(JSON.stringify(value));
  });
}
