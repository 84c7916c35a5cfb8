// Changes messages a little, by a seed: what is nearly good is what readers differ about.
import type { Random } from '../../../runtime/random.ts';

const PIECES = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\0',
  ' ',
  '\t',
  '\x0b',
  '\x7f',
  '\xa0',
  ':',
  ';',
  ',',
  '"',
  '\\',
  '-',
  '_',
  '/',
  '0',
  '1',
  '5',
  'a',
  'chunked',
  'Host: other.test\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Connection: close\r\n',
  'Expect: 100-continue\r\n',
  '5\r\nhello\r\n',
  '0\r\n\r\n',
  'GET /smuggled HTTP/1.1\r\nHost: garden.test\r\n\r\n',
] as const;

type Change = (text: string, random: Random, others: readonly string[]) => string;

export const upTo = (random: Random, bound: number): number => Math.floor(random() * bound);
export const oneOf = <T>(random: Random, list: readonly T[]): T => {
  const one = list[upTo(random, list.length)];
  if (one === undefined) throw new Error('there is nothing to choose from');
  return one;
};
/** Changes the lines, whose ends stay with them. */
const byLines =
  (change: (lines: string[], random: Random) => void): Change =>
  (text, random) => {
    const lines = text.split(/(?<=\r\n)/);
    change(lines, random);
    return lines.join('');
  };

const CHANGES: readonly Change[] = [
  (text, random) => {
    const at = upTo(random, text.length + 1);
    return text.slice(0, at) + oneOf(random, PIECES) + text.slice(at);
  },
  (text, random) => {
    const at = upTo(random, text.length + 1);
    return text.slice(0, at) + oneOf(random, PIECES) + text.slice(at + 1);
  },
  (text, random) => {
    const at = upTo(random, text.length + 1);
    return text.slice(0, at) + text.slice(at + 1 + upTo(random, 4));
  },
  (text, random) => {
    const at = upTo(random, text.length);
    const code = text.charCodeAt(at);
    return text.slice(0, at) + String.fromCharCode((code ^ (1 << upTo(random, 8))) & 0xff) + text.slice(at + 1);
  },
  byLines((lines, random) => void lines.splice(upTo(random, lines.length), 0, oneOf(random, lines))),
  byLines((lines, random) => void lines.splice(upTo(random, lines.length), 1)),
  byLines((lines, random) => lines.push(...lines.splice(upTo(random, lines.length), 1))),
  (text, random, others) => {
    const other = oneOf(random, others);
    return text.slice(0, upTo(random, text.length + 1)) + other.slice(upTo(random, other.length + 1));
  },
  (text, random, others) => text + oneOf(random, others),
];

/** One of the messages, with one to three changes. */
export function mutated(messages: readonly string[], random: Random): string {
  let text = oneOf(random, messages);
  for (let left = 1 + upTo(random, 3); left > 0; left--) text = oneOf(random, CHANGES)(text, random, messages);
  return text;
}

/** Takes away what can be taken away as long as it `fails`: the shortest message that still shows it, or nearly. */
export function minimised(text: string, fails: (text: string) => boolean): string {
  let shortest = text;
  for (let size = Math.ceil(text.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length; ) {
      const shorter = shortest.slice(0, at) + shortest.slice(at + size);
      if (fails(shorter)) shortest = shorter;
      else at += size;
    }
  }
  return shortest;
}
