// What the command says when it is used wrongly: what is wrong, where, and what to do; on standard error, with an exit code.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { pod } from './harness.ts';

vi.setConfig({ testTimeout: 60_000 });

const project = resolve(import.meta.dirname, '../..');
let folder: string;

beforeAll(() => {
  folder = temporaryFolder('test-usage');
});
afterAll(() => rmSync(folder, { recursive: true }));

function breakwater(...args: readonly string[]): Promise<{ code: number; output: string; errors: string }> {
  return new Promise((done) => {
    const child = execFile(process.execPath, [join(project, 'cli/bin/breakwater.js'), ...args], (_, output, errors) =>
      done({ code: child.exitCode ?? -1, output, errors }),
    );
  });
}

/** Runs standalone on a folder with this one file. */
function standaloneWith(text: string) {
  const path = mkdtempSync(join(folder, 'case-'));
  writeFileSync(join(path, 'shop.yaml'), text);
  return breakwater('standalone', path);
}

describe('breakwater', () => {
  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as { version: string };
    expect(await breakwater('--version')).toEqual({ code: 0, output: `${version}\n`, errors: '' });
  });

  it('tells its commands', async () => {
    const { code, output } = await breakwater('--help');
    expect(code).toBe(0);
    for (const name of [
      'check',
      'explain',
      'inject',
      'standalone',
      'demo',
      'completion',
      'version',
      'operator',
      'sidecar',
    ])
      expect(output).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
  });

  it.each([
    [['nonsense'], "unknown command 'nonsense'"],
    [['standalone'], "missing required argument 'folder'"],
    [['standalone', '.', '--log-level', 'loud'], 'Allowed choices are debug, info, warn, error, silent'],
    [['demo', '--output', 'xml'], 'Allowed choices are text, json'],
  ])('refuses %s', async (args, message) => {
    const { code, output, errors } = await breakwater(...args);
    expect(code).not.toBe(0);
    expect(output).toBe('');
    expect(errors).toContain(message);
  });

  it('says what operator and sidecar miss in their environment', async () => {
    for (const part of ['operator', 'sidecar']) {
      const { code, errors } = await breakwater(part);
      expect(code, part).not.toBe(0);
      expect(errors, part).toContain('BREAKWATER_');
    }
  });
});

describe('breakwater standalone', () => {
  it.each([
    ['a folder that is not there', () => join(folder, 'nowhere'), 'does not exist'],
    ['a file', () => join(project, 'package.json'), 'is a file: name the folder'],
    ['an empty folder', () => mkdtempSync(join(folder, 'empty-')), 'has no manifest: put Kubernetes objects there'],
  ])('refuses %s', async (_, path, message) => {
    const { code, output, errors } = await breakwater('standalone', path());
    expect({ code, output }).toEqual({ code: 2, output: '' });
    expect(errors).toContain(message);
    expect(errors).not.toContain('    at ');
  });

  it('refuses a folder without anybody to run a sidecar for', async () => {
    const { code, errors } = await standaloneWith('apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n');
    expect(code).toBe(2);
    expect(errors).toContain('has no Pod and no ServiceDependency');
  });

  it('names file, line, object and field of every mistake', async () => {
    const { code, errors } = await standaloneWith(`${pod('checkout')}
---
apiVersion: breakwater.dev/v1alpha1
kind: ServiceDependency
metadata: {name: checkout, namespace: shop}
spec:
  consumer: {selector: {matchLabels: {app: checkout}}}
  dependsOn:
  - {name: payments, service: {name: payments, port: 70000}}
---
apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{group: breakwater.dev, kind: ServiceDependency, name: checkout}]
  timeouts: {request: 1s, attempt: 2s}
  retries: {maxAttempts: 11}
---
apiVersion: breakwater.dev/v1alpha1
kind: Fallback
metadata: {name: payments}
`);
    expect(code).toBe(1);
    const found = [
      /shop\.yaml:9:54: error ServiceDependency shop\/checkout spec\.dependsOn\[0\]\.service\.port\n {4}should be less/,
      /shop\.yaml:16:36: error ResiliencePolicy shop\/payments spec\.timeouts\.attempt\n {4}attempt must not be longer than request/,
      /shop\.yaml:17:26: error ResiliencePolicy shop\/payments spec\.retries\.maxAttempts\n/,
      /shop\.yaml:20:7: error Fallback .*\n {4}breakwater.dev\/v1alpha1 has no kind Fallback; its kinds are/,
      /cannot be run as it is/,
    ];
    for (const pattern of found) expect(errors).toMatch(pattern);
  });

  it.each([
    ['what is not YAML', 'kind: [unfinished', 'shop.yaml:1:18: error'],
    ['what is no object', 'just: text\n', 'this has no apiVersion, which every Kubernetes object has'],
    [
      'a Service that cannot be one',
      'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: http}]}\n',
      'shop.yaml:1:1: error Service default/a',
    ],
  ])('refuses %s', async (_, text, message) => {
    const { code, errors } = await standaloneWith(text);
    expect(code).toBe(1);
    expect(errors).toContain(message);
  });
});
