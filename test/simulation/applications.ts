// Applications that call: connections of their own, requests one after the other, and the ways of real callers: they give up at any moment,
// read slowly, send bodies in pieces, and write what no HTTP is.
import type { CalledService, Cluster } from './cluster.ts';
import { ENDPOINT_PORT } from './cluster.ts';
import { correlationOf } from './correlation.ts';
import type { Dice } from './dice.ts';
import type { Host } from './host.ts';
import { Http2ApplicationConnection } from './http2-application.ts';
import type { CallRecord, Ledger } from './ledger.ts';
import { bodyBytes } from './pod.ts';
import { METHODS, PATHS, TENANTS } from './policies.ts';
import { ResponseReader, type SeenResponse } from './response-reader.ts';
import type { SimulatedSocket } from './socket.ts';

/** How callers behave in a run. */
export interface Manners {
  /** Between two connections of one application, milliseconds. */
  pauseMs: number;
  /** Share of pauses after which many connections are made at once. */
  bursts: number;
  /** Share of requests that are given up. */
  cancels: number;
  /** Share of responses that are read slowly. */
  slowReaders: number;
  /** Share of requests that are no HTTP. */
  nonsense: number;
}

/** Makes the connection that the kernel then redirects to the sidecar. */
export type Dial = (address: string, port: number) => SimulatedSocket;

export interface ApplicationOptions {
  name: string;
  host: Host;
  cluster: Cluster;
  dice: Dice;
  manners: Manners;
  ledger: Ledger;
  dial: Dial;
  /** A request is about to be given up. */
  onCancel(call: CallRecord): void;
  /** As `dial`, of connections that speak HTTP/2, which nothing is read of by the side. */
  dialHttp2: Dial;
  watch: Http2Watch;
}

/** What requests over HTTP/2 come to, which nobody sees on the wire: its heads are packed. */
export interface Http2Watch {
  /** Its answer is to be over by its deadline, or is no more. */
  owed(call: CallRecord, isOwed: boolean): void;
  /** Its stream is closed. */
  over(call: CallRecord): void;
}

const NONSENSE = [
  'GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
  'GET  / HTTP/1.1\r\n\r\n',
  'POST /charges HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
] as const;

export class Application {
  readonly options: ApplicationOptions;
  readonly #connections = new Set<{ cancel(): void }>();
  #stopped = false;

  constructor(options: ApplicationOptions) {
    this.options = options;
  }

  get open(): number {
    return this.#connections.size;
  }

  start(): void {
    const { host, dice, manners } = this.options;
    host.after(dice.random() * 2 * manners.pauseMs, () => {
      if (this.#stopped) return;
      this.#connect();
      if (dice.chance(manners.bursts)) for (let more = dice.between(5, 25); more > 0; more -= 1) this.#connect();
      this.start();
    });
  }

  /** Makes no further connection and sends no further request. */
  stop(): void {
    this.#stopped = true;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Gives up whatever is still under way. */
  giveUp(): void {
    for (const connection of this.#connections) connection.cancel();
  }

  #connect(): void {
    const { dice, cluster, dial } = this.options;
    const called = dice.pick(cluster.services);
    const place = this.#placeOf(called);
    if (place === null) return;
    const onClosed = () => void this.#connections.delete(connection);
    const connection: { cancel(): void } = this.#speaksHttp2(called)
      ? new Http2ApplicationConnection(this, this.options.dialHttp2(place.address, place.port), onClosed)
      : new ApplicationConnection(this, dial(place.address, place.port), onClosed);
    this.#connections.add(connection);
  }

  /** As the Service does, but for a mistake now and then. */
  #speaksHttp2({ speaks }: CalledService): boolean {
    if (speaks === 'Always1') return false;
    const { dice } = this.options;
    return speaks === 'Both' ? dice.chance(0.5) : dice.chance(0.04) !== (speaks === 'Http2');
  }

  /** Of a headless Service an application sees the pods, and picks one. */
  #placeOf(called: CalledService): { address: string; port: number } | null {
    if (called.manner !== 'Headless') return { address: called.clusterIp, port: called.port };
    const { cluster, dice } = this.options;
    const addresses = cluster.addresses(called.name);
    return addresses.length === 0 ? null : { address: dice.pick(addresses), port: ENDPOINT_PORT };
  }
}

class ApplicationConnection {
  readonly #application: Application;
  readonly #socket: SimulatedSocket;
  readonly #reader: ResponseReader;
  #left: number;
  #call: CallRecord | null = null;
  #response: SeenResponse | null = null;
  #readBytes = 0;
  #closing = false;
  /** Part of the present request is still to be written. */
  #sending = false;
  /** The last request; what is read belongs to it. */
  #last: CallRecord | null = null;

  constructor(application: Application, socket: SimulatedSocket, onClosed: () => void) {
    this.#application = application;
    this.#socket = socket;
    this.#left = application.options.dice.skewed(1, 8);
    this.#reader = new ResponseReader({
      onHead: (response) => this.#onHead(response),
      onBody: (bytes) => this.#onBody(bytes),
      onEnd: () => this.#onEnd(),
      onNonsense: (what) => application.options.ledger.nonsense(this.#last, what),
    });
    socket.on('connect', () => this.#next());
    socket.on('data', (bytes: Buffer) => this.#reader.push(bytes));
    socket.on('end', () => {
      this.#reader.end();
      socket.end();
      if (this.#call === null || this.#response === null) socket.destroy();
    });
    socket.on('close', () => {
      this.#lost();
      onClosed();
    });
  }

  /** The application does not want an answer any more. */
  cancel(): void {
    const { ledger, dice } = this.#application.options;
    if (this.#call !== null) {
      this.#application.options.onCancel(this.#call);
      ledger.cancelled(this.#call);
    }
    if (dice.chance(0.5)) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  #next(): void {
    const { host, dice, manners } = this.#application.options;
    if (this.#left === 0 || this.#closing || this.#application.stopped) {
      this.#socket.destroySoon();
      return;
    }
    this.#left -= 1;
    host.after(dice.chance(0.3) ? dice.skewed(1, 2_000) : 0, () => {
      if (this.#socket.destroyed) return;
      if (dice.chance(manners.nonsense)) this.#sendNonsense();
      else this.#send();
    });
  }

  #sendNonsense(): void {
    this.#closing = true;
    this.#left = 0;
    this.#reader.expect('GET');
    this.#socket.write(this.#application.options.dice.pick(NONSENSE));
  }

  #send(): void {
    const { host, dice, manners, ledger, name } = this.#application.options;
    const method = dice.pick(METHODS);
    const path = dice.pick(PATHS) + dice.pick(['', '', '/1']);
    const withBody = method === 'POST' || method === 'PUT' || method === 'PATCH';
    const bodyBytes = withBody ? dice.skewed(0, dice.chance(0.1) ? 100_000 : 3_000) : 0;
    const keyed = dice.chance(0.2);
    const call = ledger.call({ caller: name, method, keyed });
    this.#call = call;
    this.#last = call;
    this.#response = null;
    this.#readBytes = 0;
    this.#sending = true;
    const chunked = bodyBytes > 0 && dice.chance(0.4);
    let head = `${method} ${path} HTTP/1.1\r\nHost: called\r\nX-Correlation-ID: ${correlationOf(call.id)}\r\nX-Sent-Bytes: ${bodyBytes}`;
    if (dice.chance(0.5)) head += `\r\nX-Tenant: ${dice.pick(TENANTS)}`;
    if (keyed) head += `\r\nIdempotency-Key: key-${call.id}`;
    if (chunked) head += '\r\nTransfer-Encoding: chunked';
    else if (withBody) head += `\r\nContent-Length: ${bodyBytes}`;
    if (bodyBytes > 0 && dice.chance(0.1)) head += '\r\nExpect: 100-continue';
    if (method === 'GET' && dice.chance(0.05)) head += '\r\nConnection: Upgrade\r\nUpgrade: echo';
    this.#reader.expect(method);
    this.#socket.write(`${head}\r\n\r\n`);
    this.#sendBody(call, chunked, bodyBytes, 0);
    if (dice.chance(manners.cancels)) {
      host.after(dice.skewed(0, 2_000), () => {
        if (this.#call === call) this.cancel();
      });
    }
  }

  #sendBody(call: CallRecord, chunked: boolean, total: number, from: number): void {
    if (this.#socket.destroyed || this.#call !== call) return;
    const { dice, host } = this.#application.options;
    if (from >= total) {
      if (chunked) this.#socket.write('0\r\n\r\n');
      this.#sending = false;
      return;
    }
    const size = dice.chance(0.5) ? total - from : dice.skewed(1, total - from);
    const piece = 'b'.repeat(size);
    this.#socket.write(chunked ? `${size.toString(16)}\r\n${piece}\r\n` : piece);
    host.after(dice.chance(0.7) ? 0 : dice.skewed(1, 300), () => this.#sendBody(call, chunked, total, from + size));
  }

  #onHead(response: SeenResponse): void {
    this.#response = response;
    const { dice, manners, host, ledger } = this.#application.options;
    if (this.#call !== null) ledger.answered(this.#call, response);
    if (response.headers.get('connection')?.includes('close')) this.#closing = true;
    if (response.status === 101) this.#chat();
    if (!dice.chance(manners.slowReaders)) return;
    this.#socket.pause();
    host.after(dice.skewed(10, 3_000), () => {
      if (!this.#socket.destroyed) this.#socket.resume();
    });
  }

  #onBody(bytes: Buffer): void {
    const { ledger } = this.#application.options;
    const seed = this.#response?.headers.get('x-body-seed');
    if (seed === undefined) return;
    if (!bytes.equals(bodyBytes(Number(seed), this.#readBytes, bytes.length)))
      ledger.nonsense(this.#last, `the body is another one than was sent, from byte ${this.#readBytes} on`);
    this.#readBytes += bytes.length;
  }

  #onEnd(): void {
    const call = this.#call;
    const sent = Number(this.#response?.headers.get('x-body-bytes') ?? this.#readBytes);
    this.#call = null;
    // The rest of the request is not wanted, and nothing may follow in its place.
    if (this.#sending) this.#closing = true;
    if (call !== null) {
      const bodyless = call.method === 'HEAD' || this.#response?.status === 204 || this.#response?.status === 304;
      this.#application.options.ledger.completed(call, bodyless || sent === this.#readBytes);
    }
    this.#next();
  }

  /** Some words over an upgraded connection, then the end. */
  #chat(): void {
    const { host, dice } = this.#application.options;
    this.#socket.write('hello');
    host.after(dice.skewed(1, 3_000), () => {
      if (!this.#socket.destroyed) this.#socket.destroySoon();
    });
  }

  #lost(): void {
    const call = this.#call;
    this.#call = null;
    if (call !== null) this.#application.options.ledger.lost(call);
  }
}
