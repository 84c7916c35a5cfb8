// What `check` says, as goldens in testdata: each case is a folder with manifests and what is printed of them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCKS } from '../../crds/policies/blocks.ts';
import { invalidCrdCases, sharedSentence, validCrdCases } from '../../test/harness/crd-cases.ts';
import { expectGolden } from '../../test/harness/golden.ts';
import { coloured, plain } from '../output/paint.ts';
import { check } from './check.ts';
import { renderGitHub, renderText } from './render.ts';
import { checkReport } from './report.ts';

const reportOf = (text: string, file = 'a.yaml') => check([{ file, text }], { namespace: 'default' }).report;
const errorsOf = (text: string) => reportOf(text).findings.filter(({ severity }) => severity === 'error');

describe('the cases that the API server judges', () => {
  it.each(validCrdCases())('takes $name', ({ text }) => {
    expect(errorsOf(text)).toEqual([]);
  });

  it.each(invalidCrdCases())('refuses $name, with field and place', ({ text, path, message }) => {
    // kubectl sees unknown fields where an object stands in the place of a list.
    const says = (ours: string) => message.startsWith('unknown field') || sharedSentence(message, ours) !== '';
    const found = errorsOf(text).find((one) => one.field === path && says(one.message));
    expect(found, JSON.stringify(errorsOf(text))).toBeDefined();
    // The place is a line on which the last name of the path, or of what is missing its parent, can be read; not just the object.
    const lines = text
      .split('\n')
      .slice((found?.line ?? 0) - 1)
      .join('\n');
    expect(lines.slice((found?.column ?? 0) - 1).trim()).not.toBe('');
    if (!message.includes('Required value')) expect(found?.line).toBeGreaterThan(2);
  });
});

const testdata = join(import.meta.dirname, 'testdata');
const cases = readdirSync(testdata).sort();

describe('what is printed of', () => {
  it.each(cases)('%s', (name) => {
    const folder = join(testdata, name);
    const files = readdirSync(folder)
      .filter((file) => !file.startsWith('expected.'))
      .sort()
      .map((file) => ({ file, text: readFileSync(join(folder, file), 'utf8') }));
    const { report } = check(files, { namespace: 'default' });
    expect(checkReport.parse(report)).toEqual(report);
    expectGolden(join(folder, 'expected.txt'), renderText(report, { paint: plain, columns: undefined }).join('\n'));
    expectGolden(join(folder, 'expected.json'), JSON.stringify(report, null, 2));
  });
});

const broken =
  'apiVersion: breakwater.dev/v1alpha1\nkind: ResiliencePolicy\nmetadata: {name: a}\nspec: {x, "y,%": 1}\n';

describe('a report', () => {
  it('fits a terminal of 80 columns, but for what cannot be broken', () => {
    const files = readdirSync(join(testdata, 'together'))
      .filter((file) => file.endsWith('.yaml'))
      .map((file) => ({ file, text: readFileSync(join(testdata, 'together', file), 'utf8') }));
    const lines = renderText(check(files, { namespace: 'default' }).report, { paint: plain, columns: 80 });
    const bodies = lines.filter((line) => line.startsWith('    '));
    expect(bodies.length).toBeGreaterThan(10);
    for (const line of bodies) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('is coloured where colours can be seen', () => {
    const [head] = renderText(reportOf(broken), { paint: coloured, columns: 80 });
    expect(head).toContain('\u001b[31merror\u001b[0m');
  });

  it('is annotations for GitHub, with what their form needs escaped', () => {
    expect(renderGitHub(reportOf(broken, 'a,b.yaml'))[2]).toBe(
      `::error file=a%2Cb.yaml,line=4,col=11,title=ResiliencePolicy default/a spec.y%2C%25::unknown field "spec.y,%25"; known here are targetRefs, ${BLOCKS.join(', ')}, rules (UnknownField)`,
    );
  });
});

describe('any text', () => {
  const words = fc.constantFrom(
    'apiVersion: breakwater.dev/v1alpha1',
    'kind: ResiliencePolicy',
    'kind: List',
    'kind: ServiceDependency',
    'metadata: {name: a, namespace: [b]}',
    'metadata:',
    '  name: x',
    'spec:',
    '  targetRefs: [{}]',
    '  dependsOn: [{service: }, 1, null]',
    'items: [1, {kind: a, apiVersion: b, items: []}]',
    '---',
    '- &a {b: *a}',
    '<<: [{a: b}]',
    '? {a: b}\n: c',
    '{"a": ',
    '\t',
    '"',
    '!!binary x',
    '%YAML 1.2',
    '\u0000',
  );
  it('gets a report and never an exception, with places inside the text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 4, arbitrary: words }, { weight: 1, arbitrary: fc.string() }), {
          maxLength: 12,
          size: 'max',
        }),
        (lines) => {
          const text = lines.join('\n');
          const report = checkReport.parse(reportOf(text));
          for (const { line } of report.findings) expect(line).toBeLessThanOrEqual(text.split('\n').length + 1);
        },
      ),
      { numRuns: 200 },
    );
  });
});
