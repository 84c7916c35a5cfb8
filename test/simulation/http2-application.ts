// A connection of an application that speaks HTTP/2 to its sidecar, as clients of gRPC do: several requests at a time, calls of gRPC among them, which
// are given up at any moment or read slowly.
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Application, ApplicationOptions } from './applications.ts';
import { correlationOf } from './correlation.ts';
import { LAST_FIELD } from './http2-conduct.ts';
import type { CallRecord } from './ledger.ts';
import { holdSessionBehind, nativeHalf } from './native-halves.ts';
import { bodyBytes } from './pod.ts';
import { METHODS, PATHS, TENANTS } from './policies.ts';
import type { SimulatedSocket } from './socket.ts';
import { demand } from './violation.ts';

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR } = constants;

export class Http2ApplicationConnection {
  readonly #application: Application;
  readonly #options: ApplicationOptions;
  readonly #socket: SimulatedSocket;
  readonly #session: ClientHttp2Session;
  readonly #sessionHalf: object | null;
  readonly #calls = new Set<Http2ApplicationCall>();
  #left: number;

  constructor(application: Application, socket: SimulatedSocket, onClosed: () => void) {
    this.#application = application;
    this.#options = application.options;
    this.#socket = socket;
    this.#left = application.options.dice.skewed(1, 12);
    // Its socket is a stream in all that node:http2 asks of one.
    const session = http2.connect('http://called', { createConnection: () => socket as unknown as Duplex });
    this.#session = session;
    this.#sessionHalf = nativeHalf(session);
    session.on('error', () => {});
    socket.once('connect', () => this.#next());
    socket.on('end', () => session.destroy());
    session.on('close', onClosed);
  }

  /** The application does not want any answer any more. */
  cancel(): void {
    for (const call of this.#calls) call.forget();
    if (this.#options.dice.chance(0.5)) this.#session.destroy();
    else this.#socket.resetAndDestroy();
  }

  #next(): void {
    const { host, dice } = this.#options;
    if (this.#session.closed || this.#session.destroyed) return;
    if (this.#left === 0 || this.#application.stopped) {
      this.#session.close();
      return;
    }
    this.#left -= 1;
    this.#send();
    host.after(dice.chance(0.5) ? 0 : dice.skewed(1, 1_000), () => this.#next());
  }

  #send(): void {
    const call = new Http2ApplicationCall(this.#options, this.#session, this.#sessionHalf, () =>
      this.#calls.delete(call),
    );
    this.#calls.add(call);
  }
}

class Http2ApplicationCall {
  readonly #options: ApplicationOptions;
  readonly #call: CallRecord;
  readonly #stream: ClientHttp2Stream;
  #seed: string | undefined;
  #sentBytes = -1;
  #readBytes = 0;
  #ended = false;
  #cutByTrailers = false;
  #owesTrailers = false;
  /** It is a call of gRPC, of whose answer the status has not come. */
  #owesStatus = false;

  constructor(
    options: ApplicationOptions,
    session: ClientHttp2Session,
    sessionHalf: object | null,
    onClosed: () => void,
  ) {
    this.#options = options;
    const { dice, ledger, name, manners, host } = options;
    const isGrpc = dice.chance(0.4);
    const method = isGrpc ? 'POST' : dice.pick(METHODS);
    const withBody = isGrpc || method === 'PUT' || method === 'PATCH' || method === 'POST';
    const bytes = withBody ? dice.skewed(0, dice.chance(0.1) ? 100_000 : 3_000) : 0;
    const keyed = dice.chance(0.2);
    const call = ledger.call({ caller: name, method, keyed });
    this.#call = call;
    const head: OutgoingHttpHeaders = {
      ':method': method,
      ':path': dice.pick(PATHS) + dice.pick(['', '', '/1']),
      'x-correlation-id': correlationOf(call.id),
      'x-sent-bytes': String(bytes),
    };
    if (isGrpc) Object.assign(head, { 'content-type': 'application/grpc', te: 'trailers' });
    else if (dice.chance(0.5)) head['te'] = 'trailers';
    if (dice.chance(0.5)) head['x-tenant'] = dice.pick(TENANTS);
    if (keyed) head['idempotency-key'] = `key-${call.id}`;
    if (withBody && dice.chance(0.5)) head['content-length'] = String(bytes);
    // With trailers in any case: without them Node ends a request in order before it cancels it, and what was cut would look whole.
    const stream = session.request(head, { endStream: !withBody, waitForTrailers: withBody });
    stream.on('wantTrailers', () => stream.sendTrailers({}));
    const halves = Object.assign(stream, { ownHalf: nativeHalf(stream), sessionHalf });
    this.#stream = stream;
    options.watch.owed(call, true);
    stream.on('error', () => {});
    stream.on('response', (fields, flags) => this.#onHead(fields, (flags & NGHTTP2_FLAG_END_STREAM) !== 0));
    stream.on('trailers', (fields) => this.#onTrailers(fields));
    // Node ends it in order too where its connection was ended in order in the middle of it.
    stream.on('end', () => {
      this.#ended = !stream.destroyed;
    });
    stream.on('close', () => {
      holdSessionBehind(halves);
      this.#closed();
      onClosed();
    });
    if (withBody) this.#sendBody(bytes, 0);
    if (dice.chance(manners.cancels)) {
      host.after(dice.skewed(0, 2_000), () => {
        this.forget();
        if (!stream.destroyed) stream.close(NGHTTP2_CANCEL);
      });
    }
  }

  /** Nobody waits for its answer any more. */
  forget(): void {
    if (this.#call.outcome !== null) return;
    this.#options.onCancel(this.#call);
    this.#options.ledger.cancelled(this.#call);
  }

  #sendBody(total: number, from: number): void {
    const { dice, host } = this.#options;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    if (from >= total) {
      stream.end();
      return;
    }
    const size = dice.chance(0.5) ? total - from : dice.skewed(1, total - from);
    stream.write(Buffer.alloc(size, 'b'));
    host.after(dice.chance(0.7) ? 0 : dice.skewed(1, 300), () => this.#sendBody(total, from + size));
  }

  #onHead(fields: http2.IncomingHttpHeaders, isAll: boolean): void {
    // Not before: Node tells of what came behind the head first, where somebody listens.
    this.#stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    if (this.#call.outcome !== null) return;
    const { dice, manners, host, ledger, watch } = this.#options;
    const headers = new Map(Object.entries(fields).map(([name, value]) => [name, String(value)]));
    this.#seed = headers.get('x-body-seed');
    this.#sentBytes = Number(headers.get('x-body-bytes') ?? -1);
    this.#owesTrailers = headers.has('x-trailers');
    this.#owesStatus = headers.get('content-type') === 'application/grpc' && !headers.has('grpc-status');
    ledger.answered(this.#call, { status: Number(fields[':status']), headers });
    if (isAll) {
      this.#owesTrailers = false;
      return;
    }
    // From the head of a stream on only silence ends it, and every call of gRPC may be one.
    if (this.#owesStatus || headers.get('content-type') === 'text/event-stream') watch.owed(this.#call, false);
    if (!dice.chance(manners.slowReaders)) return;
    watch.owed(this.#call, false);
    this.#stream.pause();
    host.after(dice.skewed(10, 3_000), () => {
      if (!this.#stream.destroyed) this.#stream.resume();
    });
  }

  #onData(chunk: Buffer): void {
    const { ledger } = this.#options;
    if (this.#seed === undefined || this.#call.outcome !== null) return;
    if (!chunk.equals(bodyBytes(Number(this.#seed), this.#readBytes, chunk.length)))
      ledger.nonsense(this.#call, `the body is another one than was sent, from byte ${this.#readBytes} on`);
    this.#readBytes += chunk.length;
  }

  #onTrailers(fields: http2.IncomingHttpHeaders): void {
    this.#cutByTrailers = fields['breakwater-reason'] !== undefined;
    if (fields[LAST_FIELD] === 'all') this.#owesTrailers = false;
    if (fields['grpc-status'] !== undefined) this.#owesStatus = false;
  }

  #closed(): void {
    const call = this.#call;
    const { ledger, watch } = this.#options;
    if (call.outcome !== null) return;
    watch.over(call);
    const isEnded = this.#ended && this.#stream.rstCode === NGHTTP2_NO_ERROR && call.response !== null;
    demand(
      !isEnded || !this.#owesStatus,
      () => `the answer to request ${call.id}, a call of gRPC, ended without a status`,
    );
    if (!isEnded || this.#cutByTrailers) {
      ledger.lost(call);
      return;
    }
    const status = call.response?.status;
    const bodyless = call.method === 'HEAD' || status === 204 || status === 304 || this.#sentBytes < 0;
    ledger.completed(call, bodyless || (this.#sentBytes === this.#readBytes && !this.#owesTrailers));
  }
}
