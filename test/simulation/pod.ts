// What a pod of a dependency is to its connections, whatever they speak.
import type { Settings } from 'node:http2';
import type { Host } from './host.ts';
import type { Http2Conduct } from './http2-conduct.ts';
import type { Fate } from './network.ts';
import type { SeenRequest } from './request-reader.ts';
import type { Wire } from './wire.ts';

/** What a pod does with one request. */
export interface Answer {
  /** Of work by a worker before the head is sent, milliseconds; Infinity: it never ends. A function is asked when the work begins. */
  workMs: number | (() => number);
  status: number;
  /** Lines that go with the status line, each with its CR LF before it. */
  fields: string;
  bodyBytes: number;
  framing: 'Length' | 'Chunked' | 'UntilClose' | 'Stream' | 'Upgrade';
  /** Between the pieces of the body. */
  pieceMs: number;
  /** Sends this in the place of a response. */
  nonsense: string | null;
  /** The connection is reset after so many bytes of the response; Infinity: it is not. */
  resetAfterBytes: number;
  /** Answers at the head, whatever of the request is still to come. */
  early: boolean;
  closeAfter: boolean;
}

export interface ServerBehaviour {
  fate(): Fate;
  answer(request: SeenRequest): Answer;
  /** An idle connection is closed after so long. */
  keepAliveMs: number;
  /** Of pods that speak HTTP/2. */
  http2?: Http2Behaviour;
  /** What happens to its connections on the way. */
  spoil?(toClient: Wire, toServer: Wire): void;
}

export interface Http2Behaviour {
  settings(): Settings;
  conduct(request: SeenRequest): Http2Conduct;
  /** Of those that GOAWAY names: the last stream that has been begun, or one of those that wait, in their order. */
  lastStream(begun: number, waiting: readonly number[]): number;
}

/** What its connections are taken for. Both: as they begin. */
export type Speaks = 'Http1' | 'Http2' | 'Both';

export interface ServerEvents {
  /** The head of a request has come: from here on it may have been executed. */
  onRequest(request: SeenRequest): void;
  /** All of it has come, with so many bytes of content. */
  onContent(request: SeenRequest, bytes: number): void;
  /** Over HTTP/2: the server says that it does not execute what has come. */
  onRefused?(request: SeenRequest): void;
}

/** The byte of a body at an offset: what was lost, doubled or swapped on the way shows. */
export const bodyByte = (seed: number, offset: number) => 97 + ((seed + offset * 7 + (offset >> 8)) % 26);

export function bodyBytes(seed: number, start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index += 1) bytes[index] = bodyByte(seed, start + index);
  return bytes;
}

/** A body is sent in pieces of so many bytes. */
export const PIECE_BYTES = 4_096;

export interface Pod {
  readonly host: Host;
  readonly behaviour: ServerBehaviour;
  readonly events: ServerEvents;
  /** `work` gets a worker now, or when one is free; it must call what it is given. False: the queue is full. */
  employ(work: (done: () => void) => void): boolean;
}
