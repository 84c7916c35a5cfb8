import { expect, test } from 'vitest';
import { ManifestFileError, readManifestFile } from './manifest-file.ts';

test('every document is an object, with the line where it begins', () => {
  const text = '# a comment\nkind: A\n---\n\nkind: B\n---\n# nothing but a comment\n---\n{"kind": "C"}\n';
  expect(readManifestFile(text, 'x.yaml')).toEqual([
    { raw: { kind: 'A' }, line: 2 },
    { raw: { kind: 'B' }, line: 5 },
    { raw: { kind: 'C' }, line: 9 },
  ]);
});

test('items of lists come out one by one', () => {
  const text = 'kind: List\nitems:\n- kind: A\n- kind: B\n  x: 1\n';
  expect(readManifestFile(text, 'x.yaml')).toEqual([
    { raw: { kind: 'A' }, line: 3 },
    { raw: { kind: 'B', x: 1 }, line: 4 },
  ]);
});

test('JSON is read, with lines', () => {
  const text = JSON.stringify({ kind: 'PodList', items: [{ kind: 'Pod' }] }, null, 2);
  expect(readManifestFile(text, 'x.json')).toEqual([{ raw: { kind: 'Pod' }, line: 4 }]);
});

test('an empty file holds nothing', () => {
  expect(readManifestFile('', 'x.yaml')).toEqual([]);
  expect(readManifestFile('---\n', 'x.yaml')).toEqual([]);
});

test('words that other readers of YAML take for booleans stay words', () => {
  expect(readManifestFile('kind: A\nmode: on\n', 'x.yaml')[0]?.raw).toEqual({ kind: 'A', mode: 'on' });
});

test.each([
  ['a tab', 'kind: A\nspec:\n\tx: 1\n', /^shop\/x\.yaml:3: /],
  ['a missing colon', 'kind: A\nmetadata\n  name: b\n', /^shop\/x\.yaml:[23]: /],
  ['a brace that is never closed', 'kind: A\n---\n{"kind": "B"\n', /^shop\/x\.yaml:[34]: /],
  ['a text', 'kind: A\n---\njust words\n', /^shop\/x\.yaml:3: this is not a Kubernetes object/],
  ['a list that is no List', '- kind: A\n', /^shop\/x\.yaml:1: this is not a Kubernetes object/],
  ['a duplicate key', 'kind: A\nkind: B\n', /^shop\/x\.yaml:2: Map keys must be unique/],
])('%s is told with file and line', (_what, text, message) => {
  expect(() => readManifestFile(text, 'shop/x.yaml')).toThrow(ManifestFileError);
  expect(() => readManifestFile(text, 'shop/x.yaml')).toThrow(message);
});

test('a file that explodes by aliases is refused', () => {
  let text = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let level = 1; level < 8; level += 1) {
    const before = `*a${level - 1}`;
    text += `a${level}: &a${level} [${Array.from({ length: 10 }, () => before).join(', ')}]\n`;
  }
  expect(() => readManifestFile(`kind: A\n${text}`, 'x.yaml')).toThrow(/^x\.yaml:1: .*alias/i);
});
