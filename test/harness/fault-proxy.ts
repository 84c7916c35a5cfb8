// Stands between a client and a real API server and does to their conversation what networks, load balancers and sick servers do. Two
// layers: a relay of bytes, which knows connections only, and behind it an HTTPS proxy, which knows requests, lists and watches. It answers
// with the API server's own certificate, so that a client needs nothing but the other address. It imports nothing of ours.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  Agent,
  createServer as createHttpsServer,
  type Server as HttpsServer,
  type RequestOptions,
  request,
} from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Damage, damaged } from './watch-damage.ts';

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  isWatch: boolean;
  isList: boolean;
  /** "pods" */
  resource: string;
}

/** Plain data, so that a seeded mixture can be told by printing it. */
export type Fault =
  /** In the API server's place. */
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string }
  /** A reset before anything was answered. */
  | { kind: 'cut' }
  /** Half-open: what is asked goes nowhere, the connection stays. */
  | { kind: 'neverAnswers' }
  /** The head of the answer and nothing more, the connection stays. */
  | { kind: 'silent' }
  /** A complete answer without a body. */
  | { kind: 'empty' }
  | { kind: 'delay'; delayMs: number }
  /** The answer comes in pieces of so many bytes. */
  | { kind: 'drip'; bytes: number; everyMs: number }
  /** A reset after so many bytes of the answer's body. */
  | { kind: 'cutBody'; bytes: number }
  /** Pages of this size; the token of the page of this number, 1 being the second page, has expired. */
  | { kind: 'pages'; limit: number; expiredPage?: number }
  | { kind: 'damage'; damage: Damage };

export interface Rule {
  matches: (asked: Asked) => boolean;
  fault: Fault;
  /** How often at most; always by default. */
  times?: number;
  /** 0 to 1, by the proxy's random numbers; 1 by default. */
  probability?: number;
}

/** What happens to new connections. */
export type Connections = 'open' | 'refused' | 'resetInHandshake' | 'silentInHandshake';

export interface FaultProxyOptions {
  /** "https://127.0.0.1:PORT" of the API server. */
  upstreamUrl: string;
  certificateFile: string;
  keyFile: string;
  random: () => number;
}

interface ActiveRule extends Rule {
  hits: number;
}

export class FaultProxy {
  readonly asked: Asked[] = [];
  connections: Connections = 'open';
  readonly #options: FaultProxyOptions;
  readonly #agent: Agent;
  readonly #https: HttpsServer;
  readonly #relay: Server;
  readonly #open = new Set<Socket>();
  /** The client's connection behind the port that the inner server sees. */
  readonly #clients = new Map<number, Socket>();
  #rules: ActiveRule[] = [];
  #pages = new WeakMap<Rule, number>();

  constructor(options: FaultProxyOptions) {
    this.#options = options;
    const certificate = readFileSync(options.certificateFile);
    this.#agent = new Agent({ keepAlive: true, ca: certificate });
    this.#https = createHttpsServer({ cert: certificate, key: readFileSync(options.keyFile) }, (incoming, response) => {
      void this.#serve(incoming, response).catch(() => incoming.socket.destroy());
    });
    this.#https.on('tlsClientError', () => undefined);
    // Ours are the faults, not Node's time limits for slow clients.
    Object.assign(this.#https, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 60_000 });
    this.#relay = createServer((socket) => this.#accept(socket));
  }

  async start(): Promise<void> {
    this.#https.listen(0, '127.0.0.1');
    this.#relay.listen(0, '127.0.0.1');
    await Promise.all([once(this.#https, 'listening'), once(this.#relay, 'listening')]);
  }

  async stop(): Promise<void> {
    this.cutAll();
    this.#agent.destroy();
    this.#https.closeAllConnections();
    this.#https.close();
    this.#relay.close();
    await Promise.all([once(this.#https, 'close'), once(this.#relay, 'close')]);
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#relay.address() as AddressInfo).port}`;
  }

  /** The first rule that matches a request acts on it. */
  inject(...rules: Rule[]): void {
    this.#rules.push(...rules.map((rule) => ({ ...rule, hits: 0 })));
  }

  /** How often each injected rule acted, in their order. */
  hits(): number[] {
    return this.#rules.map(({ hits }) => hits);
  }

  /** No new faults. What hangs goes on hanging: to notice that is the client's part. */
  heal(): void {
    this.#rules = [];
    this.connections = 'open';
  }

  /** Resets every connection. */
  cutAll(): void {
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  /** Every connection stays open, and nothing passes it any more in either direction: its other end has lost power. */
  freezeAll(): void {
    for (const socket of this.#open) socket.emit('freeze');
  }

  #accept(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    socket.on('error', () => undefined);
    if (this.connections === 'refused') socket.resetAndDestroy();
    else if (this.connections === 'resetInHandshake') socket.once('data', () => socket.resetAndDestroy());
    else if (this.connections === 'silentInHandshake') socket.resume();
    else this.#join(socket);
  }

  #join(socket: Socket): void {
    const inner = connect((this.#https.address() as AddressInfo).port, '127.0.0.1');
    inner.once('connect', () => {
      const { localPort = 0 } = inner;
      this.#clients.set(localPort, socket);
      inner.once('close', () => this.#clients.delete(localPort));
    });
    inner.on('error', () => undefined);
    let isFrozen = false;
    socket.once('freeze', () => {
      isFrozen = true;
      socket.unpipe(inner).resume();
      inner.unpipe(socket).resume();
    });
    // What ends badly on one side ends badly on the other.
    socket.once('close', () => inner.destroy());
    inner.once('close', () => {
      if (isFrozen) return;
      socket.end();
    });
    socket.pipe(inner);
    inner.pipe(socket, { end: false });
  }

  #faultFor(asked: Asked): Fault | undefined {
    for (const rule of this.#rules) {
      const { matches, times = Number.POSITIVE_INFINITY, probability = 1 } = rule;
      if (rule.hits >= times || !matches(asked) || this.#options.random() >= probability) continue;
      rule.hits += 1;
      if (rule.fault.kind !== 'pages' || rule.fault.expiredPage === undefined) return rule.fault;
      // A list without a token begins anew.
      const page = asked.query.has('continue') ? (this.#pages.get(rule) ?? 0) + 1 : 0;
      this.#pages.set(rule, page);
      return page === rule.fault.expiredPage ? EXPIRED : rule.fault;
    }
    return undefined;
  }

  #reset(response: ServerResponse): void {
    this.#clients.get(response.socket?.remotePort ?? 0)?.resetAndDestroy();
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? '/', this.#options.upstreamUrl);
    const isWatch = url.searchParams.has('watch');
    const asked = {
      method: incoming.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      isWatch,
      isList: incoming.method === 'GET' && !isWatch,
      resource: url.pathname.slice(url.pathname.lastIndexOf('/') + 1),
    };
    this.asked.push(asked);
    response.on('error', () => undefined);
    const fault = this.#faultFor(asked);
    if (fault?.kind === 'answer') {
      incoming.resume();
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body);
    } else if (fault?.kind === 'empty') response.writeHead(200, { 'content-type': 'application/json' }).end();
    else if (fault?.kind === 'silent') response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    else if (fault?.kind === 'cut') this.#reset(response);
    else if (fault?.kind !== 'neverAnswers') {
      if (fault?.kind === 'delay') await sleep(fault.delayMs);
      if (fault?.kind === 'pages' && url.searchParams.has('limit')) url.searchParams.set('limit', String(fault.limit));
      await this.#pass(incoming, response, url, fault);
    }
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse, url: URL, fault: Fault | undefined): Promise<void> {
    const options: RequestOptions = { method: incoming.method, headers: incoming.headers, agent: this.#agent };
    const outgoing = request(url, options);
    response.once('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
    let answer: IncomingMessage;
    try {
      [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    } catch {
      this.#reset(response);
      return;
    }
    outgoing.on('error', () => undefined);
    // A length would be wrong for a body that is changed on its way.
    const { 'content-length': _length, ...headers } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, headers);
    response.flushHeaders();
    try {
      for await (const chunk of changed(answer, fault)) {
        if (response.destroyed) return;
        if (!response.write(chunk)) await once(response, 'drain');
      }
      response.end();
    } catch {
      this.#reset(response);
    }
  }
}

const EXPIRED: Fault = {
  kind: 'answer',
  status: 410,
  body: JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'the token has expired' }),
};

/** Throws where the connection is to be reset. */
async function* changed(
  body: AsyncIterable<Buffer>,
  fault: Fault | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  if (fault?.kind === 'damage') yield* damaged(body, fault.damage);
  else if (fault?.kind === 'drip') yield* dripped(body, fault.bytes, fault.everyMs);
  else if (fault?.kind === 'cutBody') yield* cut(body, fault.bytes);
  else yield* body;
}

async function* dripped(body: AsyncIterable<Buffer>, bytes: number, everyMs: number): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    for (let from = 0; from < chunk.length; from += bytes) {
      yield chunk.subarray(from, from + bytes);
      await sleep(everyMs);
    }
  }
}

async function* cut(body: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes;
  for await (const chunk of body) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) {
      // What was written should leave before the reset does.
      await sleep(5);
      throw new Error('cut');
    }
  }
}
