// An API server for tests that does what its script says, over real HTTP: the failures of a network cannot be asked of a real one.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Answers one request. Leaving the response open is an answer, too. */
export type Answer = (response: ServerResponse, asked: Asked) => void;

export class ScriptedApi {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  readonly #script: Answer[] = [];
  readonly #waiting: (() => void)[] = [];
  connections = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on('connection', () => {
      this.connections += 1;
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** The next requests get these answers, in this order; one for which there is none is left waiting until there is. */
  answer(...answers: Answer[]): void {
    this.#script.push(...answers);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves with the request of this number, 0 being the first. */
  async request(number: number): Promise<Asked> {
    for (let turn = 0; turn < 2_000; turn += 1) {
      const asked = this.asked[number];
      if (asked !== undefined) return asked;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(
      `there was no request ${number}, only ${this.asked.map(({ path, query }) => `${path}?${query.toString()}`).join(', ')}`,
    );
  }

  kubeConfig(): KubeConfig {
    const kubeConfig = new KubeConfig();
    const { port } = this.#server.address() as AddressInfo;
    const cluster = { name: 'test', server: `http://127.0.0.1:${port}`, skipTLSVerify: true };
    kubeConfig.loadFromClusterAndUser(cluster, { name: 'test', token: 'secret-token' });
    return kubeConfig;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const url = new URL(request.url ?? '/', 'http://api');
    const asked = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body,
    };
    this.asked.push(asked);
    while (this.#script.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#script.shift()?.(response, asked);
  }
}

export function json(status: number, body: object, headers: Record<string, string> = {}): Answer {
  return (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

export function failure(code: number, reason: string, more: object = {}, headers: Record<string, string> = {}): Answer {
  return json(
    code,
    { kind: 'Status', status: 'Failure', code, reason, message: `scripted ${reason}`, ...more },
    headers,
  );
}

export interface Thing {
  metadata: { name: string; namespace: string; resourceVersion: string };
  value: number;
}

export function thing(name: string, resourceVersion: number, value = resourceVersion): Thing {
  return { metadata: { name, namespace: 'shop', resourceVersion: String(resourceVersion) }, value };
}

export function list(resourceVersion: number, items: Thing[], continueToken = ''): Answer {
  return json(200, {
    kind: 'ThingList',
    metadata: { resourceVersion: String(resourceVersion), continue: continueToken },
    items,
  });
}

/** A watch that the test feeds. */
export class Feed {
  #response: ServerResponse | undefined;
  #opened: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => {
    this.#opened = resolve;
  });

  readonly answer: Answer = (response) => {
    this.#response = response;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    this.#opened();
  };

  send(type: string, object: object): void {
    this.write(`${JSON.stringify({ type, object })}\n`);
  }

  write(text: string): void {
    this.#response?.write(text);
  }

  end(): void {
    this.#response?.end();
  }

  /** As when a machine in between loses its state: the connection is reset. */
  reset(): void {
    this.#response?.socket?.resetAndDestroy();
  }

  get isClosed(): boolean {
    return this.#response?.destroyed === true || this.#response?.socket?.destroyed === true;
  }
}
