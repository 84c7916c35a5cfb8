// Each case is a pod as the API server sends it, perhaps with its namespace and options; beside it what is decided and the patch.
// UPDATE_GOLDEN=1 writes the latter anew.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { applyPatch } from './apply-patch.ts';
import { type Decision, type DecisionContext, decide } from './decide.ts';
import {
  CAPTURE_CONTAINER,
  type PatchContext,
  patchFor,
  SIDECAR_CONTAINER,
  STATE_VOLUME,
  TOKEN_VOLUME,
} from './patch.ts';
import type { Container, Pod } from './pod.ts';
import { defaultSettings, resourceSettings } from './settings.ts';

const FOLDER = join(import.meta.dirname, 'testdata');
const UPDATE = process.env['UPDATE_GOLDEN'] === '1';
const names = (suffix: string) =>
  readdirSync(FOLDER)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length));
const CASES = names('.pod.yaml');

interface Case {
  pod: Pod;
  context: DecisionContext;
}

function readCase(name: string): Case {
  const documents = parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8')).map(
    (document) => document.toJS() as { kind: string } & Record<string, unknown>,
  );
  const pod = documents.find(({ kind }) => kind === 'Pod') as unknown as Pod;
  const namespace = documents.find(({ kind }) => kind === 'Namespace') as
    | { metadata?: Record<string, Record<string, string>> }
    | undefined;
  const options = documents.find(({ kind }) => kind === 'Options') ?? {};
  return {
    pod,
    context: {
      namespace:
        'namespaceUnknown' in options
          ? undefined
          : { labels: namespace?.metadata?.['labels'] ?? {}, annotations: namespace?.metadata?.['annotations'] ?? {} },
      defaults: DEFAULTS,
      podSecurityDefault: 'privileged',
      ...options,
    },
  };
}

const DEFAULTS = defaultSettings({
  image: 'breakwater/sidecar:test',
  ...resourceSettings({ requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } }),
});
const patchContext = (decision: Decision & { inject: true }): PatchContext => ({
  settings: decision.settings,
  operatorUrl: 'https://breakwater-operator.breakwater-system.svc:8443',
  caBundle: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  version: '0.1.0',
  imagePullPolicy: 'IfNotPresent',
});

function run({ pod, context }: Case) {
  const decision = decide(pod, context);
  return { decision, patch: decision.inject ? patchFor(pod, patchContext(decision)) : [] };
}

function render({ decision, patch }: ReturnType<typeof run>): string {
  const told = decision.inject ? { decision: 'Injected' } : { decision: decision.reason, message: decision.message };
  return stringify({ ...told, warnings: decision.warnings, patch }, { lineWidth: 0, aliasDuplicateObjects: false });
}

const ours = new Set([CAPTURE_CONTAINER, SIDECAR_CONTAINER, TOKEN_VOLUME, STATE_VOLUME]);
const notOurs = <T extends { name: string }>(list: readonly T[] | null | undefined) =>
  (list ?? []).filter(({ name }) => !ours.has(name));

/** What must hold for every injected pod. */
function checkInjected(pod: Pod, context: DecisionContext): void {
  const before = structuredClone(pod);
  const first = run({ pod, context });
  expect(pod).toEqual(before);
  if (!first.decision.inject) return;
  expect(first.patch.every(({ op }) => op === 'add')).toBe(true);
  const patched = applyPatch(pod, first.patch) as Pod;

  // Ours come first, in order; everything of the user's is as it was, in its order.
  const initContainers = patched.spec?.initContainers ?? [];
  expect(initContainers.slice(0, 2).map(({ name }) => name)).toEqual([CAPTURE_CONTAINER, SIDECAR_CONTAINER]);
  expect(notOurs<Container>(initContainers)).toEqual(pod.spec?.initContainers ?? []);
  expect(notOurs(patched.spec?.volumes)).toEqual(pod.spec?.volumes ?? []);
  const rest = (one: Pod) => ({ ...one.spec, initContainers: undefined, volumes: undefined });
  expect(rest(patched)).toEqual(rest(pod));
  expect(patched.metadata?.annotations).toMatchObject({
    ...pod.metadata?.annotations,
    'breakwater.dev/injected': '0.1.0',
  });
  expect(patched.metadata?.labels).toMatchObject(pod.metadata?.labels ?? {});

  // A second pass adds nothing, neither by decision nor by name.
  const again = decide(patched, context);
  expect(again).toMatchObject({ inject: false, reason: 'AlreadyInjected' });
  expect(patchFor(patched, patchContext(first.decision))).toEqual([]);
}

describe('goldens', () => {
  test('there are enough, and none is stale', () => {
    expect(CASES.length).toBeGreaterThanOrEqual(25);
    if (!UPDATE) expect(names('.patch.yaml').sort()).toEqual([...CASES].sort());
  });

  test.each(CASES)('%s', (name) => {
    const file = join(FOLDER, `${name}.patch.yaml`);
    const actual = render(run(readCase(name)));
    if (UPDATE) writeFileSync(file, actual);
    expect(actual).toBe(readFileSync(file, 'utf8'));
  });

  test.each(CASES)('%s keeps what is the user’s, and is injected once', (name) => {
    const { pod, context } = readCase(name);
    checkInjected(pod, context);
  });
});

test('property: whatever the pod, what is the user’s stays and a second pass adds nothing', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  const container = fc.record(
    {
      name,
      image: fc.constant('a/b:1'),
      ports: fc.array(fc.record({ containerPort: fc.integer({ min: 1, max: 65_535 }) })),
    },
    { requiredKeys: ['name', 'image'] },
  );
  const list = <T>(item: fc.Arbitrary<T>) => fc.option(fc.array(item, { maxLength: 5 }), { nil: null });
  const texts = fc.option(fc.dictionary(fc.string(), fc.string()), { nil: null });
  const pod = fc.record({
    metadata: fc.record({ labels: texts, annotations: texts }, { requiredKeys: [] }),
    spec: fc.record(
      {
        initContainers: list(container),
        containers: fc.array(container, { minLength: 1, maxLength: 5 }),
        volumes: list(fc.record({ name })),
        hostNetwork: fc.boolean(),
        serviceAccountName: fc.constant('default'),
        resources: fc.option(fc.constant({}), { nil: null }),
      },
      { requiredKeys: ['containers', 'serviceAccountName'] },
    ),
  });
  const context: DecisionContext = {
    namespace: { labels: {}, annotations: {} },
    defaults: DEFAULTS,
    podSecurityDefault: 'privileged',
  };
  fc.assert(
    fc.property(pod, (one) => checkInjected(one as Pod, context)),
    { numRuns: 300 },
  );
});
