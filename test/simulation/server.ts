// One pod of a dependency: a bounded number of workers, a queue before them, and whatever it does wrong at the moment. Everything that it is
// asked to do is written into the books at the first moment at which it may have begun to do it: when the head of the request was read.
import { idOf } from './correlation.ts';
import type { Host } from './host.ts';
import { Http2ServerConnection } from './http2-server.ts';
import type { Fate, Listener, SimulatedNetwork } from './network.ts';
import {
  type Answer,
  bodyBytes,
  PIECE_BYTES,
  type Pod,
  type ServerBehaviour,
  type ServerEvents,
  type Speaks,
} from './pod.ts';
import { RequestReader, type SeenRequest } from './request-reader.ts';
import type { SimulatedSocket } from './socket.ts';
import type { Wire } from './wire.ts';

/** No method begins so that applications use here. */
const PREFACE_BEGINS = 'PR';

export class SimulatedServer implements Listener, Pod {
  readonly host: Host;
  readonly address: string;
  readonly port: number;
  behaviour: ServerBehaviour;
  readonly events: ServerEvents;
  readonly speaks: Speaks;
  /** Requests at work at a time; the rest waits. */
  workers = Number.POSITIVE_INFINITY;
  /** Requests that may wait; beyond, they are answered 503 at once. */
  maxQueued = Number.POSITIVE_INFINITY;
  #atWork = 0;
  readonly #queue: (() => void)[] = [];
  readonly #connections = new Set<{ reset(): void }>();
  #killed = false;
  #stopListening: () => void = () => {};

  constructor(
    host: Host,
    address: string,
    port: number,
    behaviour: ServerBehaviour,
    events: ServerEvents,
    speaks: Speaks = 'Http1',
  ) {
    this.speaks = speaks;
    this.host = host;
    this.address = address;
    this.port = port;
    this.behaviour = behaviour;
    this.events = events;
  }

  get atWork(): number {
    return this.#atWork;
  }

  get queued(): number {
    return this.#queue.length;
  }

  start(network: SimulatedNetwork): void {
    this.#stopListening = network.listen(this.address, this.port, this);
  }

  /** The pod is killed: its connections are reset by the kernel. */
  kill(): void {
    this.#killed = true;
    this.#stopListening();
    for (const connection of this.#connections) connection.reset();
  }

  fate(): Fate {
    return this.behaviour.fate();
  }

  spoil(toClient: Wire, toServer: Wire): void {
    this.behaviour.spoil?.(toClient, toServer);
  }

  accept(socket: SimulatedSocket): void {
    // Killed while the handshake was under way.
    if (this.#killed) {
      socket.resetAndDestroy();
      return;
    }
    if (this.speaks === 'Both') this.#detect(socket);
    else this.#serve(socket, this.speaks === 'Http2');
  }

  #detect(socket: SimulatedSocket): void {
    const waiting = { reset: () => void socket.resetAndDestroy() };
    this.#connections.add(waiting);
    const leave = () => void this.#connections.delete(waiting);
    socket.once('close', leave);
    let first = Buffer.alloc(0);
    const onData = (bytes: Buffer) => {
      first = Buffer.concat([first, bytes]);
      if (first.length < PREFACE_BEGINS.length) return;
      leave();
      socket.off('data', onData);
      socket.pause();
      socket.unshift(first);
      this.#serve(socket, first.toString('latin1', 0, PREFACE_BEGINS.length) === PREFACE_BEGINS);
      socket.resume();
    };
    socket.on('data', onData);
  }

  #serve(socket: SimulatedSocket, http2: boolean): void {
    const Connection = http2 ? Http2ServerConnection : ServerConnection;
    const connection = new Connection(this, socket, () => this.#connections.delete(connection));
    this.#connections.add(connection);
  }

  /** `work` gets a worker now, or when one is free; it must call what it is given. False: the queue is full. */
  employ(work: (done: () => void) => void): boolean {
    const begin = () => {
      this.#atWork += 1;
      work(() => {
        this.#atWork -= 1;
        this.#queue.shift()?.();
      });
    };
    if (this.#atWork < this.workers) begin();
    else if (this.#queue.length < this.maxQueued) this.#queue.push(begin);
    else return false;
    return true;
  }
}

class ServerConnection {
  readonly #server: SimulatedServer;
  readonly #socket: SimulatedSocket;
  readonly #reader: RequestReader;
  #seen: SeenRequest | null = null;
  #contentBytes = 0;
  /** To be answered once all of it has come. */
  #request: SeenRequest | null = null;
  #answer: Answer | null = null;
  #bodyDone = false;
  #answered = false;
  #sentBytes = 0;
  #upgraded = false;
  #cancelIdle: () => void = () => {};

  constructor(server: SimulatedServer, socket: SimulatedSocket, onClosed: () => void) {
    this.#server = server;
    this.#socket = socket;
    this.#reader = new RequestReader(
      (request) => this.#onHead(request),
      (bytes) => {
        this.#contentBytes += bytes.length;
      },
      () => this.#onEnd(),
    );
    socket.on('data', (bytes: Buffer) => this.#onData(bytes));
    socket.on('end', () => {
      // A half-closed request is not answered; between requests, and in a tunnel, it is the end.
      if (this.#answer === null || this.#upgraded) socket.end();
    });
    socket.on('close', () => {
      this.#cancelIdle();
      onClosed();
    });
    this.#lieIdle();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #onData(bytes: Buffer): void {
    if (this.#upgraded) {
      this.#socket.write(bytes);
      return;
    }
    if (!this.#reader.push(bytes)) this.#socket.destroy();
  }

  #onHead(request: SeenRequest): void {
    this.#cancelIdle();
    this.#bodyDone = false;
    this.#answered = false;
    this.#seen = request;
    this.#contentBytes = 0;
    this.#server.events.onRequest(request);
    const answer = this.#server.behaviour.answer(request);
    this.#answer = answer;
    if (request.headers.get('expect') === '100-continue' && !answer.early) this.#send('HTTP/1.1 100 Continue\r\n\r\n');
    if (answer.early) this.#begin(request, answer);
    else this.#request = request;
  }

  #onEnd(): void {
    this.#bodyDone = true;
    if (this.#seen !== null) this.#server.events.onContent(this.#seen, this.#contentBytes);
    const { host } = this.#server;
    const [request, answer] = [this.#request, this.#answer];
    this.#request = null;
    if (request !== null && answer !== null) this.#begin(request, answer);
    else if (this.#answered) host.time.after(0, () => this.#next());
  }

  #begin(request: SeenRequest, answer: Answer): void {
    const { host } = this.#server;
    const taken = this.#server.employ((done) => {
      const workMs = typeof answer.workMs === 'number' ? answer.workMs : answer.workMs();
      if (workMs === Number.POSITIVE_INFINITY) return;
      // The work goes on to its end whether or not anybody still waits for it, as it does in most servers.
      host.after(workMs, () => {
        done();
        this.#respond(request, answer);
      });
    });
    if (!taken)
      this.#respond(request, { ...answer, status: 503, bodyBytes: 0, framing: 'Length', nonsense: null, fields: '' });
  }

  #respond(request: SeenRequest, answer: Answer): void {
    if (this.#socket.destroyed || this.#answer === null) return;
    if (answer.nonsense !== null) {
      this.#send(answer.nonsense);
      this.#socket.destroySoon();
      return;
    }
    const seed = idOf(request.headers.get('x-correlation-id'));
    let head = `HTTP/1.1 ${answer.status} Simulated${answer.fields}\r\nX-Body-Seed: ${seed}\r\nX-Body-Bytes: ${answer.bodyBytes}`;
    if (answer.closeAfter && answer.framing !== 'Upgrade') head += '\r\nConnection: close';
    const bodyless = request.method === 'HEAD' || answer.status === 204 || answer.status === 304;
    if (answer.framing === 'Length' && answer.status !== 204) head += `\r\nContent-Length: ${answer.bodyBytes}`;
    else if (answer.framing === 'Chunked' && answer.status !== 204) head += '\r\nTransfer-Encoding: chunked';
    else if (answer.framing === 'Stream') head += '\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked';
    if (answer.framing === 'Upgrade') {
      this.#upgraded = true;
      this.#send(`HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo${answer.fields}\r\n\r\n`);
      return;
    }
    this.#send(`${head}\r\n\r\n`);
    if (bodyless) this.#finish(answer, '');
    else this.#sendBody(answer, seed, 0);
  }

  #sendBody(answer: Answer, seed: number, from: number): void {
    if (this.#socket.destroyed) return;
    const chunked = answer.framing === 'Chunked' || answer.framing === 'Stream';
    const size = Math.min(PIECE_BYTES, answer.bodyBytes - from);
    const piece = bodyBytes(seed, from, size).toString('latin1');
    if (size > 0) this.#send(chunked ? `${size.toString(16)}\r\n${piece}\r\n` : piece);
    // The last byte may be what the other side waits for before it asks for more: nothing of this answer may come after it.
    if (from + size >= answer.bodyBytes) this.#finish(answer, chunked ? '0\r\n\r\n' : '');
    else this.#server.host.after(answer.pieceMs, () => this.#sendBody(answer, seed, from + size));
  }

  #finish(answer: Answer, end: string): void {
    this.#send(end);
    this.#answered = true;
    if (answer.closeAfter || answer.framing === 'UntilClose') this.#socket.destroySoon();
    else if (this.#bodyDone) this.#next();
  }

  #next(): void {
    this.#answer = null;
    this.#sentBytes = 0;
    this.#lieIdle();
  }

  #send(text: string): void {
    const answer = this.#answer;
    if (this.#socket.destroyed || answer === null) return;
    const room = answer.resetAfterBytes - this.#sentBytes;
    const bytes = Buffer.from(text, 'latin1');
    this.#sentBytes += bytes.length;
    if (bytes.length < room) {
      this.#socket.write(bytes);
      return;
    }
    if (room > 0) this.#socket.write(bytes.subarray(0, room));
    this.#socket.resetAndDestroy();
  }

  #lieIdle(): void {
    const { host, behaviour } = this.#server;
    this.#cancelIdle();
    if (behaviour.keepAliveMs === Number.POSITIVE_INFINITY) return;
    this.#cancelIdle = host.after(behaviour.keepAliveMs, () => {
      if (this.#reader.between) this.#socket.destroySoon();
    });
  }
}
