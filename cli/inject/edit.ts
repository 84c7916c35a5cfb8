// Changes some objects of a text of manifests and leaves the rest of it as it is: documents that are not changed come out byte for byte,
// changed ones keep their order, comments and style as far as YAML's printer can. Pure.
import { Document, isAlias, isMap, isSeq, type Node, parseDocument } from 'yaml';
import type { AddOperation } from '../../operator/inject/patch.ts';
import { KUBECTL_YAML } from '../manifests/document.ts';

/** What to change in an object; empty: nothing. Paths are RFC 6901, and begin at the object. */
export type Change = (object: Record<string, unknown>) => readonly AddOperation[];

/** The text must be one that `readManifests` has nothing against. */
export function editManifests(text: string, change: Change): string {
  return /^\s*\{/.test(text) ? editJson(text, change) : editYaml(text, change);
}

/** JSON goes back as JSON, for whoever reads it next. */
function editJson(text: string, change: Change): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return editYaml(text, change);
  }
  const root = new Document(value);
  return editDocument(root, value, change) ? `${JSON.stringify(root.toJS(), null, 2)}\n` : text;
}

/** Three dashes at the beginning of a line part documents, whatever stands in them: that is how kubectl reads too. */
const SEPARATOR = /^---(?=\s|$)/m;

function editYaml(text: string, change: Change): string {
  const [first = '', ...others] = text.split(SEPARATOR);
  return [editChunk(first, change), ...others.map((chunk) => `---${editChunk(chunk, change)}`)].join('');
}

function editChunk(chunk: string, change: Change): string {
  const document = parseDocument(chunk, { ...KUBECTL_YAML, prettyErrors: false, logLevel: 'error' });
  if (!editDocument(document, document.toJS(), change)) return chunk;
  // Behind the dashes a line begins anew.
  const start = /^[ \t]*\r?\n/.exec(chunk)?.[0] ?? (chunk.startsWith(' ') ? '\n' : '');
  return start + document.toString({ lineWidth: 0, ...styleOf(chunk) });
}

/** As the author writes: "- " under its key or indented; "{a: b}" or "{ a: b }". */
function styleOf(text: string): { indentSeq: boolean; flowCollectionPadding: boolean } {
  const isFlush = /^( *)(?! |-|#).*:[ \t]*(?:#.*)?\r?\n(?:[ \t]*(?:#.*)?\r?\n)*\1- /m.test(text);
  return { indentSeq: !isFlush, flowCollectionPadding: /\{ \S/.test(text) };
}

/** True where something was changed. */
function editDocument(document: Document, value: unknown, change: Change): boolean {
  if (!isRecord(value)) return false;
  const { kind, items } = value;
  const isList = typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items);
  const objects = isList
    ? items.map((item: unknown, index) => [['items', String(index)], item] as const)
    : [[[], value] as const];
  let changed = false;
  for (const [at, object] of objects) {
    if (!isRecord(object)) continue;
    for (const operation of change(object)) {
      add(document, [...at, ...segmentsOf(operation.path)], operation.value);
      changed = true;
    }
  }
  return changed;
}

function segmentsOf(path: string): string[] {
  return path
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** Maps that are missing on the way are made: a pod template need not have metadata. */
function add(document: Document, path: readonly string[], value: unknown): void {
  const last = path.at(-1) ?? '';
  let node: unknown = document.contents;
  for (const segment of path.slice(0, -1)) {
    const next = child(document, node, segment);
    if (isMap(next) || isSeq(next)) node = next;
    else {
      const made = document.createNode({});
      put(document, node, segment, made);
      node = made;
    }
  }
  put(document, node, last, document.createNode(value));
}

/** What an alias stands for becomes a copy of its own: the change is meant for this place alone. */
function child(document: Document, node: unknown, segment: string): unknown {
  const found: unknown = isSeq(node) ? node.items[Number(segment)] : isMap(node) ? node.get(segment, true) : undefined;
  if (!isAlias(found)) return found;
  const copy = found.resolve(document)?.clone() as (Node & { anchor?: string }) | undefined;
  if (copy === undefined) return undefined;
  delete copy.anchor;
  if (isSeq(node)) node.items[Number(segment)] = copy;
  else if (isMap(node)) node.set(segment, copy);
  return copy;
}

function put(document: Document, node: unknown, segment: string, value: Node): void {
  if (isMap(node)) {
    const key = node.items.find((pair) => String(pair.key) === segment)?.key;
    node.set(key ?? document.createNode(segment), value);
  } else if (isSeq(node)) node.items.splice(segment === '-' ? node.items.length : Number(segment), 0, value);
  else throw new Error(`there is nothing at ${segment} to add to`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
