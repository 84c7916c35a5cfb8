// For tests: llhttp, the parser inside Node, in its strict mode; and the codec of this folder in the same terms.
import { createRequire } from 'node:module';
import { ChunkedDecoder, ChunkedEvent } from '../chunked.ts';
import { parseRequestHead, RequestHead } from '../request-head.ts';

interface NodeParser {
  initialize(type: number, resource: object): void;
  execute(input: Buffer): number | Error;
  finish(): undefined | Error;
  [callback: number]: (...values: never[]) => unknown;
}
type NodeParserClass = Record<
  'REQUEST' | 'RESPONSE' | 'kOnHeaders' | 'kOnHeadersComplete' | 'kOnBody' | 'kOnMessageComplete',
  number
> &
  (new () => NodeParser);
const { HTTPParser, methods } = createRequire(import.meta.url)('node:_http_common') as {
  HTTPParser: NodeParserClass;
  methods: string[];
};

export interface Message {
  method: string | undefined;
  target: string;
  status: number;
  fields: string[];
  body: string;
  trailers: string[];
  keepAlive: boolean;
  complete: boolean;
}

/** What llhttp reads from the bytes; `failed` where it refuses any of them. `noBody`: the response answers HEAD. */
export function readByOracle(
  type: 'REQUEST' | 'RESPONSE',
  text: string,
  noBody = false,
): { messages: Message[]; failed: boolean } {
  const parser = new HTTPParser();
  const messages: Message[] = [];
  let fields: string[] = [];
  // Once it has flushed fields on their own, as it does for trailers, it flushes targets so, too.
  let target = '';
  let current: Message | undefined;
  parser.initialize(HTTPParser[type], {});
  parser[HTTPParser.kOnHeaders] = (list: string[], targetPart: string) => {
    fields.push(...list);
    target += targetPart;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    list: string[] | undefined,
    method: number | undefined,
    wholeTarget: string | undefined,
    status: number,
    _reason: string,
    _upgrade: boolean,
    keepAlive: boolean,
  ) => {
    current = {
      method: method === undefined ? undefined : methods[method],
      target: target + (wholeTarget ?? ''),
      status: status ?? 0,
      fields: [...fields, ...(list ?? [])],
      body: '',
      trailers: [],
      keepAlive,
      complete: false,
    };
    fields = [];
    target = '';
    messages.push(current);
    return noBody ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (chunk: Buffer) => {
    if (current !== undefined) current.body += chunk.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (current === undefined) return;
    current.complete = true;
    current.trailers = fields;
    fields = [];
    target = '';
  };
  const result = parser.execute(Buffer.from(text, 'latin1'));
  const failed = result instanceof Error || parser.finish() instanceof Error;
  return { messages, failed };
}

export interface Content {
  body: string;
  trailers: string;
  rest: string;
}

/** Reads the content that our framing announces; null where it is refused or incomplete. */
export function readContent(head: { chunked: boolean; contentLength: number }, text: string): Content | null {
  if (!head.chunked) {
    const length = Math.max(head.contentLength, 0);
    return text.length < length ? null : { body: text.slice(0, length), trailers: '', rest: text.slice(length) };
  }
  const decoder = new ChunkedDecoder();
  const buffer = Buffer.from(text, 'latin1');
  let body = '';
  decoder.input(buffer, 0, buffer.length);
  let event = decoder.next();
  for (; event === ChunkedEvent.Data; event = decoder.next())
    body += buffer.toString('latin1', decoder.dataStart, decoder.dataEnd);
  return event === ChunkedEvent.End ? { body, trailers: decoder.trailers, rest: text.slice(decoder.position) } : null;
}

/** The methods that llhttp knows. */
export const KNOWN_METHODS: readonly string[] = methods;

export interface Accepted {
  method: string;
  body: string;
}

/** The whole requests that we accept one after the other, up to what we refuse, to an offer to change protocols, or to the end of the connection. */
export function acceptedRequests(text: string): Accepted[] {
  const accepted: Accepted[] = [];
  const head = new RequestHead();
  let rest = text;
  for (;;) {
    if (rest.startsWith('\r\n')) rest = rest.slice(2);
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1 || parseRequestHead(rest.slice(0, end), head) !== 0) return accepted;
    const offersUpgrade = /\r\nupgrade:/i.test(rest.slice(0, end));
    const content = readContent(head, rest.slice(end + 4));
    if (content === null || !methods.includes(head.method)) return accepted;
    accepted.push({ method: head.method, body: content.body });
    if (!head.keepAlive || offersUpgrade) return accepted;
    rest = content.rest;
  }
}

/** What llhttp reads in another way than we do, of what we accept; null: nothing. */
export function disagreement(text: string): string | null {
  const ours = acceptedRequests(text);
  const theirs = readByOracle('REQUEST', text).messages;
  for (const [nth, { method, body }] of ours.entries()) {
    const their = theirs[nth];
    if (their?.complete !== true || their.method !== method || their.body !== body)
      return `request ${nth + 1} is ${JSON.stringify({ method, body })} for us, and for llhttp ${JSON.stringify(their ?? null)}`;
  }
  return null;
}
