// A connection to a pod that speaks HTTP/2: node:http2, on which the pod answers each stream, resets it, refuses it, or leaves in the middle of all.
import http2, { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { idOf } from './correlation.ts';
import { type Http2Conduct, isGrpc } from './http2-conduct.ts';
import { holdSessionBehind, nativeHalf, type WithHalves } from './native-halves.ts';
import { type Answer, bodyBytes, PIECE_BYTES, type Pod } from './pod.ts';
import type { SeenRequest } from './request-reader.ts';
import type { SimulatedSocket } from './socket.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** A request that has come on a stream. */
interface Asked {
  readonly stream: ServerHttp2Stream & WithHalves;
  readonly request: SeenRequest;
  readonly answer: Answer;
  readonly conduct: Http2Conduct;
  /** Its answer has begun: it can be refused no more. */
  begun: boolean;
  /** It was said that it is not executed. */
  refused: boolean;
}

export class Http2ServerConnection {
  readonly #server: Pod;
  readonly #socket: SimulatedSocket;
  readonly #session: ServerHttp2Session;
  readonly #sessionHalf: object | null;
  readonly #asked = new Map<number, Asked>();
  #begunLast = 0;
  /** By its GOAWAY; infinity: it has said none. */
  #lastStream = Number.POSITIVE_INFINITY;
  #cancelIdle: () => void = () => {};

  constructor(server: Pod, socket: SimulatedSocket, onClosed: () => void) {
    this.#server = server;
    this.#socket = socket;
    const settings = server.behaviour.http2?.settings() ?? {};
    // Its socket is a stream in all that node:http2 asks of one.
    const session = http2.performServerHandshake(socket as unknown as Duplex, {
      settings,
      strictSingleValueFields: false,
    });
    this.#session = session;
    this.#sessionHalf = nativeHalf(session);
    session.on('stream', (stream, fields) => this.#onStream(stream, seenRequest(fields)));
    session.on('error', () => {});
    socket.on('end', () => session.destroy());
    session.on('close', () => {
      this.#cancelIdle();
      onClosed();
    });
    this.#lieIdle();
  }

  get #isLeaving(): boolean {
    return this.#lastStream < Number.POSITIVE_INFINITY;
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #onStream(stream: ServerHttp2Stream, request: SeenRequest): void {
    this.#cancelIdle();
    const { behaviour, events, host } = this.#server;
    stream.on('error', () => {});
    // It came together with the one at which the pod left, or with the end of the connection.
    if ((stream.id ?? 0) > this.#lastStream || this.#session.destroyed) return;
    events.onRequest(request);
    const answer = behaviour.answer(request);
    const conduct = behaviour.http2?.conduct(request);
    if (conduct === undefined) throw new Error(`${host.name} speaks HTTP/2 and does not know how`);
    const halves = { ownHalf: nativeHalf(stream), sessionHalf: this.#sessionHalf };
    const asked = { stream: Object.assign(stream, halves), request, answer, conduct, begun: false, refused: false };
    this.#asked.set(stream.id ?? 0, asked);
    stream.on('close', () => this.#closed(asked));
    if (conduct.refuses) {
      this.#refuse(asked);
      stream.close(NGHTTP2_REFUSED_STREAM);
      return;
    }
    if (conduct.maxConcurrentStreams >= 0)
      this.#session.settings({ maxConcurrentStreams: conduct.maxConcurrentStreams });
    this.#read(asked);
    if (answer.early) this.#begin(asked);
    if (conduct.leavesWith >= 0) this.#leave(conduct.leavesWith);
  }

  #read(asked: Asked): void {
    const { stream, request, conduct, answer } = asked;
    const { events, host } = this.#server;
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (conduct.readsEveryMs === 0) return;
      stream.pause();
      host.after(conduct.readsEveryMs, () => stream.resume());
    });
    stream.on('end', () => {
      if (stream.destroyed || stream.aborted || stream.rstCode !== NGHTTP2_NO_ERROR) return;
      events.onContent(request, bytes);
      if (!answer.early) this.#begin(asked);
    });
  }

  #begin(asked: Asked): void {
    const { host } = this.#server;
    const { answer } = asked;
    const taken = this.#server.employ((done) => {
      const workMs = typeof answer.workMs === 'number' ? answer.workMs : answer.workMs();
      if (workMs === Number.POSITIVE_INFINITY) return;
      host.after(workMs, () => {
        done();
        this.#respond(asked, answer);
      });
    });
    if (!taken) this.#respond(asked, { ...answer, status: 503, bodyBytes: 0, framing: 'Length', fields: '' });
  }

  #respond(asked: Asked, answer: Answer): void {
    const { stream, conduct, request } = asked;
    if (asked.refused || stream.destroyed || stream.closed) return;
    if (conduct.nonsense !== null) {
      this.#socket.write(conduct.nonsense);
      return;
    }
    if (conduct.resetCode >= 0 && conduct.resetsBeforeHead) {
      // Who says so has not executed it, whatever it did before.
      if (conduct.resetCode === NGHTTP2_REFUSED_STREAM) this.#refuse(asked);
      stream.close(conduct.resetCode);
      return;
    }
    asked.begun = true;
    this.#begunLast = Math.max(this.#begunLast, stream.id ?? 0);
    if (conduct.informational) stream.additionalHeaders({ ':status': 103, 'x-early': 'yes' });
    const status = isGrpc(request) ? 200 : answer.status;
    const bodyless = request.method === 'HEAD' || status === 204 || status === 304 || conduct.trailersOnly;
    const trailers = bodyless ? null : conduct.trailers;
    const head = headOf(asked, answer);
    const endStream = bodyless || (answer.bodyBytes === 0 && trailers === null && conduct.resetCode < 0);
    // With trailers in any case: without them Node ends the content in order before it resets a stream, and it would look whole.
    const options = { endStream, waitForTrailers: !endStream, sendDate: false };
    stream.on('wantTrailers', () => stream.sendTrailers({ ...trailers }));
    stream.respond(head, options);
    if (endStream) this.#answered(answer);
    else this.#sendBody(asked, answer, 0);
  }

  #sendBody(asked: Asked, answer: Answer, from: number): void {
    const { stream, conduct, request } = asked;
    if (stream.destroyed || stream.closed) return;
    const resets = conduct.resetCode >= 0;
    const cuts = resets && conduct.resetCode !== NGHTTP2_NO_ERROR;
    const until = Math.min(answer.bodyBytes, cuts ? answer.resetAfterBytes : answer.bodyBytes);
    const size = Math.min(PIECE_BYTES, until - from);
    if (size > 0) stream.write(bodyBytes(idOf(request.headers.get('x-correlation-id')), from, size));
    if (from + size < until) {
      this.#server.host.after(answer.pieceMs, () => this.#sendBody(asked, answer, from + size));
      return;
    }
    if (resets) stream.close(conduct.resetCode);
    else stream.end();
    this.#answered(answer);
  }

  #answered(answer: Answer): void {
    if (answer.closeAfter) this.#leave(NGHTTP2_NO_ERROR);
  }

  #refuse(asked: Asked): void {
    asked.refused = true;
    this.#server.events.onRefused?.(asked.request);
  }

  /** No stream beyond the last one that it may have begun, or one of those that wait. */
  #leave(code: number): void {
    if (this.#isLeaving || this.#session.destroyed) return;
    const waiting = [...this.#asked.keys()].filter((id) => id > this.#begunLast).sort((one, other) => one - other);
    const last = this.#server.behaviour.http2?.lastStream(this.#begunLast, waiting) ?? 0;
    this.#lastStream = last;
    for (const [id, asked] of this.#asked) if (id > last && !asked.refused) this.#refuse(asked);
    this.#session.goaway(code, last);
    this.#endIfOver();
  }

  #closed(asked: Asked): void {
    holdSessionBehind(asked.stream);
    this.#asked.delete(asked.stream.id ?? 0);
    this.#endIfOver();
    if (this.#asked.size === 0) this.#lieIdle();
  }

  #endIfOver(): void {
    if (this.#isLeaving && this.#asked.size === 0) this.#session.close();
  }

  #lieIdle(): void {
    const { host, behaviour } = this.#server;
    this.#cancelIdle();
    if (behaviour.keepAliveMs === Number.POSITIVE_INFINITY || this.#session.destroyed) return;
    this.#cancelIdle = host.after(behaviour.keepAliveMs, () => this.#session.close());
  }
}

function headOf({ request, conduct }: Asked, answer: Answer): Record<string, string | number> {
  const grpc = isGrpc(request);
  const bytes = conduct.trailersOnly ? 0 : answer.bodyBytes;
  const head: Record<string, string | number> = {
    ':status': grpc ? 200 : answer.status,
    'x-body-seed': idOf(request.headers.get('x-correlation-id')),
    'x-body-bytes': bytes,
  };
  if (grpc) head['content-type'] = 'application/grpc';
  if (conduct.trailersOnly) return { ...head, ...conduct.trailers };
  for (const line of answer.fields.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    head[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  if (answer.framing === 'Stream' && !grpc) head['content-type'] = 'text/event-stream';
  else if (conduct.liesAboutLength) head['content-length'] = bytes + 7;
  else if (answer.framing === 'Length' && answer.status !== 204) head['content-length'] = bytes;
  if (conduct.trailers !== null) head['x-trailers'] = 'to come';
  return head;
}

export function seenRequest(fields: http2.IncomingHttpHeaders): SeenRequest {
  return {
    method: String(fields[':method']),
    path: String(fields[':path']),
    headers: new Map(Object.entries(fields).map(([name, value]) => [name, String(value)])),
  };
}
