// What passes between sidecars and dependencies over HTTP/2, read by the side. Heads are packed (RFC 7541), so which request a stream carries is
// learnt where the sidecar hands it over; all else is read off the frames, apart from node:http2:
//  - a stream carries one request, and a request that was given up or ended is sent no more content of;
//  - no more streams are handed over than the dependency allows, as far as the sidecar has heard;
//  - a request that is over has no stream left;
//  - of which streams the dependency has said that it does not execute them.
import { Http2Leg } from '../../sidecar/proxy/upstream/http2-leg.ts';
import { idOf } from './correlation.ts';
import { FrameReader, type SeenFrame } from './frame-reader.ts';
import type { Ledger } from './ledger.ts';
import type { SimulatedSocket } from './socket.ts';
import { demand } from './violation.ts';
import type { Wiretap } from './wiretap.ts';
import { wrap } from './wrap.ts';

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const GOAWAY = 7;
const END_STREAM = 1;
const ACK = 1;
const MAX_CONCURRENT_STREAMS = 3;
const REFUSED_STREAM = 7;

interface Stream {
  /** Of the request; 0: none of ours. */
  call: number;
  /** Of which its deadline is asked: when it was handed over, or its connection was made for it. */
  begunMs: number;
  /** The sidecar has ended its request, or given it up. */
  ended: boolean;
  /** Nothing more comes of it from the server. */
  answered: boolean;
  /** The server has ended all of it. */
  reset: boolean;
}

interface Tapped {
  madeMs: number;
  /** By identifier: one follows the other. */
  streams: Map<number, Stream>;
  requests: number;
  lastStream: number;
  /** By the GOAWAY of the server. */
  lastTaken: number;
  /** Sent by the server, and acknowledged by the sidecar. */
  allowed: number[];
  maxConcurrentStreams: number;
}

export class Http2Tap {
  readonly #ledger: Ledger;
  readonly #tap: Wiretap;
  readonly #trace: (text: string) => void;
  readonly #connections = new Map<SimulatedSocket, Tapped>();
  readonly counts = { streams: 0, refusals: 0, goaways: 0, resets: 0 };

  constructor(ledger: Ledger, tap: Wiretap, trace: (text: string) => void) {
    this.#ledger = ledger;
    this.#tap = tap;
    this.#trace = trace;
  }

  install(): (() => void)[] {
    const sent = (socket: SimulatedSocket, correlation: string, waited: boolean) =>
      this.#sent(socket, idOf(correlation), waited);
    let waited = false;
    return [
      wrap(Http2Leg.prototype, 'connected', (original) => {
        return function (this: Http2Leg, made) {
          waited = true;
          original.call(this, made);
          waited = false;
        };
      }),
      wrap(Http2Leg.prototype, 'sendHead', (original) => {
        return function (this: Http2Leg, receiver, request) {
          const socket = this.session.socket as unknown as SimulatedSocket;
          sent(socket, request.head.correlationId || request.correlationId, waited);
          original.call(this, receiver, request);
        };
      }),
    ];
  }

  /** A connection that a sidecar makes to a server, of which it is not known yet what is spoken on it. */
  upstream(socket: SimulatedSocket): void {
    const tapped: Tapped = {
      madeMs: socket.host.time.nowMs,
      streams: new Map(),
      requests: 0,
      lastStream: 0,
      lastTaken: Number.POSITIVE_INFINITY,
      allowed: [],
      maxConcurrentStreams: Number.POSITIVE_INFINITY,
    };
    this.#connections.set(socket, tapped);
    let reader: FrameReader | null = null;
    const { onWrite } = socket;
    socket.onWrite = (bytes) => {
      if (reader === null && bytes.toString('latin1', 0, 4) === 'PRI ')
        reader = new FrameReader('Client', (frame) => this.#fromSidecar(tapped, frame));
      if (reader === null) onWrite?.(bytes);
      else reader.push(bytes);
    };
    socket.once('connect', () => {
      const { peer } = socket;
      if (peer === null) return;
      const answers = new FrameReader('Server', (frame) => this.#fromServer(tapped, frame));
      peer.onWrite = (bytes) => {
        if (reader !== null) answers.push(bytes);
      };
    });
  }

  /** At a time at which nothing is on its way. */
  demandNothingLeft(): void {
    for (const [socket, { lastStream, streams }] of this.#connections) {
      if (socket.destroyed) continue;
      for (const [id, { call, ended, answered, reset }] of streams) {
        const isOver = call === 0 || id > lastStream || reset || (ended && answered);
        const goesOn = () => `request ${call} is over, and its stream ${id} goes on`;
        demand(isOver || this.#ledger.get(call).outcome === null, goesOn);
      }
    }
  }

  /** The head of a request is handed over; `waited`: for the connection to be made. */
  #sent(socket: SimulatedSocket, id: number, waited: boolean): void {
    const tapped = this.#connections.get(socket);
    demand(tapped !== undefined, () => `request ${id} was sent on a connection that nobody made`);
    if (tapped === undefined) return;
    const stream = 1 + 2 * tapped.requests;
    tapped.requests += 1;
    const begunMs = waited ? tapped.madeMs : socket.host.time.nowMs;
    tapped.streams.set(stream, { call: id, begunMs, ended: false, answered: false, reset: false });
  }

  #fromSidecar(tapped: Tapped, { type, flags, stream }: SeenFrame): void {
    if (type === SETTINGS && (flags & ACK) !== 0) {
      const max = tapped.allowed.shift() ?? -1;
      if (max >= 0) tapped.maxConcurrentStreams = max;
    }
    // What was handed over nothing of is passed on as it is.
    if (stream === 0 || tapped.requests === 0) return;
    const known = tapped.streams.get(stream);
    demand(
      known !== undefined || type > RST_STREAM,
      () => `a frame of type ${type} on stream ${stream}, which carries nothing`,
    );
    if (known === undefined) return;
    if (type === HEADERS && stream > tapped.lastStream) {
      this.#demandRoom(tapped, known.call);
      tapped.lastStream = stream;
      this.counts.streams += 1;
      if (known.call !== 0) this.#tap.began(this.#ledger.attempted(known.call), known.begunMs);
      if (stream > tapped.lastTaken) this.#refused(known.call);
    }
    if (type === DATA || type === HEADERS) {
      demand(!known.ended, () => `request ${known.call} goes on after its end`);
      known.ended = (flags & END_STREAM) !== 0;
    }
    if (type === RST_STREAM) {
      this.#trace(`request ${known.call}: given up on stream ${stream}`);
      known.ended = true;
      known.reset = true;
    }
  }

  /** By what the sidecar has acknowledged. One is tried in any case. */
  #demandRoom(tapped: Tapped, call: number): void {
    const running = [...tapped.streams].filter(
      ([id, { ended, answered, reset }]) => id <= tapped.lastStream && !reset && !(ended && answered),
    ).length;
    demand(
      running < Math.max(1, tapped.maxConcurrentStreams),
      () => `request ${call} is stream number ${running + 1} of ${tapped.maxConcurrentStreams} that may be`,
    );
  }

  #fromServer(tapped: Tapped, { type, flags, stream, payload }: SeenFrame): void {
    const known = tapped.streams.get(stream);
    if (type === SETTINGS && (flags & ACK) === 0) tapped.allowed.push(maxStreamsIn(payload));
    else if (type === RST_STREAM && known !== undefined) {
      this.counts.resets += 1;
      this.#trace(`request ${known.call}: stream ${stream} reset with code ${payload.readUInt32BE(0)}`);
      if (payload.readUInt32BE(0) === REFUSED_STREAM) this.#refused(known.call);
      known.reset = true;
    } else if (type === GOAWAY) {
      this.counts.goaways += 1;
      const last = payload.readUInt32BE(0) & 0x7fffffff;
      tapped.lastTaken = last;
      this.#trace(`a server leaves after stream ${last}`);
      for (const [id, { call }] of tapped.streams) if (id > last) this.#refused(call);
    } else if ((type === DATA || type === HEADERS) && known !== undefined) {
      if ((flags & END_STREAM) !== 0) known.answered = true;
    }
  }

  #refused(call: number): void {
    this.counts.refusals += 1;
    this.#ledger.mayGoAgain(call);
  }
}

/** Below zero: they say nothing of it. */
function maxStreamsIn(settings: Buffer): number {
  for (let at = 0; at + 6 <= settings.length; at += 6)
    if (settings.readUInt16BE(at) === MAX_CONCURRENT_STREAMS) return settings.readUInt32BE(at + 2);
  return -1;
}
