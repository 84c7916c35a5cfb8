// Messages of grpc.health.v1.Health/Check, so small that no library is needed to write and read them.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md, the framing of PROTOCOL-HTTP2.md ("Length-Prefixed-Message"), and
// the encoding of Protocol Buffers (https://protobuf.dev/programming-guides/encoding).

export const HEALTH_CHECK_TARGET = '/grpc.health.v1.Health/Check';
/** An answer is some bytes; what is longer is something else. */
export const MAX_HEALTH_ANSWER_BYTES = 1_024;

/** Of HealthCheckResponse, by number. */
const SERVING_STATUSES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;
const SERVING = 1;

const FRAME_HEAD_BYTES = 5;
/** Tags: a field by its number, and the type of what follows. */
const SERVICE_TAG = (1 << 3) | 2;
const STATUS_TAG = (1 << 3) | 0;

/** HealthCheckRequest in its frame. `service`: ASCII, no longer than 253 bytes; empty: the server as a whole. */
export function healthRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([lengthPrefixed(name.length), name]);
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function lengthPrefixed(length: number): Buffer {
  return length < 0x80
    ? Buffer.from([SERVICE_TAG, length])
    : Buffer.from([SERVICE_TAG, (length & 0x7f) | 0x80, length >> 7]);
}

/** What is wrong with the content of an answer; empty: the server serves. */
export function healthProblem(content: Uint8Array): string {
  const status = servingStatus(content);
  if (status < 0) return 'the answer is no message of grpc.health.v1';
  return status === SERVING ? '' : `the server says ${SERVING_STATUSES[status] ?? `the status ${status}`}`;
}

/** Of a HealthCheckResponse in its frame; -1: it is none. Fields that are not known are passed over. */
function servingStatus(content: Uint8Array): number {
  if (content.length < FRAME_HEAD_BYTES || content[0] !== 0) return -1;
  const length = new DataView(content.buffer, content.byteOffset).getUint32(1);
  if (length !== content.length - FRAME_HEAD_BYTES) return -1;
  const reader = new Reader(content, FRAME_HEAD_BYTES);
  // Absent, as every field of the value 0 may be.
  let status = 0;
  while (!reader.atEnd) {
    const tag = reader.varint();
    if (tag === STATUS_TAG) status = reader.varint();
    else reader.skip(tag & 7);
    if (reader.failed) return -1;
  }
  return status;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  failed = false;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Up to ten bytes; of what is larger than 2^53 the value is not exact. */
  varint(): number {
    let value = 0;
    for (let byte = 0; byte < 10; byte += 1) {
      const bits = this.#bytes[this.#at];
      if (bits === undefined) break;
      this.#at += 1;
      value += (bits & 0x7f) * 2 ** (7 * byte);
      if (bits < 0x80) return value;
    }
    this.failed = true;
    return 0;
  }

  /** A field of this type of wire. */
  skip(type: number): void {
    // Also of type 0, whose value is all that there is.
    const value = type === 0 || type === 2 ? this.varint() : 0;
    if (type === 1) this.#at += 8;
    else if (type === 2) this.#at += value;
    else if (type === 5) this.#at += 4;
    else if (type !== 0) this.failed = true;
    if (this.#at > this.#bytes.length) this.failed = true;
  }
}
