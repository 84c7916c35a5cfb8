// The server name in the first bytes of a TLS connection (RFC 8446, 4.1.2; RFC 6066, 3). PURE.
//
// It only reads: whatever it says, the bytes go on as they came. What is not exactly a ClientHello names nobody, and so belongs to nobody.
// With Encrypted Client Hello the name is the outer one, which is all that anybody outside can know.

export type ClientHello =
  | { kind: 'need-more' }
  /** Not a ClientHello, or one that is larger than is looked at. */
  | { kind: 'other' }
  /** In lower case; null: it names no server. */
  | { kind: 'hello'; serverName: string | null };

/** With its records. A ClientHello with post-quantum key shares has some 2 KiB. */
export const MAX_CLIENT_HELLO_BYTES = 16_384;

const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
const RECORD_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAX_RECORD_BYTES = 16_384;
const EXTENSION_SERVER_NAME = 0;
const HOST_NAME = 0;
const VERSION_AND_RANDOM_BYTES = 34;

const NEED_MORE: ClientHello = { kind: 'need-more' };
const OTHER: ClientHello = { kind: 'other' };

/** `all`: what has come so far. Nothing behind the bound is looked at, so that the answer is the same however the bytes arrive. */
export function readClientHello(all: Buffer): ClientHello {
  const bytes = all.length > MAX_CLIENT_HELLO_BYTES ? all.subarray(0, MAX_CLIENT_HELLO_BYTES) : all;
  const parts: Buffer[] = [];
  let collected = 0;
  let wanted = HANDSHAKE_HEADER_BYTES;
  let header: Buffer | null = null;
  for (let at = 0; collected < wanted; ) {
    // Each byte is judged as soon as it is there: what cannot become a ClientHello is not waited for.
    if (!startsRecord(bytes, at)) return OTHER;
    if (at + RECORD_HEADER_BYTES > bytes.length) return waitFor(bytes);
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return OTHER;
    const part = bytes.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length);
    parts.push(part);
    collected += part.length;
    at += RECORD_HEADER_BYTES + length;
    if (collected > 0 && parts.find((each) => each.length > 0)?.[0] !== CLIENT_HELLO) return OTHER;
    if (!header && collected >= HANDSHAKE_HEADER_BYTES) {
      header = Buffer.concat(parts).subarray(0, HANDSHAKE_HEADER_BYTES);
      wanted = HANDSHAKE_HEADER_BYTES + header.readUIntBE(1, 3);
      if (wanted > MAX_CLIENT_HELLO_BYTES) return OTHER;
    }
    if (collected < wanted && at > bytes.length) return waitFor(bytes);
  }
  const message = parts.length === 1 ? (parts[0] ?? bytes) : Buffer.concat(parts);
  return { kind: 'hello', serverName: serverNameIn(message.subarray(HANDSHAKE_HEADER_BYTES, wanted)) };
}

/** A record of the handshake of TLS, as far as it has come. */
export function startsLikeTls(bytes: Buffer): boolean {
  return bytes.length > 0 && startsRecord(bytes, 0);
}

function startsRecord(bytes: Buffer, at: number): boolean {
  if (at < bytes.length && bytes[at] !== RECORD_HANDSHAKE) return false;
  return at + 1 >= bytes.length || bytes[at + 1] === 3;
}

function waitFor(bytes: Buffer): ClientHello {
  return bytes.length < MAX_CLIENT_HELLO_BYTES ? NEED_MORE : OTHER;
}

/** Walks over length-prefixed vectors; a length that leads beyond the end makes everything that follows null. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  broken = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.broken ? 0 : this.#bytes.length - this.#at;
  }

  number(size: 1 | 2): number {
    if (this.left < size) {
      this.broken = true;
      return 0;
    }
    this.#at += size;
    return this.#bytes.readUIntBE(this.#at - size, size);
  }

  bytes(length: number): Buffer {
    if (this.left < length) {
      this.broken = true;
      return Buffer.alloc(0);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  vector(sizeOfLength: 1 | 2): Buffer {
    return this.bytes(this.number(sizeOfLength));
  }
}

function serverNameIn(body: Buffer): string | null {
  const hello = new Reader(body);
  hello.bytes(VERSION_AND_RANDOM_BYTES);
  hello.vector(1); // session id
  hello.vector(2); // cipher suites
  hello.vector(1); // compression methods
  if (hello.broken || hello.left === 0) return null;
  const extensions = new Reader(hello.vector(2));
  let found: string | null = null;
  let times = 0;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (extensions.broken) return null;
    if (type !== EXTENSION_SERVER_NAME) continue;
    found = hostNameIn(content);
    times++;
  }
  // Twice is forbidden, and two servers may each take another one.
  return hello.broken || times > 1 ? null : found;
}

function hostNameIn(extension: Buffer): string | null {
  const list = new Reader(new Reader(extension).vector(2));
  const type = list.number(1);
  const name = list.vector(2).toString('latin1');
  if (list.broken || list.left > 0 || type !== HOST_NAME) return null;
  return /^[\x21-\x7e]{1,255}$/.test(name) ? name.toLowerCase() : null;
}
