import { describe, expect, it } from 'vitest';
import { readManifests } from './document.ts';

const only = (text: string) => {
  const { objects, problems } = readManifests(text, 'a.yaml');
  expect(problems).toEqual([]);
  expect(objects).toHaveLength(1);
  const [object] = objects;
  if (object === undefined) throw new Error('nothing');
  return object;
};

describe('the place of a field', () => {
  const text = `apiVersion: v1
kind: A
defaults: &defaults {request: 1s}
spec:
  labels: {app.kubernetes.io/name: a, "app": {b: c}}
  list:
  - name: x
  - {name: y}
  merged:
    <<: *defaults
    own: 1
  alias: *defaults
`;
  it.each([
    ['spec', 'name', { line: 4, column: 1 }],
    ['spec', 'value', { line: 5, column: 3 }],
    ['spec.labels.app.kubernetes.io/name', 'value', { line: 5, column: 36 }],
    ['spec.labels.app.b', 'value', { line: 5, column: 50 }],
    ['spec.list[1].name', 'name', { line: 8, column: 6 }],
    ['spec.list[1]', 'value', { line: 8, column: 5 }],
    ['spec.list[7].name', 'value', { line: 6, column: 3 }],
    ['spec.list[0].missing.deep', 'value', { line: 7, column: 5 }],
    ['spec.merged.request', 'value', { line: 3, column: 31 }],
    ['spec.alias.request', 'value', { line: 3, column: 31 }],
    ['nothing', 'value', { line: 1, column: 1 }],
    ['', 'value', { line: 1, column: 1 }],
  ] as const)('%s (its %s)', (field, what, position) => {
    expect(only(text).positionOf(field, what)).toEqual(position);
  });

  it('in an item of a List, and in JSON', () => {
    const list = { apiVersion: 'v1', kind: 'List', items: [{ kind: 'A', spec: { a: 1 } }] };
    const object = only(JSON.stringify(list, null, 2));
    expect(object.position).toEqual({ line: 5, column: 5 });
    expect(object.positionOf('spec.a', 'value')).toEqual({ line: 8, column: 14 });
  });
});

describe('what kubectl reads in its own way', () => {
  it.each([
    ['off', false],
    ['010', 8],
    ['1_000', 1000],
    ['12:30', '12:30'],
    ['2026-01-01', '2026-01-01'],
    ['"off"', 'off'],
    ['~', null],
  ])('%s is %j', (written, value) => {
    expect(only(`a: ${written}\n`).raw).toEqual({ a: value });
  });
});

describe('what cannot be read', () => {
  it.each([
    ['a: [', 'NotYaml', { line: 1, column: 5 }],
    ['a: {{ .Values.b }}\n', 'NotYaml', { line: 1, column: 5 }],
    ['a: 1\nb: 1\na: 2\n', 'DuplicateKey', { line: 3, column: 1 }],
    ['- a\n', 'NoObject', { line: 1, column: 1 }],
    ['kind: List\nitems: [1]\n', 'NoObject', { line: 2, column: 9 }],
  ])('%j is told with its place', (text, reason, position) => {
    expect(readManifests(text, 'a.yaml')).toMatchObject({
      objects: [],
      problems: [{ file: 'a.yaml', reason, position }],
    });
  });

  it('does not hide the documents beside it', () => {
    const { objects, problems } = readManifests('a: [\n---\nb: 1\n---\n---\nc: 1\n', 'a.yaml');
    expect(objects.map(({ raw }) => raw)).toEqual([{ b: 1 }, { c: 1 }]);
    expect(problems).toHaveLength(1);
  });

  it('is also a bomb of aliases', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(',')}]`);
    const { problems } = readManifests(`a0: &a0 [x,x]\n${levels.join('\n')}\n`, 'a.yaml');
    expect(problems).toMatchObject([{ reason: 'NotYaml' }]);
  });
});
