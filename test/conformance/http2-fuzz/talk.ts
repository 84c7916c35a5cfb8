// Talks of a hostile peer, by a seed: frames that are mostly right, in an order that mostly is, so that they come far; which and where one is
// wrong, and how the bytes are cut into reads, chance decides. What both sides say alike is here; requests and answers are in sides.ts.
import type { Random } from '../../../runtime/random.ts';
import { Flag, FrameType, frame, uint32 } from '../../../sidecar/proxy/testing/http2-frames.ts';
import { oneOf, upTo } from '../garden/mutate.ts';
import { type Field, section } from './hpack.ts';
import type { Act, Step } from './script.ts';

const PADDED = 0x8;
const PRIORITY = 0x20;
const CODES = [0, 1, 2, 3, 5, 7, 8, 11, 13, 0xffffffff];
/** Identifiers of SETTINGS (RFC 9113, 6.5.2; RFC 8441; RFC 9218; unknown), with values that matter. */
const SETTINGS: readonly (readonly [number, readonly number[]])[] = [
  [1, [0, 1, 4_096, 65_536, 0xffffffff]],
  [2, [0, 1, 2]],
  [3, [0, 1, 2, 100, 0xffffffff]],
  [4, [0, 1, 100, 65_535, 2 ** 20, 0x7fffffff, 0x80000000]],
  [5, [0, 16_383, 16_384, 65_536, 0xffffff, 0x1000000]],
  [6, [0, 1, 100, 0xffffffff]],
  [8, [0, 1, 2]],
  [9, [0, 1, 2]],
  [0xfafa, [0, 7]],
];
/** Types that are not asked for here: PRIORITY, PUSH_PROMISE, ALTSVC, ORIGIN, PRIORITY_UPDATE, and one that there is not. */
const ODD_TYPES = [2, 5, 10, 12, 16, 0xee];
/** Names that somebody has choked on, and trailers that frame. */
export const ODD_FIELDS: readonly Field[] = [
  ['__proto__', '1'],
  ['constructor', '2'],
  ['content-length', '5'],
  ['content_length', '5'],
  ['transfer-encoding', 'chunked'],
  ['connection', 'close'],
  ['te', 'trailers'],
  ['cookie', 'a=b'],
  ['X-Capital', 'a'],
  ['x a', 'b'],
  ['x-value', 'a\r\nb: c'],
  ['', 'nameless'],
  [':path', '/late'],
  [':status', '200'],
  ['host', 'other.test'],
  ['expect', '100-continue'],
  ['trailer', 'x-last'],
  ['grpc-status', '14'],
  ['x-breakwater-attempt', '7'],
  ['custom-key', 'custom-value'],
];

export class Talk {
  readonly steps: Step[] = [];
  readonly random: Random;
  /** How likely each choice is to be a wrong one. */
  readonly oddity: number;
  /** Streams that were begun. */
  readonly streams: number[] = [];

  constructor(random: Random) {
    this.random = random;
    this.oddity = oneOf(random, [0, 0.05, 0.3]);
  }

  odd(): boolean {
    return this.random() < this.oddity;
  }

  write(...bytes: Buffer[]): void {
    this.steps.push(...bytes);
  }

  act(act: Act): void {
    this.steps.push(act);
  }

  /** One that was begun; now and then none that anybody expects. */
  stream(): number {
    if (this.streams.length === 0 || this.odd()) return oneOf(this.random, [0, 1, 2, 3, 4, 7, 101, 0x7fffffff]);
    return oneOf(this.random, this.streams);
  }

  /** A field section as HEADERS, and CONTINUATION where it is cut. */
  headers(stream: number, fields: readonly Field[], endStream: boolean, type: number = FrameType.headers): void {
    const block = section(fields, this.random, this.oddity);
    const parts: Buffer[] = [];
    const cuts = this.random() < 0.2 ? 1 + upTo(this.random, this.odd() ? 12 : 3) : 0;
    for (let left = cuts, at = 0; ; left--) {
      const end = left === 0 ? block.length : at + upTo(this.random, block.length - at + 1);
      parts.push(block.subarray(at, end));
      at = end;
      if (left === 0) break;
    }
    const unfinished = this.odd();
    for (const [index, part] of parts.entries()) {
      const last = index === parts.length - 1 && !unfinished ? Flag.endHeaders : 0;
      if (index === 0) this.write(this.#first(type, stream, part, last | (endStream ? Flag.endStream : 0)));
      else this.write(frame(FrameType.continuation, last, this.odd() ? stream + 2 : stream, part));
      if (this.odd()) this.anything();
    }
  }

  #first(type: number, stream: number, part: Buffer, flags: number): Buffer {
    const before: Buffer[] = [];
    let [all, padding] = [flags, 0];
    if (this.random() < 0.1) {
      all |= PADDED;
      padding = upTo(this.random, 50);
      before.push(Buffer.from([this.odd() ? 255 : padding]));
    }
    if (this.random() < 0.1) {
      all |= PRIORITY;
      before.push(uint32(this.odd() ? stream : upTo(this.random, 9)), Buffer.from([16]));
    }
    return frame(type, all, stream, Buffer.concat([...before, part, Buffer.alloc(padding)]));
  }

  data(stream: number, bytes: number, endStream: boolean): void {
    const flags = endStream ? Flag.endStream : 0;
    if (this.random() < 0.2) {
      const padding = upTo(this.random, 100);
      const length = Buffer.from([this.odd() ? 255 : padding]);
      this.write(
        frame(FrameType.data, flags | PADDED, stream, Buffer.concat([length, Buffer.alloc(bytes + padding, 'd')])),
      );
      return;
    }
    this.write(frame(FrameType.data, flags, stream, Buffer.alloc(bytes, 'd')));
  }

  settings(): void {
    const entries = Array.from({ length: 1 + upTo(this.random, this.odd() ? 40 : 3) }, () => {
      const [id, values] = oneOf(this.random, SETTINGS);
      return Buffer.concat([Buffer.from([id >> 8, id & 0xff]), uint32(oneOf(this.random, values))]);
    });
    const payload = Buffer.concat(entries);
    const ack = this.odd() ? Flag.ack : 0;
    this.write(frame(FrameType.settings, ack, this.odd() ? 1 : 0, this.odd() ? payload.subarray(1) : payload));
  }

  /** Any frame that both sides may send. */
  anything(): void {
    const { random } = this;
    oneOf<() => void>(random, [
      () => this.settings(),
      () => this.write(frame(FrameType.settings, Flag.ack, 0)),
      () =>
        this.write(
          frame(FrameType.ping, this.odd() ? Flag.ack : 0, this.odd() ? 1 : 0, Buffer.alloc(this.odd() ? 7 : 8)),
        ),
      () =>
        this.write(
          frame(FrameType.rstStream, 0, this.stream(), uint32(oneOf(random, CODES)).subarray(this.odd() ? 1 : 0)),
        ),
      () => this.write(frame(FrameType.windowUpdate, 0, oneOf(random, [0, this.stream()]), this.#increment())),
      () => this.goaway(),
      () => this.data(this.stream(), oneOf(random, [0, 0, 1, 100, 16_384, 16_385, 70_000]), random() < 0.3),
      () => this.headers(this.stream(), [oneOf(random, ODD_FIELDS)], random() < 0.7),
      () =>
        this.write(frame(oneOf(random, ODD_TYPES), upTo(random, 256), this.stream(), Buffer.alloc(upTo(random, 20)))),
      () =>
        this.write(frame(FrameType.continuation, Flag.endHeaders, this.stream(), Buffer.alloc(upTo(random, 4), 0x82))),
    ])();
  }

  goaway(): void {
    const last = uint32(oneOf(this.random, [0, 1, 3, 0x7fffffff, this.stream()]));
    const debug = Buffer.alloc(oneOf(this.random, [0, 0, 20, 10_000]), 'g');
    this.write(
      frame(FrameType.goaway, 0, this.odd() ? 1 : 0, Buffer.concat([last, uint32(oneOf(this.random, CODES)), debug])),
    );
  }

  #increment(): Buffer {
    return uint32(this.odd() ? oneOf(this.random, [0, 0x7fffffff]) : 1 + upTo(this.random, 2 ** 20));
  }

  /** Between frames: how they are cut into reads, and what is read of the answers. */
  breathe(): void {
    const chance = this.random();
    if (chance < 0.25) this.act('listen');
    else if (chance < 0.4) this.act('turn');
    else if (chance < 0.42) this.act('pause');
    else if (chance < 0.44) this.act('resume');
    else if (chance < 0.46 && this.odd()) this.act('end');
  }
}
