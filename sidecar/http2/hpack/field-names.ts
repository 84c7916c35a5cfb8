// How each field is written: decided by its name, once for all connections.
//
// What is worth an entry of the peer's table is what comes again on the same connection. As nghttp2 and Envoy do, credentials are never put into a table,
// and values that differ each time are not either: they would only push out what does come again. Names that are not listed here are written
// whole each time: what applications call their fields is theirs, and so is how many names they have.
import { INDEXED, LITERAL, LITERAL_NEVER_INDEXED, LITERAL_WITH_INDEXING } from './representation.ts';
import {
  DEFAULT_TABLE_BYTES,
  ENTRY_OVERHEAD_BYTES,
  STATIC_ENTRIES,
  STATIC_NAMES,
  STATIC_VALUES,
} from './static-table.ts';

export const Indexing = {
  /** The whole field. */
  Field: 0,
  /** The name alone, with whatever value came first: the value differs each time. */
  Name: 1,
  /** Nothing. */
  None: 2,
  /** Nothing, by nobody who sends it on either (RFC 7541, 7.1.3). */
  Never: 3,
} as const;

/** Fields whose values come again. Of :path those of gRPC do; the table takes nothing that did not come twice (encoder.ts). */
const WHOLE_FIELDS = [
  ':authority',
  ':method',
  ':path',
  ':scheme',
  ':status',
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'access-control-allow-origin',
  'allow',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-type',
  // The same for a second.
  'date',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-status',
  'host',
  'origin',
  'server',
  'strict-transport-security',
  'te',
  'trailer',
  'user-agent',
  'vary',
  'via',
  'x-breakwater-attempt',
  'x-content-type-options',
  'x-forwarded-proto',
  'x-frame-options',
];
const NAMES_ALONE = [
  'grpc-message',
  'grpc-timeout',
  'grpc-previous-rpc-attempts',
  'traceparent',
  'tracestate',
  'x-breakwater-deadline',
  'x-correlation-id',
  'x-request-id',
];
/** Whoever can make us write what they guess must not see by the length whether they guessed right (RFC 7541, 7.1). */
const CREDENTIALS = ['authorization', 'proxy-authorization'];

const OCTETS: readonly string[] = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet));
/** From 0 to the index of the oldest entry, where none is more than its overhead. */
const INDICES = STATIC_ENTRIES + DEFAULT_TABLE_BYTES / ENTRY_OVERHEAD_BYTES + 1;

/** RFC 7541, 5.1: `first` is the bits of the first octet before the prefix, `prefix` the mask of the others. */
export function encodeInteger(first: number, prefix: number, value: number): string {
  if (value < prefix) return OCTETS[first | value] as string;
  let text = OCTETS[first | prefix] as string;
  let rest = value - prefix;
  for (; rest > 127; rest = Math.floor(rest / 128)) text += OCTETS[0x80 | (rest & 0x7f)] as string;
  return text + (OCTETS[rest] as string);
}

/** RFC 7541, 5.2, without Huffman code (huffman.ts says why): the length, then the text itself. */
export function encodeString(text: string): string {
  const length = text.length;
  return (length < 0x7f ? (OCTETS[length] as string) : encodeInteger(0, 0x7f, length)) + text;
}

const prefixes = (first: number, prefix: number): readonly string[] =>
  Array.from({ length: INDICES }, (_, index) => encodeInteger(first, prefix, index));

/** By index: an indexed field. */
export const INDEXED_FIELDS: string[] = [];
/** By the index of the name: what stands before the value of a literal. */
export const INDEXED_NAMES: string[] = [];

export class FieldName {
  readonly name: string;
  /** Number among the names that the table of an encoder may hold, from 0; -1: it may not. */
  readonly id: number;
  readonly indexing: number;
  /** What stands before the value of a literal: the index of the name in the static table, or the name. */
  readonly literal: string;
  readonly neverIndexed: string;
  readonly withIndexing: string;
  readonly static: boolean;
  /** Values that make an indexed field of the static table, each with that field behind it. */
  readonly fields: readonly string[];

  constructor(name: string, id: number, indexing: number) {
    const index = Math.max(STATIC_NAMES.indexOf(name), 0);
    const text = index === 0 ? encodeString(name) : '';
    this.name = name;
    this.id = id;
    this.indexing = indexing;
    this.static = index > 0;
    this.literal = encodeInteger(LITERAL, 0x0f, index) + text;
    this.neverIndexed = encodeInteger(LITERAL_NEVER_INDEXED, 0x0f, index) + text;
    this.withIndexing = encodeInteger(LITERAL_WITH_INDEXING, 0x3f, index) + text;
    this.fields = STATIC_NAMES.flatMap((entry, at) =>
      entry === name && STATIC_VALUES[at] ? [STATIC_VALUES[at], INDEXED_FIELDS[at] as string] : [],
    );
  }
}

/** Before the name and the value of a literal whose name is in no table. */
export const NEW_NAME = encodeInteger(LITERAL, 0x0f, 0);
export const NEW_NAME_NEVER_INDEXED = encodeInteger(LITERAL_NEVER_INDEXED, 0x0f, 0);

/** Names that a table may hold. */
export const INDEXED_NAME_COUNT = WHOLE_FIELDS.length + NAMES_ALONE.length;

const names = new Map<string, FieldName>();
/** All names that are not written whole each time. */
export const FIELD_NAMES: ReadonlyMap<string, FieldName> = names;

/** Fills the tables of this file, once. By the first connection: most sidecars speak HTTP/1.1 alone, and start sooner without them. */
export function prepareFieldNames(): void {
  if (names.size > 0) return;
  INDEXED_FIELDS.push(...prefixes(INDEXED, 0x7f));
  INDEXED_NAMES.push(...prefixes(LITERAL, 0x0f));
  const add = (name: string, indexing: number) => {
    const held = indexing === Indexing.Field || indexing === Indexing.Name;
    if (name !== '' && !names.has(name)) names.set(name, new FieldName(name, held ? names.size : -1, indexing));
  };
  for (const name of WHOLE_FIELDS) add(name, Indexing.Field);
  for (const name of NAMES_ALONE) add(name, Indexing.Name);
  for (const name of CREDENTIALS) add(name, Indexing.Never);
  for (const name of STATIC_NAMES) add(name, Indexing.None);
}
