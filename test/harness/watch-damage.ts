// What may happen to the lines of a watch on their way.
import { setTimeout as sleep } from 'node:timers/promises';

export interface Damage {
  kind:
    | /** A reset in the middle of a line. */ 'cutInLine'
    | /** Half a line, its end missing, and on with the next. */ 'truncatedLine'
    | /** A line that is nothing of Kubernetes. */ 'garbageLine'
    | /** 410 as an event. */ 'expired'
    | /** 500 as an event. */ 'error'
    | /** Nothing more comes; the connection stays. */ 'silence'
    | /** A regular end. */ 'end'
    | /** Every line twice. */ 'twice'
    | /** Every line is followed by all before it. */ 'replayed'
    | /** Two lines that come close together change places. */ 'swapped'
    | /** A bookmark after every line, a hundred times. */ 'bookmarks';
  /** How many lines pass before; 0 by default. */
  afterLines?: number;
}

/** How long a line may be held back for the one that overtakes it. */
const OVERTAKEN_WITHIN_MS = 300;

/** Throws where the connection is to be reset. */
export async function* damaged(
  body: AsyncIterable<Buffer>,
  { kind, afterLines = 0 }: Damage,
): AsyncGenerator<Buffer, void, undefined> {
  const before: string[] = [];
  const all = lines(body)[Symbol.asyncIterator]();
  for (let next = await all.next(); !next.done; next = await all.next()) {
    const line = next.value;
    before.push(line);
    if (before.length <= afterLines) yield Buffer.from(line);
    else if (kind === 'swapped') {
      const following = all.next();
      const overtaking = await Promise.race([following, sleep(OVERTAKEN_WITHIN_MS)]);
      if (overtaking !== undefined && !overtaking.done) yield Buffer.from(overtaking.value);
      yield Buffer.from(line);
      if (overtaking === undefined) {
        const { done, value } = await following;
        if (!done) yield Buffer.from(value);
      }
    } else {
      const [text, then] = INSTEAD[kind](line, before);
      yield Buffer.from(text);
      if (then === 'end') return;
      if (then === 'reset') throw new Error('cut');
      if (then === 'silence') await new Promise(() => undefined);
    }
  }
}

type Then = 'on' | 'end' | 'reset' | 'silence';

type Instead = (line: string, before: readonly string[]) => [text: string, then: Then];

const INSTEAD: Readonly<Record<Exclude<Damage['kind'], 'swapped'>, Instead>> = {
  cutInLine: (line) => [line.slice(0, line.length / 2), 'reset'],
  truncatedLine: (line) => [`${line.slice(0, line.length / 2)}\n`, 'on'],
  garbageLine: (line) => [`<html>\n${line}`, 'on'],
  expired: () => [status(410, 'Expired'), 'end'],
  error: () => [status(500, 'InternalError'), 'end'],
  silence: () => ['', 'silence'],
  end: () => ['', 'end'],
  twice: (line) => [line + line, 'on'],
  replayed: (line, before) => [line + before.join(''), 'on'],
  bookmarks: (line) => [line + bookmarkOf(line).repeat(100), 'on'],
};

function status(code: number, reason: string): string {
  const object = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: 'made by the proxy' };
  return `${JSON.stringify({ type: 'ERROR', object })}\n`;
}

function bookmarkOf(line: string): string {
  const { object } = JSON.parse(line) as { object: { kind: string; metadata: { resourceVersion: string } } };
  const { resourceVersion } = object.metadata;
  return `${JSON.stringify({ type: 'BOOKMARK', object: { kind: object.kind, metadata: { resourceVersion } } })}\n`;
}

async function* lines(body: AsyncIterable<Buffer>): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const chunk of body) {
    rest += chunk.toString('utf8');
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      yield rest.slice(0, end + 1);
      rest = rest.slice(end + 1);
    }
  }
}
