// One file of manifests (YAML of any number of documents, or JSON) → its objects, each with the line where it begins.
import { isMap, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from 'yaml';

export interface ManifestObject {
  raw: unknown;
  /** 1-based. */
  line: number;
}

/** The message names file and line: "shop/payments.yaml:12: …". */
export class ManifestFileError extends Error {
  override name = 'ManifestFileError';

  constructor(file: string, line: number, message: string) {
    super(`${file}:${line}: ${message}`);
  }
}

/**
 * Items of a `List` come out one by one; empty documents are left out. JSON is read as the YAML that it is, so that errors have lines.
 * Throws ManifestFileError at the first thing that cannot be read.
 */
export function readManifestFile(text: string, file: string): ManifestObject[] {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter, prettyErrors: false, merge: true });
  const objects: ManifestObject[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const problem = document.errors[0];
    if (problem !== undefined) {
      throw new ManifestFileError(file, lineCounter.linePos(problem.pos[0]).line, problem.message);
    }
    const { contents } = document;
    if (contents === null) continue;
    const lineOf = (node: Node | null | undefined) => lineCounter.linePos(node?.range?.[0] ?? 0).line;
    let raw: unknown;
    try {
      raw = document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      throw new ManifestFileError(file, lineOf(contents), error instanceof Error ? error.message : String(error));
    }
    if (raw === null) continue;
    if (!isMap(contents)) throw new ManifestFileError(file, lineOf(contents), 'this is not a Kubernetes object');
    const items = contents.get('items', true);
    const rawItems = (raw as { items?: unknown }).items;
    if (String((raw as { kind?: unknown }).kind).endsWith('List') && isSeq(items) && Array.isArray(rawItems)) {
      rawItems.forEach((item: unknown, index) => {
        objects.push({ raw: item, line: lineOf(itemNode(items.items[index])) });
      });
    } else {
      objects.push({ raw, line: lineOf(contents) });
    }
  }
  return objects;
}

function itemNode(item: unknown): Node | null {
  return (isPair(item) ? item.value : item) as Node | null;
}

function isPair(item: unknown): item is Pair {
  return typeof item === 'object' && item !== null && 'key' in item && 'value' in item;
}
