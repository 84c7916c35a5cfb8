// Manifests as text → objects that know where in the text each of their fields stands. Pure.
//
// Read as kubectl reads them, whose YAML is of version 1.1: `mode: off` is a boolean there, and `port: 010` is 8. What kubectl reads in
// its own way, and differently from that version (times, sexagesimal numbers), is text there and so it is here.
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Tags,
  visit,
  type YAMLMap,
} from 'yaml';

/** 1-based, as editors count. */
export interface Position {
  line: number;
  column: number;
}

export interface SourceObject {
  /** Name of the file, as the user gave it. */
  file: string;
  raw: Record<string, unknown>;
  /** Where the object begins. */
  position: Position;
  /** Where a field stands: "spec.dependsOn[0].service.port"; where it is missing, the nearest part of the path that is there. */
  positionOf(field: string, what: 'name' | 'value'): Position;
}

/** Why (a part of) a file cannot be read. */
export interface ReadProblem {
  file: string;
  position: Position;
  reason: 'NotYaml' | 'DuplicateKey' | 'NoObject';
  message: string;
}

export interface Manifests {
  objects: readonly SourceObject[];
  problems: readonly ReadProblem[];
}

const LEFT_AS_TEXT = new Set(
  ['timestamp', 'binary', 'omap', 'pairs', 'set'].map((name) => `tag:yaml.org,2002:${name}`),
);

export const KUBECTL_YAML = {
  version: '1.1',
  customTags: (tags: Tags): Tags =>
    tags.filter((tag) => typeof tag === 'string' || !(LEFT_AS_TEXT.has(tag.tag) || tag.format === 'TIME')),
} as const;

const MAX_ALIASES = 100;

/** Every problem of every document; an object whose document has one is left out. Items of a List come out one by one. */
export function readManifests(text: string, file: string): Manifests {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    ...KUBECTL_YAML,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
  });
  const objects: SourceObject[] = [];
  const problems: ReadProblem[] = [];
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  for (const document of Array.isArray(parsed) ? parsed : []) {
    const found = readDocument(document, file, at);
    objects.push(...found.objects);
    problems.push(...found.problems.map((one) => ({ file, ...one })));
  }
  return { objects, problems };
}

type At = (offset: number) => Position;
type Problem = Omit<ReadProblem, 'file'>;

function readDocument(
  document: Document.Parsed,
  file: string,
  at: At,
): { objects: SourceObject[]; problems: Problem[] } {
  const failed = (problem: Problem) => ({ objects: [], problems: [problem] });
  if (document.errors.length > 0) return { objects: [], problems: syntaxProblems(document, at) };
  const { contents } = document;
  if (contents === null) return { objects: [], problems: [] };
  const position = at(contents.range[0]);
  const oddKey = keyThatIsNoText(contents);
  if (oddKey !== undefined) {
    const message = 'a key of an object must be plain text, and this is none; put it into quotes';
    return failed({ position: at(oddKey.range?.[0] ?? 0), reason: 'NotYaml', message });
  }
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    return failed({ position, reason: 'NotYaml', message: error instanceof Error ? error.message : String(error) });
  }
  if (raw === null) return { objects: [], problems: [] };
  if (!isRecord(raw)) {
    const message =
      'this is no Kubernetes object, which has apiVersion, kind and metadata; remove it, or name other files';
    return failed({ position, reason: 'NoObject', message });
  }
  const objects: SourceObject[] = [];
  const problems: Problem[] = [];
  for (const [node, value] of itemsOf(document, contents, raw)) {
    const start = node?.range ? at(node.range[0]) : position;
    if (isRecord(value)) objects.push(sourceObject(document, node ?? contents, value, file, at, start));
    else problems.push({ position: start, reason: 'NoObject', message: 'this item of a List is no Kubernetes object' });
  }
  return { objects, problems };
}

/** YAML allows a map as a key of a map; JSON, which Kubernetes means, does not. */
function keyThatIsNoText(contents: Node): Node | undefined {
  let found: Node | undefined;
  visit(contents, {
    Pair: (_, { key }) => {
      if (!isMap(key) && !isSeq(key)) return undefined;
      found = key;
      return visit.BREAK;
    },
  });
  return found;
}

/** Of errors that follow from each other the first one says it best; keys that are there twice are told each. */
function syntaxProblems(document: Document.Parsed, at: At): Problem[] {
  const duplicates = document.errors.filter(({ code }) => code === 'DUPLICATE_KEY');
  const first = document.errors.find(({ code }) => code !== 'DUPLICATE_KEY');
  if (first !== undefined) {
    const message = `this cannot be read as YAML: ${first.message.replace(/[.:]$/, '')}`;
    return [{ position: at(first.pos[0]), reason: 'NotYaml', message }];
  }
  return duplicates.map(({ pos }) => ({
    position: at(pos[0]),
    reason: 'DuplicateKey',
    message: 'this key is in its object twice, and only one of the two would count; remove or rename one',
  }));
}

/** The object itself, or the items of the List that it is. */
function itemsOf(document: Document, contents: Node, raw: Record<string, unknown>): [Node | undefined, unknown][] {
  const { kind, items } = raw;
  if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return [[contents, raw]];
  const nodes = isMap(contents) ? resolved(document, contents.get('items', true)) : undefined;
  return items.map((item: unknown, index) => [
    isSeq(nodes) ? (nodes.items[index] as Node | undefined) : undefined,
    item,
  ]);
}

function sourceObject(
  document: Document,
  root: Node,
  raw: Record<string, unknown>,
  file: string,
  at: At,
  position: Position,
): SourceObject {
  return {
    file,
    raw,
    position,
    positionOf: (field, what) => {
      const found = find(document, root, field);
      const node = (what === 'name' || found.isMissing ? found.name : found.value) ?? found.name ?? found.value;
      return node?.range ? at(node.range[0]) : position;
    },
  };
}

interface Place {
  /** The key in its map, or the item of its list. */
  name: Node | undefined;
  value: Node | undefined;
  /** Not all of the path is there. */
  isMissing: boolean;
}

/** Keys may hold dots (labels do), so of the keys that the rest of the path begins with the longest one is meant. */
function find(document: Document, root: Node, field: string): Place {
  let place: Place = { name: undefined, value: root, isMissing: false };
  let rest = field;
  while (rest !== '') {
    const node = resolved(document, place.value);
    const index = /^\[(\d+)\]/.exec(rest);
    if (index) {
      const item = isSeq(node) ? (node.items[Number(index[1])] as Node | undefined) : undefined;
      if (item === undefined) return { ...place, isMissing: true };
      place = { name: item, value: item, isMissing: false };
      rest = rest.slice(index[0].length);
    } else {
      rest = rest.replace(/^\./, '');
      const entry = isMap(node) ? longestKey(document, node, rest) : undefined;
      if (entry === undefined) return { ...place, isMissing: true };
      place = { name: entry.name, value: entry.value ?? entry.name, isMissing: false };
      rest = rest.slice(entry.key.length);
    }
  }
  return place;
}

interface Entry {
  key: string;
  name: Node;
  value: Node | undefined;
}

function longestKey(document: Document, map: YAMLMap, rest: string): Entry | undefined {
  let best: Entry | undefined;
  for (const { key: name, value } of map.items) {
    if (!isScalar(name)) continue;
    // A merge key is a symbol to its reader.
    const key = typeof name.value === 'symbol' ? '<<' : String(name.value);
    if (key === '<<') best ??= mergedKey(document, value as Node | undefined, rest);
    const fits = rest === key || rest.startsWith(`${key}.`) || rest.startsWith(`${key}[`);
    if (fits && (best === undefined || key.length >= best.key.length)) {
      best = { key, name, value: (value as Node | null) ?? undefined };
    }
  }
  return best;
}

/** A key that comes from `<<: *anchor`, or one of a list of anchors. */
function mergedKey(document: Document, merged: Node | undefined, rest: string): Entry | undefined {
  const node = resolved(document, merged);
  if (isMap(node)) return longestKey(document, node, rest);
  if (!isSeq(node)) return undefined;
  for (const item of node.items) {
    const found = mergedKey(document, item as Node, rest);
    if (found !== undefined) return found;
  }
  return undefined;
}

function resolved(document: Document, node: unknown): Node | undefined {
  return isAlias(node) ? node.resolve(document) : ((node ?? undefined) as Node | undefined);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
