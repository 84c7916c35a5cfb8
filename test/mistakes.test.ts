// What people get wrong in their resources, and what they are told: docs/invalid-resources.md is written from the cases that are tested
// anyway, so that the messages can be read as their readers will read them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { parseResiliencePolicy, parseServiceDependency } from '../crds/parse.ts';
import { PROBLEMS, type Reason } from '../operator/compile/problem.ts';
import type { Problem } from '../operator/compile/result.ts';
import { compileManifests, type Manifest, manifestsOf, root } from './examples.ts';
import { expectGenerated, table } from './generated.ts';
import { type InvalidCrdCase, invalidCrdCases, sharedSentence } from './harness/crd-cases.ts';

const PAGE = 'docs/invalid-resources.md';
const MAX_SNIPPET = 90;

// ---- What is written ----

const partsOf = (path: string): (string | number)[] =>
  [...path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, name, index]) =>
    index === undefined ? (name ?? '') : Number(index),
  );

function at(root: unknown, parts: readonly (string | number)[]): unknown {
  return parts.reduce<unknown>((value, part) => (value as Record<string | number, unknown> | null)?.[part], root);
}

/** As people write it, on one line; with quotes wherever a reader of YAML 1.1 needs them. */
const flow = (value: unknown): string =>
  stringify(value, { version: '1.1', collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trim();

const code = (text: string): string => `\`${text.length > MAX_SNIPPET ? `${text.slice(0, MAX_SNIPPET)}…` : text}\``;

/** The field with its value, in what is around it where the field alone says nothing. */
function snippet(object: unknown, path: string): string {
  const parts = partsOf(path);
  const own = parts.at(-1);
  const value = at(object, parts);
  if (value === undefined) {
    const around = at(object, parts.slice(0, -1));
    return parts.length < 2 ? code(flow(Object.keys(object as object))) : code(`${shown(parts.at(-2))}${flow(around)}`);
  }
  return code(`${shown(own)}${flow(value)}`);
}

const shown = (part: string | number | undefined): string =>
  typeof part === 'number' || part === undefined ? '- ' : `${part}: `;

// ---- What is refused ----

/** What our parser says of the field. */
function ownSentences({ text, path }: InvalidCrdCase): string[] {
  const object = parse(text) as { kind: string };
  const result = object.kind === 'ServiceDependency' ? parseServiceDependency(object) : parseResiliencePolicy(object);
  return result.ok ? [] : result.problems.filter((problem) => problem.path === path).map(({ message }) => message);
}

/** The words of the API server, and in italics what we add to them. */
function told(invalid: InvalidCrdCase): string {
  const additions = ownSentences(invalid).map((ours) =>
    ours.slice(sharedSentence(invalid.message, ours).length).replace(/^; /, ''),
  );
  const added = additions.filter((addition) => addition !== '').join('; ');
  return added === '' ? invalid.message : `${invalid.message}; *${added}*`;
}

const groupOf = ({ text, path }: InvalidCrdCase): string => {
  const [spec = '', field] = partsOf(path);
  return `${(parse(text) as Manifest).kind}: ${field === undefined ? spec : `${spec}.${field}`}`;
};

function refused(): string {
  const groups = Map.groupBy(invalidCrdCases(), groupOf);
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, cases]) => {
      const rows = cases.map((it) => [snippet(parse(it.text), it.path), `\`${it.path}\`: ${told(it)}`]);
      return `### ${group}\n\n${table(['what is written', 'what is said'], rows)}`;
    })
    .join('\n\n');
}

// ---- What is reported ----

interface Mistake {
  name: string;
  title: string;
  manifests: readonly Manifest[];
  problems: readonly Problem[];
}

const folder = join(root, 'operator/compile/testdata/mistakes');
const read = (file: string) => readFileSync(join(folder, file), 'utf8');

function mistakes(): Mistake[] {
  const world = manifestsOf(read('world.yaml'));
  const usual = new Set(compileManifests(world).problems.map((problem) => JSON.stringify(problem)));
  const files = readdirSync(folder).filter((file) => file !== 'world.yaml');
  return files.sort().map((file) => {
    const title = /^# mistake: (.+)\n/.exec(read(file))?.[1] ?? '';
    const manifests = [...world, ...manifestsOf(read(file))];
    const problems = compileManifests(manifests).problems.filter((problem) => !usual.has(JSON.stringify(problem)));
    return { name: file, title, manifests, problems };
  });
}

function conditionOf({ condition, severity, reason }: Problem): string {
  return severity === 'Error'
    ? `\`${condition}=False\`, \`${reason}\``
    : `\`${condition}=True\`, a note (\`${reason}\`)`;
}

function reported(): string {
  const order = ({ problems: [first] }: Mistake) =>
    `${first?.kind === 'ServiceDependency' ? 1 : 2} ${first?.reason ?? ''}`;
  const sorted = mistakes().sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const rows = sorted.flatMap(({ title, manifests, problems }) =>
    problems.map((problem, index) => {
      const object = manifests.findLast(
        ({ kind, metadata }) =>
          kind === problem.kind &&
          metadata.name === problem.object.name &&
          (metadata.namespace ?? 'default') === problem.object.namespace,
      );
      const written = problem.field === '' ? '' : ` ${snippet(object, problem.field)}`;
      const where = problem.field === '' ? '' : `\`${problem.field}\`: `;
      return [
        `${index === 0 ? title : 'the same'}${written === '' ? '' : ':'}${written}`,
        `${problem.kind}, ${conditionOf(problem)}`,
        `${where}${problem.message}`,
      ];
    }),
  );
  return table(['what is wrong', 'told by', 'what is said'], rows);
}

describe('the page of mistakes', () => {
  it('says what is refused', () => expectGenerated(PAGE, 'refused', refused()));
  it('says what is reported', () => expectGenerated(PAGE, 'reported', reported()));
});

describe('a mistake', () => {
  it('is one of many, of every kind', () => {
    expect(invalidCrdCases().length + mistakes().length).toBeGreaterThanOrEqual(200);
    // These need more than a file of a few lines: compile.test.ts makes them; and these only sidecars can find: conditions.test.ts.
    const elsewhere: Reason[] = ['TooManyRules', 'PlanTooLarge', 'TooManyDependencies', 'TooManyEndpoints'];
    const bySidecars: Reason[] = ['InvalidCertificate', 'TlsFails'];
    const seen = new Set<string>(mistakes().flatMap(({ problems }) => problems.map(({ reason }) => reason)));
    expect(Object.keys(PROBLEMS).filter((reason) => !seen.has(reason))).toEqual([...elsewhere, ...bySidecars]);
  });

  it.each(mistakes().map((it) => [it.name, it] as const))('%s is told', (_, { title, problems }) => {
    expect(title).not.toBe('');
    expect(problems).not.toEqual([]);
    for (const { message } of problems) expect(message).toMatch(FIX);
  });

  it.each(invalidCrdCases().map((it) => [it.name, ownSentences(it)] as const))(
    '%s is told with what to write',
    (_, messages) => {
      expect(messages.join('; ')).toMatch(FIX);
    },
  );

  it('never shows a regular expression', () => {
    const messages = [
      ...invalidCrdCases().map(({ message }) => message),
      ...mistakes().flatMap(({ problems }) => problems.map(({ message }) => message)),
    ];
    expect(messages.filter((message) => /should match|\^|\[a-z/.test(message))).toEqual([]);
  });
});

/** Every message says what to do. */
const FIX =
  /\b(write|use|name|set|add|give|put|remove|rename|create|correct|shorten|lengthen|lower|raise|merge|delete|declare|let|start|restart|label|leave|split|supported values|see the status|percent-encode)\b/;
