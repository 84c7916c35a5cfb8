// The application of a soak: calls of every kind, each with its one end in the ledger. One of a hundred goes away before it is answered.
import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { Random } from '../../runtime/random.ts';
import type { Ledger } from './ledger.ts';
import { bodyOf, messageOf } from './servers.ts';

const ABORT_SHARE = 0.01;
const ABORT_AFTER_MS = 20;

export interface CallerOptions {
  ledger: Ledger;
  random: Random;
  /** Port of the sidecar, by dependency. */
  port: (name: string) => number;
  nowMs: () => number;
}

export class Callers {
  readonly #options: CallerOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });
  #session: ClientHttp2Session | null = null;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  close(): void {
    this.#agent.destroy();
    this.#session?.destroy();
  }

  /** True: this one is to go away before its answer. */
  #leaves(): boolean {
    return this.#options.random() < ABORT_SHARE;
  }

  http1(): void {
    const { ledger, nowMs, port, random } = this.#options;
    const once = random() < 0.3;
    const id = ledger.begin('HTTP/1.1', once, nowMs());
    const end = onlyFirst((outcome) => ledger.end(id, outcome));
    const outgoing = request(
      { host: '127.0.0.1', port: port('http1'), path: `/${id}`, method: once ? 'POST' : 'GET', agent: this.#agent },
      (incoming) => {
        let text = '';
        incoming.setEncoding('latin1').on('data', (chunk: string) => {
          text += chunk;
        });
        incoming.on('error', () => end('broken off'));
        incoming.on('end', () => end(judge(id, incoming.statusCode, incoming.headers, text)));
      },
    );
    outgoing.on('error', () => end('broken off'));
    outgoing.end(once ? 'x'.repeat(2_000) : undefined);
    if (this.#leaves()) {
      setTimeout(() => {
        outgoing.destroy();
        end('went away');
      }, ABORT_AFTER_MS);
    }
  }

  http2(grpc: boolean): void {
    const { ledger, nowMs } = this.#options;
    const id = ledger.begin(grpc ? 'gRPC' : 'HTTP/2', grpc, nowMs());
    const end = onlyFirst((outcome) => ledger.end(id, outcome));
    const headers = grpc
      ? { ':method': 'POST', ':path': `/soak/${id}`, 'content-type': 'application/grpc', te: 'trailers' }
      : { ':method': 'GET', ':path': `/${id}` };
    const stream = this.#openSession().request(headers);
    let head: Fields = {};
    let status = 0;
    let text = '';
    let trailers: Fields = {};
    stream.on('response', (fields) => {
      head = { ...fields };
      status = Number(fields[':status']);
    });
    stream.on('trailers', (fields) => {
      trailers = { ...fields };
    });
    stream.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('error', () => end('broken off'));
    stream.on('close', () => {
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) end('broken off');
      else if (!grpc) end(judge(id, status, head, text));
      else end(judgeGrpc(id, { ...head, ...trailers }, text));
    });
    stream.end(grpc ? messageOf('x') : undefined);
    if (this.#leaves()) {
      setTimeout(() => {
        stream.close(constants.NGHTTP2_CANCEL);
        end('went away');
      }, ABORT_AFTER_MS);
    }
  }

  #openSession(): ClientHttp2Session {
    if (this.#session === null || this.#session.closed || this.#session.destroyed) {
      const session = connectHttp2(`http://127.0.0.1:${this.#options.port('http2')}`);
      session.on('error', () => undefined);
      this.#session = session;
    }
    return this.#session;
  }

  webSocket(): void {
    const { ledger, nowMs, port, random } = this.#options;
    // A handshake is a GET, which may be repeated.
    const id = ledger.begin('WebSocket', false, nowMs());
    const end = onlyFirst((outcome) => ledger.end(id, outcome));
    const socket = new WebSocket(`ws://127.0.0.1:${port('socket')}/${id}`);
    let left = 5 + Math.floor(random() * 20);
    const sent = `${id}:${'w'.repeat(Math.floor(random() * 20_000))}`;
    socket.on('open', () => socket.send(sent));
    socket.on('message', (data: Buffer) => {
      if (data.toString('latin1') !== sent) end(`wrong: an echo of ${data.length} bytes`);
      left -= 1;
      if (left > 0) socket.send(sent);
      else socket.close();
    });
    socket.on('unexpected-response', (_request, response) => {
      end(`${response.statusCode} ${String(response.headers['breakwater-reason'])}`);
      response.destroy();
    });
    socket.on('error', () => end('broken off'));
    socket.on('close', () => end(left === 0 ? 'right' : 'broken off'));
  }

  tcp(): void {
    const { ledger, nowMs, port, random } = this.#options;
    const id = ledger.begin('TCP', true, nowMs());
    const end = onlyFirst((outcome) => ledger.end(id, outcome));
    const sent = `${id}:${'t'.repeat(Math.floor(random() * 100_000))}`;
    let received = '';
    const socket = connect(port('tcp'), '127.0.0.1', () => socket.write(sent));
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (received.length < sent.length) return;
      end(received === sent ? 'right' : `wrong: an echo of ${received.length} bytes`);
      socket.end();
    });
    socket.on('error', () => end('broken off'));
    socket.on('close', () => end('broken off'));
  }
}

/** What the sockets say again after the end is not an end of the request. */
function onlyFirst(end: (outcome: string) => void): (outcome: string) => void {
  let ended = false;
  return (outcome) => {
    if (ended) return;
    ended = true;
    end(outcome);
  };
}

type Fields = Readonly<Record<string, string | readonly string[] | number | boolean | undefined>>;

function judge(id: string, status: number | undefined, headers: Fields, text: string): string {
  const reason = headers['breakwater-reason'];
  if (reason !== undefined) return `${status} ${String(reason)}`;
  if (status === 503 && text === '') return '503 of the server';
  return status === 200 && text === bodyOf(id) ? 'right' : `wrong: ${status} with ${text.length} bytes`;
}

function judgeGrpc(id: string, fields: Fields, text: string): string {
  const reason = fields['breakwater-reason'];
  if (reason !== undefined) return `${String(fields['grpc-status'])} ${String(reason)}`;
  if (fields['grpc-status'] === '14') return '14 of the server';
  const right = fields['grpc-status'] === '0' && text === messageOf(bodyOf(id)).toString('latin1');
  return right ? 'right' : `wrong: status ${String(fields['grpc-status'])} with ${text.length} bytes`;
}
