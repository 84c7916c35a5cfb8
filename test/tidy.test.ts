// The rules of this code base, checked on its own sources: what a reviewer would have to say again and again is said here once.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { PARTS, PURE, violations, YAML_BOOLEAN } from './tidy/rules.ts';
import { filesBelow, inspect, readSource, root } from './tidy/source.ts';

/** Past this a file usually holds two ideas; past the second it certainly does. */
const LONG_FILE_LINES = 400;
const MAX_FILE_LINES = 800;

const sources = filesBelow('.', /\.ts$/)
  .filter((path) => !path.endsWith('.d.ts'))
  .map(readSource);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const found = (text: string, path: string) =>
  violations(inspect(text, path)).map(({ message }) => message.split(':')[0]);

describe('the rules', () => {
  it.each([
    ['sidecar/policies/a.ts', 'const later = setTimeout;'],
    ['sidecar/http1/a.ts', 'export const now = () => Date.now();'],
    ['operator/compile/a.ts', 'const at = new Date(0);'],
    ['crds/a.ts', "import { readFileSync } from 'node:fs';"],
    ['plan/a.ts', 'const home = process.env.HOME;'],
    ['operator/status/conditions.ts', 'const chance = Math.random();'],
    ['operator/inject/patch.ts', "const { get } = await import('node:http');"],
    ['operator/watch/a.ts', 'const now = Date.now();'],
    ['operator/watch/a.ts', 'setInterval(() => {}, 5);'],
    ['sidecar/proxy/a.ts', "import { setTimeout } from 'node:timers/promises';"],
    ['cli/a.ts', "const home = process.env['HOME'];"],
    ['crds/a.ts', "import { x } from '../plan/plan.ts';"],
    ['runtime/a.ts', "import type { X } from '../plan/plan.ts';"],
    ['sidecar/a.ts', "export { x } from '../crds/parse.ts';"],
    ['sidecar/a/b.ts', "import { x } from '../../operator/config.ts';"],
    ['operator/a.ts', "import { x } from '../sidecar/errors.ts';"],
    ['operator/a.ts', "import { x } from '../test/harness/control-plane.ts';"],
    ['operator/watch/a.ts', "import { x } from '../main.ts';"],
    ['sidecar/a.ts', "import { x } from './b.test.ts';"],
    ['bench/a.ts', 'export default 1;'],
    ['test/a.ts', 'let x: any;'],
    ['cli/a.ts', 'const y = x!.z;'],
    ['runtime/a.test.ts', "import { array } from 'fast-check'; array(x, { minLength: 5, maxLength: 60 });"],
    ['runtime/a.test.ts', "import * as fc from 'fast-check'; fc.commands(all, { maxCommands: 80 });"],
  ])('refuse in %s: %s', (path, text) => {
    expect(found(text, path)).toHaveLength(1);
  });

  it.each([
    [
      'sidecar/policies/a.ts',
      'interface Clock { process: number; Date: string } const x = { setTimeout: 1 }; x.setTimeout;',
    ],
    [
      'operator/watch/a.ts',
      "import type { Clock } from '../../runtime/clock.ts'; const at = new Date(5).toISOString();",
    ],
    ['runtime/clock.ts', 'const now = Date.now();'],
    ['sidecar/policies/a.test.ts', 'setTimeout(() => {}, 1); Date.now();'],
    ['cli/a.ts', "import { x } from '../operator/main.ts';"],
    [
      'runtime/a.test.ts',
      "import { array } from 'fast-check'; array(array(x, { maxLength: 60, size: 'max' }), { maxLength: 10 });",
    ],
    ['crds/a.ts', 'const schema = { type: "string", maxLength: 63 };'],
    ['plan/a.ts', '// Date.now() and any and x!.y in a comment\nconst text = "process.env";'],
  ])('let pass in %s: %s', (path, text) => {
    expect(found(text, path)).toEqual([]);
  });
});

describe('the sources', () => {
  it('are all looked at', () => {
    for (const part of PARTS)
      expect(sources.filter(({ path }) => path.startsWith(`${part}/`)).length, part).toBeGreaterThan(2);
  });

  it('are in every place that a rule names', () => {
    for (const pattern of PURE)
      expect(
        sources.some(({ path }) => pattern.test(path)),
        String(pattern),
      ).toBe(true);
  });

  it('keep the rules', () => {
    const all = sources.flatMap(violations);
    expect(all.map(({ path, line, message }) => `${path}:${line} ${message}`)).toEqual([]);
  });

  it('are no declarations that were generated: the compiler writes them where a project does not list what it imports', () => {
    const written = new Set(sources.map(({ path }) => path));
    const generated = filesBelow('.', /\.d\.ts$/).filter((path) => written.has(path.replace(/\.d\.ts$/, '.ts')));
    expect(generated).toEqual([]);
  });

  it('stay short', () => {
    const long = sources.filter(({ path, lines }) => lines > LONG_FILE_LINES && !path.endsWith('.test.ts'));
    for (const { path, lines } of long) console.info(`${path} has ${lines} lines: does it hold two ideas?`);
    expect(long.filter(({ lines }) => lines > MAX_FILE_LINES).map(({ path }) => path)).toEqual([]);
  });

  it('have the files of the data path that docs/architecture.md names', () => {
    const [, map = ''] = read('docs/architecture.md').split('### Where that is in `sidecar/proxy`\n');
    const rows = map.slice(0, map.indexOf('\n\n', 1)).split('\n').slice(3);
    let folder = '';
    const named = rows.flatMap((row) => {
      const [, first = '', ...cells] = row.split('|');
      folder = /`([a-z.]+)`/.exec(first)?.[1] ?? folder;
      const names = cells.join('|').matchAll(/`([a-z0-9-]+)`/g);
      return Array.from(names, ([, name]) => join('sidecar/proxy', folder, `${name}.ts`));
    });
    expect(named.length).toBeGreaterThan(50);
    const paths = new Set(sources.map(({ path }) => path));
    expect(named.filter((path) => !paths.has(path))).toEqual([]);
  });

  it('name no host of a package registry', () => {
    const host = /\b(?:registry|npm|pypi|proxy|files|index)\.(?:[a-z0-9-]+\.)*(?:org|com|net|io|dev)\b/;
    const files = filesBelow('.', /(\.(ts|js|json|md|ya?ml|sh|toml|svg)|^Dockerfile.*|^\.npmrc|^run)$/);
    expect(files.filter((path) => host.test(read(path)))).toEqual([]);
  });
});

interface LockEntry {
  resolved?: string;
  version?: string;
  integrity?: string;
  optionalDependencies?: Record<string, string>;
}

describe('package-lock.json', () => {
  const text = read('package-lock.json');
  const { packages } = parse(text) as { packages: Record<string, LockEntry> };

  it('holds no address to download from', () => {
    expect(Object.entries(packages).filter(([, entry]) => entry.resolved !== undefined)).toEqual([]);
  });

  it('has an entry for every platform, without which npm ci refuses it', () => {
    const missing = Object.entries(packages).flatMap(([path, entry]) =>
      Object.keys(entry.optionalDependencies ?? {}).filter(
        (name) =>
          packages[`node_modules/${name}`] === undefined && packages[`${path}/node_modules/${name}`] === undefined,
      ),
    );
    expect(missing).toEqual([]);
  });

  it('pins Node by content', () => {
    const pinned = Object.entries(packages).filter(([path]) => /^node_modules\/node-(bin-)?(linux|darwin)-/.test(path));
    expect(pinned).toHaveLength(4);
    for (const [path, { integrity }] of pinned) expect(integrity, path).toMatch(/^sha512-/);
  });
});

describe('YAML', () => {
  it('has no field or value in the schemas that kubectl would turn into true or false', () => {
    const words: string[] = [];
    interface Definition {
      spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: object } } } }[] };
    }
    const collect = (schema: unknown): void => {
      if (typeof schema !== 'object' || schema === null) return;
      const { properties, enum: values } = schema as { properties?: object; enum?: unknown[] };
      if (properties) words.push(...Object.keys(properties));
      for (const value of values ?? []) if (typeof value === 'string') words.push(value);
      for (const child of Object.values(schema)) collect(child);
    };
    const manifests = filesBelow('crds/manifests', /\.yaml$/);
    for (const document of manifests.flatMap((path) => parseAllDocuments(read(path)))) {
      // What users write; the status is written by us, and no YAML.
      const { versions } = (document.toJS() as Definition).spec;
      for (const { schema } of versions) collect(schema.openAPIV3Schema.properties.spec);
    }
    expect(words.length).toBeGreaterThan(50);
    expect(words.filter((word) => YAML_BOOLEAN.test(word))).toEqual([]);
  });

  it('means the same to kubectl (YAML 1.1) and to us (YAML 1.2)', () => {
    const manifests = ['crds', 'examples', 'cli'].flatMap((folder) => filesBelow(folder, /\.ya?ml$/));
    expect(manifests.length).toBeGreaterThan(3);
    for (const path of manifests) {
      const as = (version: '1.1' | '1.2') =>
        parseAllDocuments(read(path), { version }).map((document) => document.toJS() as unknown);
      expect(as('1.1'), path).toEqual(as('1.2'));
    }
  });
});
