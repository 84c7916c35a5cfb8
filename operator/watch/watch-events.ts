// The body of a watch: one JSON object per line. What is not such an object is damage, and after damage nobody knows what was missed.
import type { RawObject } from './store.ts';

/** An object of Kubernetes is below 1.5 MB, a line beyond this is damage. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;

export type WatchEvent =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: RawObject }
  | { type: 'BOOKMARK'; resourceVersion: string | undefined }
  /** Its object is a Status. */
  | { type: 'ERROR'; status: object };

/** The watch cannot go on where it was: list anew. */
export class MustList extends Error {
  override name = 'MustList';
}

export function parseEvent(line: string): WatchEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new MustList(`a watch event is not JSON (${line.length} characters)`);
  }
  if (!isRecord(value) || !isRecord(value['object'])) throw new MustList('a watch event has no type or no object');
  const { type, object } = value;
  if (type === 'ERROR') return { type, status: object };
  const { metadata } = object;
  if (type === 'BOOKMARK' && isRecord(metadata)) return { type, resourceVersion: text(metadata['resourceVersion']) };
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') {
    throw new MustList('a watch event is of a type that Kubernetes does not have');
  }
  if (!isNamed(object)) throw new MustList('a watch event has an object without a name');
  return { type, object };
}

/** Whether an object can be kept at all: it has a name. Nothing else of it is looked at here. */
export function isNamed(value: unknown): value is RawObject {
  return isRecord(value) && isRecord(value['metadata']) && text(value['metadata']['name']) !== undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Whole lines only: what is left when the connection ends was cut, and comes again from the version before it. */
export async function* lines(
  bytes: AsyncIterable<Uint8Array>,
  onBytes: () => void,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let pending: string[] = [];
  let pendingLength = 0;
  for await (const chunk of bytes) {
    onBytes();
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      pending.push(text.slice(from, end));
      const line = pending.join('');
      pending = [];
      pendingLength = 0;
      from = end + 1;
      if (line.trim() !== '') yield line;
    }
    if (from < text.length) {
      pending.push(text.slice(from));
      pendingLength += text.length - from;
      if (pendingLength > MAX_LINE_CHARACTERS) throw new MustList('a line of a watch has no end');
    }
  }
}
