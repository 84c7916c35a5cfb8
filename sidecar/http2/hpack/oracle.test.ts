// nghttp2 as the other side, client and server, by node:http2: between them stands a relay that reads each header block with a decoder of ours and writes
// it anew with an encoder of ours. What both sides see must be what the other sent.
import { once } from 'node:events';
import http2, {
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Flag, FrameType, frame, framesOf, PREFACE } from '../../proxy/testing/http2-frames.ts';
import { HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';
import { type Field, HUFFMAN_CODES, huffmanCode, Literal, literal, read, write } from './testing/blocks.ts';

const MAX_FRAME_BYTES = 16_384;
const SETTINGS_HEADER_TABLE_SIZE = 1;
const PADDED = 8;
const PRIORITY = 32;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

type Write = (fields: readonly Field[]) => Buffer;

/** One direction: the encoder obeys the SETTINGS that come the other way. */
class Direction {
  readonly encoder = new HpackEncoder();
  readonly decoder = new HpackDecoder({ maxTableBytes: 65_536, maxListBytes: 1_000_000, maxFields: 1_000 });
  /** Blocks as they came, and as they went on. */
  readonly read: Buffer[] = [];
  readonly blocks: Buffer[] = [];
  #write: Write;
  #received: Buffer = Buffer.alloc(0);
  #open: { stream: number; flags: number; parts: Buffer[] } | null = null;

  constructor(to: Write | null) {
    this.#write = to ?? ((fields) => write(this.encoder, fields));
  }

  /** What goes on for what came; `back` is the other direction. */
  relay(bytes: Buffer, back: Direction): Buffer {
    this.#received = Buffer.concat([this.#received, bytes]);
    const out: Buffer[] = [];
    if (this.#received.subarray(0, PREFACE.length).equals(PREFACE)) out.push(PREFACE);
    const frames = framesOf(this.#received);
    const read = frames.reduce((sum, { payload }) => sum + 9 + payload.length, out.length * PREFACE.length);
    for (const { type, flags, stream, payload } of frames) {
      if (type === FrameType.headers) this.#open = { stream, flags, parts: [fragment(flags, payload)] };
      else if (type === FrameType.continuation) this.#open?.parts.push(payload);
      else out.push(frame(type, flags, stream, payload));
      if (type === FrameType.settings && (flags & Flag.ack) === 0) settings(payload, back.encoder);
      if (this.#open && (flags & Flag.endHeaders) !== 0 && isHead(type)) out.push(this.#head());
    }
    this.#received = this.#received.subarray(read);
    return Buffer.concat(out);
  }

  #head(): Buffer {
    const { stream, flags, parts } = this.#open ?? { stream: 0, flags: 0, parts: [] };
    this.#open = null;
    const came = Buffer.concat(parts);
    this.read.push(came);
    const { fields, error } = read(this.decoder, came);
    expect([error, this.decoder.tooLarge]).toEqual([0, false]);
    const block = this.#write(fields);
    this.blocks.push(block);
    const frames: Buffer[] = [];
    for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
      const last = at + MAX_FRAME_BYTES >= block.length ? Flag.endHeaders : 0;
      const type = at === 0 ? FrameType.headers : FrameType.continuation;
      const kept = at === 0 ? flags & Flag.endStream : 0;
      frames.push(frame(type, kept | last, stream, block.subarray(at, at + MAX_FRAME_BYTES)));
    }
    return Buffer.concat(frames);
  }
}

const isHead = (type: number) => type === FrameType.headers || type === FrameType.continuation;

function fragment(flags: number, payload: Buffer): Buffer {
  const padded = (flags & PADDED) !== 0;
  const start = (padded ? 1 : 0) + ((flags & PRIORITY) !== 0 ? 5 : 0);
  return payload.subarray(start, payload.length - (padded ? (payload[0] ?? 0) : 0));
}

function settings(payload: Buffer, encoder: HpackEncoder): void {
  for (let at = 0; at < payload.length; at += 6)
    if (payload.readUInt16BE(at) === SETTINGS_HEADER_TABLE_SIZE)
      encoder.setPeerTableBytes(payload.readUInt32BE(at + 2));
}

interface Table {
  client: number;
  server: number;
}

interface Connection {
  client: ClientHttp2Session;
  requests: Direction;
  responses: Direction;
  /** What the server got, and what it answers with next. */
  seen: { headers: IncomingHttpHeaders; sensitive: readonly string[] }[];
  answers: OutgoingHttpHeaders[];
}

const sensitiveOf = (headers: IncomingHttpHeaders) =>
  (headers as unknown as Record<symbol, string[]>)[http2.sensitiveHeaders] ?? [];

async function open(table: Table, to: Write | null = null): Promise<Connection> {
  const seen: Connection['seen'] = [];
  const answers: OutgoingHttpHeaders[] = [];
  const limits = { maxHeaderListPairs: 1_000, maxSendHeaderBlockLength: 1_000_000 };
  const server = http2.createServer({
    ...limits,
    settings: { headerTableSize: table.server, maxHeaderListSize: 1_000_000 },
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    seen.push({ headers: { ...headers }, sensitive: sensitiveOf(headers) });
    stream.respond(answers.shift() ?? { ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' }));
    stream.end('body');
  });
  const requests = new Direction(to);
  const responses = new Direction(null);
  const relay = net.createServer({ noDelay: true }, (near) => {
    const far = net.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
    pipe(near, far, requests, responses);
    pipe(far, near, responses, requests);
  });
  for (const one of [server, relay]) {
    one.listen(0, '127.0.0.1');
    await once(one, 'listening');
    closers.push(() => one.close());
  }
  const client = http2.connect(`http://127.0.0.1:${(relay.address() as AddressInfo).port}`, {
    ...limits,
    settings: { headerTableSize: table.client, maxHeaderListSize: 1_000_000 },
  });
  closers.push(() => client.destroy());
  await once(client, 'remoteSettings');
  return { client, requests, responses, seen, answers };
}

function pipe(from: Socket, to: Socket, direction: Direction, back: Direction): void {
  from.on('data', (bytes: Buffer) => to.write(direction.relay(bytes, back)));
  from.on('end', () => to.end());
  from.on('error', () => to.destroy());
  closers.push(() => from.destroy());
}

interface Exchange {
  response: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
}

async function exchange({ client }: Connection, headers: OutgoingHttpHeaders): Promise<Exchange> {
  const stream = client.request(headers, { endStream: true });
  let response: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('response', (fields) => {
    response = { ...fields };
  });
  stream.on('trailers', (fields) => {
    trailers = { ...fields };
  });
  stream.resume();
  await once(stream, 'end');
  return { response, trailers };
}

const content = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 4 }).map((at) => `value-${at}`) },
  { weight: 3, arbitrary: fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(String.fromCharCode) }) },
  { weight: 1, arbitrary: fc.nat({ max: 3_000 }).map((length) => 'x'.repeat(length)) },
);
const names = [
  'user-agent',
  'accept',
  'grpc-timeout',
  'traceparent',
  'x-correlation-id',
  'x-mine',
  'authorization',
  'etag',
];
const fields = fc.dictionary(fc.constantFrom(...names, 'cache-control', 'x-other', 'te2'), content, {
  noNullPrototype: true,
});
const calls = fc.sample(
  fc.record({ path: fc.constantFrom('/', '/a.B/C', '/a.B/D', '/orders/1?a=b'), sent: fields, answered: fields }),
  { numRuns: 80, seed: 7_541 },
);

const without = (headers: IncomingHttpHeaders) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !['date', ':authority', ':scheme'].includes(name)));

describe('between a client and a server of nghttp2', () => {
  it.each<Table>([
    { client: 4_096, server: 4_096 },
    { client: 0, server: 0 },
    { client: 200, server: 65_536 },
    { client: 65_536, server: 300 },
  ])('all fields arrive, with tables of %o bytes', async (table) => {
    const connection = await open(table);
    for (const { path, sent, answered } of calls) {
      connection.answers.push({ ':status': 201, ...answered });
      const { response, trailers } = await exchange(connection, { ':method': 'POST', ':path': path, ...sent });
      expect(without(connection.seen.at(-1)?.headers ?? {})).toEqual({ ':method': 'POST', ':path': path, ...sent });
      expect(without(response)).toEqual({ ':status': 201, ...answered });
      expect(without(trailers)).toEqual({ 'grpc-status': '0', 'grpc-message': 'fine' });
    }
    // All that HPACK has was in use, on both sides.
    for (const [direction, bytes] of [
      [connection.requests, table.server],
      [connection.responses, table.client],
    ] as const) {
      expect(direction.decoder.tableBytes > 0).toBe(bytes > 0);
      expect(direction.encoder.tableBytes > 0).toBe(bytes > 0);
      expect(direction.read.some((block) => block.includes(huffmanCode('value-1')))).toBe(true);
    }
  });

  it('a table that changes its size in use is followed', async () => {
    const connection = await open({ client: 4_096, server: 4_096 });
    const headers = {
      ':path': '/a.B/C',
      'user-agent': 'one',
      'x-correlation-id': '1',
      'content-type': 'application/grpc',
    };
    for (const headerTableSize of [4_096, 100, 0, 1_000, 65_536, 64]) {
      connection.client.settings({ headerTableSize });
      await once(connection.client, 'localSettings');
      for (let at = 0; at < 4; at += 1) {
        connection.answers.push({ ':status': 503, server: 'nginx', vary: 'accept' });
        const { response } = await exchange(connection, headers);
        expect(response).toMatchObject({ ':status': 503, server: 'nginx', vary: 'accept' });
        expect(connection.responses.encoder.tableBytes).toBeLessThanOrEqual(Math.min(headerTableSize, 4_096));
      }
    }
  });

  it('heads of several frames arrive', async () => {
    const connection = await open({ client: 4_096, server: 4_096 });
    const sent = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`x-${at}`, `${at}~`.repeat(600)]));
    connection.answers.push(sent);
    const { response } = await exchange(connection, sent);
    expect(connection.seen[0]?.headers).toMatchObject(sent);
    expect(response).toMatchObject(sent);
  });

  it('what is sensitive arrives as that', async () => {
    const connection = await open({ client: 4_096, server: 4_096 });
    for (let at = 0; at < 3; at += 1)
      await exchange(connection, { 'x-secret': 'abc', 'x-mine': 'a', [http2.sensitiveHeaders]: ['x-secret'] });
    for (const { headers, sensitive } of connection.seen) {
      expect(headers).toMatchObject({ 'x-secret': 'abc', 'x-mine': 'a' });
      expect(sensitive).toEqual(['x-secret']);
    }
  });
});

describe('the Huffman code of nghttp2', () => {
  const octets = Array.from({ length: 256 }, (_, octet) => octet).filter((octet) => octet > 0x20 && octet !== 0x7f);
  const value = (octet: number) => `0${String.fromCharCode(octet).repeat(8)}0`;

  it('is ours, for each octet that a value may hold', async () => {
    // With Huffman code, all of it, where the encoder of ours writes none.
    const recoded: Write = (list) =>
      Buffer.concat(list.map(([name, text]) => literal(Literal.withoutIndexing, name, text, true)));
    const connection = await open({ client: 4_096, server: 4_096 }, recoded);
    const sent = Object.fromEntries(octets.map((octet) => [`x-${octet}`, value(octet)]));
    await exchange(connection, sent);
    expect(connection.seen[0]?.headers).toMatchObject(sent);
    expect(connection.requests.blocks[0]?.includes(huffmanCode(value(0x61)))).toBe(true);
    expect(octets.every((octet) => HUFFMAN_CODES[octet])).toBe(true);
  });
});
