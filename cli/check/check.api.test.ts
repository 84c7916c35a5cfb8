// `check` beside kubectl and a real API server: what is refused there is an error here, and what is taken there is none, also where
// kubectl itself (its YAML, its strict field validation) or the server's own rules for metadata decide.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { text as readText } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { check } from './check.ts';

let plane: UsedControlPlane;

beforeAll(async () => {
  plane = await useControlPlane();
  const manifests = `${import.meta.dirname}/../../crds/manifests`;
  expect(await plane.kubectl(['apply', '--server-side', '-f', manifests])).toMatchObject({ code: 0 });
  await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  for (const namespace of ['shop', 'breakwater-system']) await plane.kubectl(['create', 'namespace', namespace]);
  const served = async () => expect((await create(DEPENDENCY)).stderr).toBe('');
  await vi.waitFor(served, { timeout: 20_000, interval: 200 });
});

afterAll(() => plane?.stop());

const create = (text: string) => plane.kubectl(['create', '--dry-run=server', '-f', '-'], text);

const DEPENDENCY = `apiVersion: breakwater.dev/v1alpha1
kind: ServiceDependency
metadata:
  name: checkout
  namespace: shop
spec:
  consumer: {selector: {matchLabels: {app: checkout}}}
  dependsOn:
  - name: payments
    service: {name: payments, namespace: billing, port: 8080}
`;
const POLICY = `apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{group: breakwater.dev, kind: ServiceDependency, name: checkout}]
`;
const named = (name: string) => DEPENDENCY.replace('name: checkout\n', `name: ${name}\n`);
const withMetadata = (lines: string) => DEPENDENCY.replace('  namespace: shop\n', `  namespace: shop\n${lines}`);

/** Each text, and a part of what both say where both refuse it. */
const CASES: Record<string, [text: string, message?: string]> = {
  'the plain one': [DEPENDENCY],
  JSON: [
    JSON.stringify(
      {
        apiVersion: 'breakwater.dev/v1alpha1',
        kind: 'ServiceDependency',
        metadata: { name: 'a', namespace: 'shop' },
        spec: { consumer: { selector: {} }, dependsOn: [{ name: 'a', service: { name: 'a', port: 1 } }] },
      },
      null,
      2,
    ),
  ],
  'a List': [`apiVersion: v1\nkind: List\nitems:\n- ${DEPENDENCY.replaceAll('\n', '\n  ').trim()}\n`],
  'two documents': [`${DEPENDENCY}---\n${POLICY}`],
  'an unknown field': [`${POLICY}  failover: {}\n`, 'unknown field "spec.failover"'],
  'an unknown field in a list': [
    DEPENDENCY.replace('- name: payments', '- name: payments\n    protocol: http'),
    'unknown field "spec.dependsOn[0].protocol"',
  ],
  'an unknown field that is null': [`${POLICY}  failover: null\n`],
  'an unknown field of a rule': [
    `${POLICY}  rules: [{name: a, matches: [{method: GET}], retry: {}}]\n`,
    'unknown field "spec.rules[0].retry"',
  ],
  'an unknown field of metadata': [withMetadata('  lables: {a: b}\n'), 'unknown field "metadata.lables"'],
  'an unknown field beside spec': [`${DEPENDENCY}spc: {}\n`, 'unknown field "spc"'],
  'a name with capitals': [named('Checkout'), 'Invalid value: "Checkout": a lowercase RFC 1123 subdomain'],
  'a name with an underscore': [named('check_out'), 'a lowercase RFC 1123 subdomain'],
  'a name that ends with a dot': [named('checkout.'), 'a lowercase RFC 1123 subdomain'],
  'a name with dots': [named('check.out')],
  'a name that is a number': [named('12')],
  'a name that is a number in quotes': [named('"12"')],
  'a name of 254 characters': [named('a'.repeat(254)), 'must be no more than 253'],
  'no name': [DEPENDENCY.replace('  name: checkout\n', '')],
  'a generated name': [DEPENDENCY.replace('name: checkout\n', 'generateName: checkout-\n')],
  'a generated name with capitals': [
    DEPENDENCY.replace('name: checkout\n', 'generateName: Checkout-\n'),
    'a lowercase RFC 1123 subdomain',
  ],
  'a label with a space': [
    withMetadata('  labels: {a: "b c"}\n'),
    'a valid label must be an empty string or consist of',
  ],
  'a label that is a boolean': [withMetadata('  labels: {a: true}\n')],
  'a label that YAML 1.1 takes for a boolean': [withMetadata('  labels: {a: yes}\n')],
  'a label that YAML 1.1 takes for a boolean, y': [withMetadata('  labels: {a: y}\n')],
  'a label that is a number': [withMetadata('  labels: {a: 1}\n')],
  'a label that looks like minutes': [withMetadata('  labels: {a: 12:30}\n')],
  'a label of 64 characters': [withMetadata(`  labels: {a: ${'x'.repeat(64)}}\n`), 'must be no more than 63'],
  'a label key with a space': [
    withMetadata('  labels: {"a b": c}\n'),
    'name part must consist of alphanumeric characters',
  ],
  'a label key with two slashes': [withMetadata('  labels: {"a/b/c": d}\n'), 'a valid label key must consist of'],
  'a label key without a name': [withMetadata('  labels: {"a.b/": d}\n'), 'name part must be non-empty'],
  'a label key with a prefix in capitals': [
    withMetadata('  labels: {"A.b/c": d}\n'),
    'prefix part a lowercase RFC 1123 subdomain',
  ],
  'an annotation that is a boolean': [withMetadata('  annotations: {breakwater.dev/enforcement: true}\n')],
  'an annotation in capitals': [withMetadata('  annotations: {A/b: "c"}\n')],
  'an annotation key with a space': [
    withMetadata('  annotations: {"a b": c}\n'),
    'name part must consist of alphanumeric characters',
  ],
  'annotations of 257 KiB': [
    withMetadata(`  annotations: {a: ${'x'.repeat(257 * 1024)}}\n`),
    'Too long: may not be more than 262144 bytes',
  ],
  'null labels': [withMetadata('  labels: null\n')],
  'labels that are a list': [withMetadata('  labels: [a]\n')],
  'an octal port': [DEPENDENCY.replace('8080', '010')],
  'a hexadecimal port': [DEPENDENCY.replace('8080', '0x1F90')],
  'a port with an underscore': [DEPENDENCY.replace('8080', '8_080')],
  'a port with an exponent': [DEPENDENCY.replace('8080', '8e3')],
  'a criticality that is a date': [DEPENDENCY.replace('port: 8080}', 'port: 8080}\n    criticality: 2026-01-01')],
  anchors: [`${POLICY}  timeouts: &t {request: 1s}\n  rules: [{name: a, matches: [{method: GET}], timeouts: *t}]\n`],
  'a merge key': [
    `${POLICY}  timeouts: &t {request: 1s}\n  rules: [{name: a, matches: [{method: GET}], timeouts: {<<: *t, attempt: 1s}}]\n`,
  ],
  'a kind with a typing error': [DEPENDENCY.replace('kind: ServiceDependency', 'kind: ServiceDependancy')],
  'a kind in lower case': [DEPENDENCY.replace('kind: ServiceDependency', 'kind: servicedependency')],
  'another version': [DEPENDENCY.replace('v1alpha1', 'v1')],
  'another group': [DEPENDENCY.replace('breakwater.dev', 'breakwater.io')],
  'no group': [DEPENDENCY.replace('breakwater.dev/', '')],
  'no apiVersion': [DEPENDENCY.replace(/^.*\n/, '')],
  'no kind': [DEPENDENCY.replace(/kind: .*\n/, '')],
  'no metadata': [DEPENDENCY.replace(/metadata:\n.*\n.*\n/, '')],
  'a status': [`${DEPENDENCY}status: {resolved: 1/1}\n`],
  'a status with an unknown field': [`${DEPENDENCY}status: {foo: 1/1}\n`],
  'a status that does not fit': [`${DEPENDENCY}status: {resolved: 1}\n`],
  'a tab': [DEPENDENCY.replace('  dependsOn', '\tdependsOn')],
  'a bracket that is never closed': [DEPENDENCY.replace('checkout}}}', 'checkout}}')],
  'a text': ['just words\n'],
  'a list': ['- a\n'],
  'nothing but a comment': [`# nothing\n---\n${DEPENDENCY}`],
};

describe('the verdict of check is that of kubectl', () => {
  test.each(Object.entries(CASES))('on %s', async (_, [text, message]) => {
    const ours = check([{ file: 'a.yaml', text }], { namespace: 'default' }).report;
    const errors = ours.findings.filter(({ severity }) => severity === 'error');
    const theirs = await create(text);
    expect({ isRefused: errors.length > 0, errors }, theirs.stderr).toMatchObject({ isRefused: theirs.code !== 0 });
    if (message === undefined) return;
    expect(theirs.stderr).toContain(message);
    expect(errors.map((one) => one.message).join('\n')).toContain(message);
  });
});

/** kubectl reads YAML itself, and passes on the last of two equal keys without a word; the server sees both only here. */
test.each([
  ['retries', `${POLICY}  retries: {}\n  retries: {maxAttempts: 2}\n`],
  ['name', DEPENDENCY.replace('  name: checkout\n', '  name: checkout\n  name: other\n')],
])('a key %s that is there twice is refused by the server where the server reads the YAML', async (key, text) => {
  const plural = text.includes('ResiliencePolicy') ? 'resiliencepolicies' : 'servicedependencies';
  const answer = await post(`namespaces/shop/${plural}?dryRun=All&fieldValidation=Strict`, text);
  expect(answer).toMatchObject({ status: 400 });
  expect(answer.body).toMatch(new RegExp(`key \\\\"${key}\\\\" already set`));
  const { findings } = check([{ file: 'a.yaml', text }], { namespace: 'default' }).report;
  expect(findings).toMatchObject([{ severity: 'error', reason: 'DuplicateKey' }]);
});

function post(path: string, body: string): Promise<{ status: number | undefined; body: string }> {
  const headers = { authorization: `Bearer ${plane.token}`, 'content-type': 'application/yaml' };
  const url = `${plane.serverUrl}/apis/breakwater.dev/v1alpha1/${path}`;
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', headers, ca: readFileSync(plane.caFile) }, (response) => {
      readText(response).then((text) => resolve({ status: response.statusCode, body: text }), reject);
    });
    call.once('error', reject);
    call.end(body);
  });
}
