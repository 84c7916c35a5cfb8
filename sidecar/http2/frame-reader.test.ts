// Bytes as frames: however they are cut, the same is told.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frame } from '../proxy/testing/http2-frames.ts';
import { ErrorCode } from './error-code.ts';
import { FrameReader, type FrameReceiver } from './frame-reader.ts';
import { Flag, FrameType, MAX_FRAME_BYTES } from './frames.ts';

/** What is told, with the pieces of content put together. */
class Told implements FrameReceiver {
  readonly calls: string[] = [];
  #content = '';

  dataBegan(stream: number, bytes: number, padding: number, endStream: boolean): boolean {
    this.calls.push(`data ${stream} ${bytes} ${padding} ${endStream}`);
    this.#content = '';
    return true;
  }

  dataCame(_stream: number, buffer: Buffer, start: number, end: number): boolean {
    expect(end).toBeGreaterThan(start);
    this.#content += buffer.latin1Slice(start, end);
    return true;
  }

  dataEnded(stream: number, endStream: boolean): boolean {
    this.calls.push(`end ${stream} ${endStream} ${this.#content}`);
    return true;
  }

  frameCame(type: number, flags: number, stream: number, buffer: Buffer, start: number, end: number): boolean {
    this.calls.push(`frame ${type} ${flags} ${stream} ${buffer.latin1Slice(start, end)}`);
    return true;
  }

  notAFrame(code: number): void {
    this.calls.push(`not a frame ${code}`);
  }
}

/** In parts that end at these positions; each part is gone after its call. */
function read(bytes: Buffer, cuts: readonly number[]): { told: Told; goesOn: boolean } {
  const told = new Told();
  const reader = new FrameReader(told);
  let goesOn = true;
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    if (end <= start) continue;
    // Somewhere in a larger buffer, as what was read is.
    const part = Buffer.concat([Buffer.alloc(3, 0xff), bytes.subarray(start, end), Buffer.alloc(3, 0xff)]);
    if (goesOn) goesOn = reader.read(part, 3, part.length - 3);
    part.fill(0xee);
    start = end;
  }
  return { told, goesOn };
}

const payload = fc.oneof(
  { weight: 5, arbitrary: fc.uint8Array({ maxLength: 40, size: 'max' }) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 16_300, maxLength: 16_384, size: 'max' }) },
);
const anyFrame = fc
  .record({
    type: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })),
    flags: fc.integer({ min: 0, max: 255 }),
    stream: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    payload,
  })
  .map(({ type, flags, stream, payload: bytes }) => frame(type, flags, stream, Buffer.from(bytes)));

describe('frames', () => {
  it('are told the same however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 8 }),
        fc.array(fc.oneof(fc.nat({ max: 120 }), fc.nat({ max: 60_000 })), { maxLength: 40, size: 'max' }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames);
          const whole = read(bytes, []);
          const cut = read(
            bytes,
            cuts.filter((at) => at < bytes.length).toSorted((a, b) => a - b),
          );
          expect(cut.told.calls).toEqual(whole.told.calls);
          expect(cut.goesOn).toBe(whole.goesOn);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are told the same byte by byte', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 2 }), (frames) => {
        const bytes = Buffer.concat(frames);
        const cuts = Array.from(bytes, (_byte, index) => index + 1);
        expect(read(bytes, cuts).told.calls).toEqual(read(bytes, []).told.calls);
      }),
      { numRuns: 30 },
    );
  });

  it('never end in an exception, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400, size: 'max' }), (bytes) => {
        const cuts = Array.from(bytes, (_byte, index) => index + 1);
        const buffer = Buffer.from(bytes);
        const told = read(buffer, cuts);
        expect(told.told.calls).toEqual(read(buffer, []).told.calls);
        expect(told.goesOn).toBe(!told.told.calls.some((call) => call.startsWith('not a frame')));
      }),
    );
  });
});

describe('content', () => {
  it('is told without its padding, which counts for the windows', () => {
    const bytes = frame(FrameType.Data, Flag.Padded | Flag.EndStream, 5, Buffer.from('\x03abc\0\0\0', 'latin1'));
    expect(read(bytes, []).told.calls).toEqual(['data 5 7 4 true', 'end 5 true abc']);
    expect(read(bytes, [10, 11, 14]).told.calls).toEqual(['data 5 7 4 true', 'end 5 true abc']);
  });

  it.each([
    ['has more padding than there is content', Buffer.from([4, 0, 0, 0])],
    ['is padded, and has not even the length of that', Buffer.alloc(0)],
  ])('is none that %s', (_what, bytes) => {
    const padded = Buffer.concat([frame(FrameType.Data, Flag.Padded, 1, bytes), Buffer.alloc(9)]);
    expect(read(padded, [])).toMatchObject({
      goesOn: false,
      told: { calls: [`not a frame ${ErrorCode.ProtocolError}`] },
    });
  });

  it('may be nothing but padding', () => {
    const bytes = frame(FrameType.Data, Flag.Padded, 1, Buffer.from([2, 0, 0]));
    expect(read(bytes, [9, 10, 11]).told.calls).toEqual(['data 1 3 3 false', 'end 1 false ']);
  });
});

describe('a frame that is too large', () => {
  it.each([FrameType.Data, FrameType.Headers, 0xee])('is refused by its head, type %d', (type) => {
    const head = frame(type, 0, 1);
    head.writeUIntBE(MAX_FRAME_BYTES + 1, 0, 3);
    for (const cuts of [[], [1], [2, 3, 5, 8]])
      expect(read(head, cuts)).toMatchObject({
        goesOn: false,
        told: { calls: [`not a frame ${ErrorCode.FrameSizeError}`] },
      });
  });
});

it('is told nothing after it has said that it wants no more', () => {
  for (const stopsAt of ['dataBegan', 'dataCame', 'dataEnded', 'frameCame'] as const) {
    const told = new Told();
    let calls = 0;
    told[stopsAt] = () => {
      calls++;
      return false;
    };
    const bytes = Buffer.concat([
      frame(FrameType.Data, 0, 1, Buffer.from('abc')),
      frame(FrameType.Ping, 0, 0, Buffer.alloc(8)),
      frame(FrameType.Ping, 0, 0, Buffer.alloc(8)),
    ]);
    expect(new FrameReader(told).read(bytes, 0, bytes.length)).toBe(false);
    expect(calls).toBe(1);
  }
});
