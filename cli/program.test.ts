// What every command says of itself, as goldens, and how the command line answers what it cannot do.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectGolden } from '../test/harness/golden.ts';
import { run } from './testing.ts';

const testdata = join(import.meta.dirname, 'testdata/help');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'breakwater-test-program-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('help', () => {
  it.each(['', 'check', 'explain', 'inject', 'standalone', 'demo', 'completion', 'version', 'operator'])(
    'of "%s"',
    async (command) => {
      const { code, stdout, stderr } = await run([...(command === '' ? [] : [command]), '--help']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
      expectGolden(join(testdata, `${command === '' ? 'breakwater' : command}.txt`), stdout.trimEnd());
    },
  );
});

describe('what cannot be done is answered with what to do, and 2', () => {
  it.each([
    [[], /Usage: breakwater/],
    [['chek'], /unknown command 'chek'\n\(Did you mean check\?\)\n\("breakwater --help" lists the commands\)/],
    [['check'], /missing required argument 'paths'\n\("breakwater check --help" says more\)/],
    [['check', 'nowhere.yaml'], /^nowhere\.yaml does not exist\n$/],
    [['check', '.', '--strct'], /unknown option '--strct'\n\(Did you mean --strict\?\)/],
    [['check', '.', '-o', 'xml'], /Allowed choices are text, json, github/],
    [['explain'], /missing required argument 'workload'/],
    [['explain', 'checkout', '-f', '.'], /names no workload: write its kind and its name, such as deploy\/checkout/],
    [['inject', '-', '--values', 'x'], /also needs --ca-bundle-file/],
    [['completion', 'tcsh'], /Allowed choices are bash, zsh, fish/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
  });

  it('files that are no text, too large, or not there at all', async () => {
    const binary = join(folder, 'binary.yaml');
    writeFileSync(binary, Buffer.from([0xff, 0xfe, 0x00]));
    expect((await run(['check', binary])).stderr).toBe(`${binary} is not UTF-8 text; manifests are\n`);
    const huge = join(folder, 'huge.yaml');
    writeFileSync(huge, Buffer.alloc(16 * 1024 * 1024 + 1, '#'));
    expect((await run(['check', huge])).stderr).toBe(`${huge} is larger than 16777216 bytes; split it\n`);
    const empty = mkdtempSync(join(folder, 'empty-'));
    expect((await run(['check', empty])).stderr).toContain('has no manifest: put Kubernetes objects there');
  });
});

const POLICY = `apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: a}
spec:
  targetRefs: [{group: breakwater.dev, kind: ServiceDependency, name: b}]
`;

describe('check ends', () => {
  const warned = `${POLICY}---\n${POLICY}`;
  it.each([
    ['with 0 where nothing is wrong', POLICY, [], 0],
    ['with 1 where something is', `${POLICY}  retrys: {}\n`, [], 1],
    ['with 0 where there are warnings', warned, [], 0],
    ['with 1 where warnings must not be', warned, ['--strict'], 1],
    ['with 1 where nothing can be read', 'a: [', [], 1],
  ])('%s', async (_, text, args, code) => {
    expect(await run(['check', '-', ...args], text)).toMatchObject({ code, stderr: '' });
  });

  it('reads a folder and everything below it, hidden files apart, and each file once', async () => {
    const shop = mkdtempSync(join(folder, 'shop-'));
    writeFileSync(join(shop, 'a.yaml'), POLICY);
    writeFileSync(join(shop, '.hidden.yaml'), 'a: [');
    writeFileSync(join(shop, 'notes.txt'), 'a: [');
    expect((await run(['check', shop, join(shop, 'a.yaml')])).stdout).toContain('in 1 file: 1 object of Breakwater');
  });
});

it('an explanation of files that a cluster would not take says so', async () => {
  const { code, stdout, stderr } = await run(['explain', 'sdep/b', '-f', '-'], `${POLICY}  retrys: {}\n`);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/unknown field "spec\.retrys"[\s\S]*a cluster would not take these files as they are/);
});

it('files of an explanation may be named before and after who calls, each by its flag', async () => {
  const file = join(folder, 'dependency.yaml');
  const dependency =
    'apiVersion: breakwater.dev/v1alpha1\nkind: ServiceDependency\nmetadata: {name: b}\nspec:\n  consumer: {selector: {}}\n  dependsOn: [{name: c, service: {name: c, port: 80}}]\n';
  writeFileSync(file, dependency);
  const said = await run(['explain', '-f', file, 'sdep/b', 'c', '-f', '-'], `${POLICY}  bulkhead: {}\n`);
  expect(said).toMatchObject({ code: 0, stderr: '' });
  expect(said.stdout).toContain('ResiliencePolicy default/a generation 1');
});

it('the version is told to people and programs', async () => {
  expect((await run(['version'])).stdout).toMatch(/^breakwater \d+\.\d+\.\d+ \(Node \d+\.\d+\.\d+\)\n$/);
  expect(JSON.parse((await run(['version', '-o', 'json'])).stdout)).toMatchObject({
    version: expect.any(String) as string,
  });
});
