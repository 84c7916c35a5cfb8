// For tests: an application that speaks HTTP/2 frame by frame, such as no library lets anybody speak it.
import net, { type Socket } from 'node:net';
import { expect } from 'vitest';
import { Flag, type Frame, FrameType, fieldBlock, frame, framesOf, PREFACE } from './http2-frames.ts';

export interface RawClient {
  socket: Socket;
  send(...frames: Buffer[]): void;
  /** Until a frame is there, or the connection is over (null). */
  until(predicate: (frame: Frame) => boolean): Promise<Frame | null>;
  /** Until the connection is over, in ten seconds. */
  ended(): Promise<void>;
  /** Resolves when the connection is over, whenever that is. */
  readonly over: Promise<void>;
  /** The whole frames so far. */
  frames(): Frame[];
  close(): void;
}

/** `settings`: what it says of itself, as the payload of its first frame. */
export function rawClient(port: number, settings: Buffer = Buffer.alloc(0)): RawClient {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  let received: Buffer = Buffer.alloc(0);
  let over = false;
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('close', () => {
    over = true;
  });
  socket.write(Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0, settings)]));
  return {
    socket,
    frames: () => framesOf(received),
    close: () => socket.destroy(),
    over: closed,
    send: (...frames) => void (socket.destroyed || socket.write(Buffer.concat(frames))),
    async until(predicate) {
      let found: Frame | undefined;
      await expect
        .poll(
          () => {
            found = framesOf(received).find(predicate);
            return found !== undefined || over;
          },
          { interval: 5, timeout: 5_000 },
        )
        .toBe(true);
      return found ?? null;
    },
    async ended() {
      await expect.poll(() => over, { interval: 10, timeout: 10_000 }).toBe(true);
    },
  };
}

export const REQUEST = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'payments.billing'],
  [':path', '/answer'],
] as const;

/** REQUEST without one of its fields. */
export const without = (name: string) => REQUEST.filter(([own]) => own !== name);
/** REQUEST with another value of one of its fields. */
export const instead = (name: string, value: string) =>
  REQUEST.map(([own, old]) => [own, own === name ? value : old] as const);
export const head = (
  fields: readonly (readonly [string, string])[],
  flags = Flag.endStream | Flag.endHeaders,
  stream = 1,
): Buffer => frame(FrameType.headers, flags, stream, fieldBlock(fields));
