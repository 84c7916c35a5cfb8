// Both sides of a data path: those that play a script on raw sockets, and those that mean well, on node:http2, and notice what no proxy may pass on
// to them.
import http2, { type ClientHttp2Session, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Call, Step } from './script.ts';

/** How long `listen` waits at most. */
const LISTEN_MS = 30;
/** A call that has not ended by then never ends; its timeouts are below a second (target.ts). */
const CALL_WITHIN_MS = 20_000;
/** An application that cancels does so by then. */
const CANCEL_WITHIN_MS = 30;

/** Plays the steps, and destroys the socket behind them. */
export async function play(socket: Socket, steps: readonly Step[]): Promise<void> {
  let heard = 0;
  let wake = (): void => {};
  socket.on('data', () => {
    heard++;
    wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => wake());
  let told = 0;
  const listen = async (): Promise<void> => {
    if (heard === told && !socket.destroyed) {
      const something = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const over = new AbortController();
      await Promise.race([something, sleep(LISTEN_MS, undefined, { signal: over.signal }).catch(() => undefined)]);
      over.abort();
    }
    told = heard;
  };
  let together: Buffer[] = [];
  const flush = (): void => {
    if (together.length > 0 && socket.writable) socket.write(Buffer.concat(together));
    together = [];
  };
  for (const step of steps) {
    if (typeof step !== 'string') {
      together.push(step);
      continue;
    }
    flush();
    if (socket.destroyed) return;
    if (step === 'listen') await listen();
    else if (step === 'turn') await new Promise((resolve) => setImmediate(resolve));
    else if (step === 'pause') socket.pause();
    else if (step === 'resume') socket.resume();
    else if (step === 'end') socket.end();
    // Behind a FIN libuv resets nothing, and the socket of Node would never tell of its end.
    else if (socket.writableEnded || socket.connecting) socket.destroy();
    else socket.resetAndDestroy();
  }
  flush();
  await listen();
  socket.destroy();
}

export async function playApplication(port: number, steps: readonly Step[]): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await play(socket, steps);
  await closed;
}

/** A dependency each of whose connections plays the steps that are set. */
export class HostileDependency {
  steps: readonly Step[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    void play(socket, this.steps);
  });

  async listen(): Promise<number> {
    await new Promise<void>((listening) => this.#server.listen(0, '127.0.0.1', listening));
    return (this.#server.address() as AddressInfo).port;
  }

  /** What is connected to it is so no more. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

const PIECE = Buffer.alloc(65_536, 'b');
/** By the paths of PATHS in sides.ts. */
const ANSWERS: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  '/echo': (stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  },
  '/big': (stream) => {
    stream.respond({ ':status': 200, 'content-length': 4 * PIECE.length });
    stream.end(Buffer.concat([PIECE, PIECE, PIECE, PIECE]));
  },
  '/hang': () => {},
  '/endless': (stream) => {
    stream.respond({ ':status': 200 });
    const write = (): void => {
      while (!stream.destroyed && stream.write(PIECE));
      if (!stream.destroyed) stream.once('drain', write);
    };
    write();
  },
  '/reset': (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
  '/refuse': (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM),
  '/early': (stream) => {
    stream.respond({ ':status': 413, 'content-length': 2 });
    stream.end('no');
  },
  '/interim': (stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</a>' });
    stream.respond({ ':status': 200 }, { endStream: true });
  },
  '/trailers': (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-last': '1', constructor: '2' }));
    stream.end('body');
  },
};
const answer = (stream: ServerHttp2Stream): void => {
  stream.respond({ ':status': 200, 'content-length': 2 });
  stream.end('ok');
};

/** One that means well. What it is sent by a sidecar is HTTP/2, whatever the application sends that. */
export class GoodDependency {
  /** What came that may not come. */
  readonly wrong: string[] = [];
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #server = http2.createServer();

  async listen(): Promise<number> {
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', (error: NodeJS.ErrnoException) => {
        // A sidecar that was killed, or stopped, resets its connections.
        if (error.code !== 'ECONNRESET') this.wrong.push(`a dependency was sent what is no HTTP/2: ${error.message}`);
      });
      session.on('frameError', (type, code) => this.wrong.push(`a dependency cannot write a frame: ${type} ${code}`));
    });
    this.#server.on('stream', (stream, fields) => {
      stream.on('error', () => {});
      stream.resume();
      // Each by its own property: the path is anything.
      const path = String(fields[':path']);
      (Object.hasOwn(ANSWERS, path) ? (ANSWERS[path] ?? answer) : answer)(stream as ServerHttp2Stream);
    });
    await new Promise<void>((listening) => this.#server.listen(0, '127.0.0.1', listening));
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
  }
}

/** An application that means well. */
export class GoodApplication {
  readonly wrong: string[] = [];
  readonly #session: ClientHttp2Session;
  #ending = false;

  constructor(port: number) {
    this.#session = http2.connect(`http://127.0.0.1:${port}`);
    this.#session.on('error', (error) => {
      if (!this.#ending) this.wrong.push(`an application that means well has lost its connection: ${error.message}`);
    });
    this.#session.on('goaway', (code) => {
      if (!this.#ending) this.wrong.push(`an application that means well was sent away: code ${code}`);
    });
  }

  /** Resolves with the status when the stream is over, 0: there was none; null: it is not over in its time. */
  call(path: string, { method, bytes, last }: Call): Promise<number | null> {
    if (this.#session.destroyed || this.#session.closed) return Promise.resolve(0);
    const stream = this.#session.request(
      { ':path': path, ':method': method },
      { endStream: bytes === 0 && last !== 'nothing' },
    );
    let status = 0;
    stream.on('error', () => {});
    stream.on('response', (fields) => {
      status = Number(fields[':status']);
    });
    stream.resume();
    if (bytes > 0) stream.write(Buffer.alloc(bytes, 'u'));
    if (bytes > 0 && last === 'end') stream.end();
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(null), CALL_WITHIN_MS);
      const cancel =
        last === 'cancel'
          ? setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), (bytes * 7) % CANCEL_WITHIN_MS)
          : null;
      stream.on('close', () => {
        clearTimeout(late);
        if (cancel !== null) clearTimeout(cancel);
        resolve(status);
      });
    });
  }

  close(): void {
    this.#ending = true;
    this.#session.destroy();
  }
}
