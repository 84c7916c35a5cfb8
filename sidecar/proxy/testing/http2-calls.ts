// For the tests of this folder: applications and dependencies that speak HTTP/2, on node:http2.
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Endpoint } from '../../../plan/endpoints.ts';
import { systemClock } from '../../../runtime/clock.ts';

export type Fields = Record<string, string | string[] | number | undefined>;

export interface Http2Answer {
  status: number;
  /** Of a local answer; empty: it is the dependency's own. */
  reason: string;
  fields: Fields;
  /** The 1xx before it. */
  informational: number[];
  body: string;
  trailers: Fields;
  /** Code of RST_STREAM; 0: the stream ended. */
  code: number;
  /** The head was the end of the stream. */
  headOnly: boolean;
}

export interface Http2Application {
  session: ClientHttp2Session;
  /** The last GOAWAY: its code and the last stream; null: none came. */
  readonly goaway: { code: number; lastStream: number } | null;
  request(
    path: string,
    fields?: Fields,
    options?: { endStream?: boolean; waitForTrailers?: boolean },
  ): ClientHttp2Stream;
  /** A whole request, to the end of its stream. */
  call(path: string, fields?: Fields, body?: string | Buffer, trailers?: Fields): Promise<Http2Answer>;
  close(): void;
}

export function application(port: number): Http2Application {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  let goaway: Http2Application['goaway'] = null;
  session.on('goaway', (code, lastStream) => {
    goaway = { code, lastStream };
  });
  const request: Http2Application['request'] = (path, fields = {}, options = {}) => {
    const stream = session.request({ ':path': path, ':authority': 'payments.billing', ...fields }, options);
    stream.on('error', () => {});
    return stream;
  };
  return {
    session,
    get goaway() {
      return goaway;
    },
    request,
    call(path, fields = {}, body, trailers) {
      const stream = request(path, fields, {
        endStream: body === undefined && !trailers,
        waitForTrailers: trailers !== undefined,
      });
      if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      if (body !== undefined || trailers) stream.end(body);
      return answerOf(stream);
    },
    close: () => session.destroy(),
  };
}

export function answerOf(stream: ClientHttp2Stream, withinMs = 5_000): Promise<Http2Answer> {
  const answer: Http2Answer = {
    status: 0,
    reason: '',
    fields: {},
    informational: [],
    body: '',
    trailers: {},
    code: 0,
    headOnly: false,
  };
  stream.on('headers', (fields) => answer.informational.push(Number(fields[':status'])));
  stream.on('response', (fields, flags) => {
    answer.status = Number(fields[':status']);
    answer.fields = { ...fields };
    answer.reason = String(fields['breakwater-reason'] ?? '');
    answer.headOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  });
  stream.on('trailers', (fields) => Object.assign(answer.trailers, fields));
  stream.on('data', (chunk: Buffer) => {
    answer.body += chunk.toString('latin1');
  });
  return new Promise((resolve, reject) => {
    const cancel = systemClock.after(withinMs, () =>
      reject(new Error(`not within ${withinMs} ms: ${JSON.stringify(answer)}`)),
    );
    stream.on('close', () => {
      cancel();
      answer.code = stream.rstCode;
      resolve(answer);
    });
  });
}

export interface Http2Dependency {
  port: number;
  endpoint: Endpoint;
  /** Streams that it has got the head of. */
  heads: number;
  /** Those heads. */
  requests: Fields[];
  sessions: Set<ServerHttp2Session>;
  /** Connections accepted so far. */
  connections: number;
  /** Reads nothing more on the connections that there are, as if the machine were gone. */
  fallSilent(): void;
  close(): Promise<void>;
}

export async function dependency(
  onStream: (stream: ServerHttp2Stream, fields: Fields, nth: number) => void,
  settings: http2.Settings = {},
  /** Speaks TLS, with this certificate. */
  pair: { cert: string; key: string } | null = null,
): Promise<Http2Dependency> {
  const options = { settings, strictSingleValueFields: false };
  const server = pair ? http2.createSecureServer({ ...options, ...pair }) : http2.createServer(options);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  const started: Http2Dependency = {
    port: 0,
    endpoint: { address: '127.0.0.1', port: 0 },
    heads: 0,
    requests: [],
    sessions: new Set(),
    connections: 0,
    fallSilent: () => {
      for (const socket of sockets) (socket as unknown as { _handle: { readStop(): void } })._handle.readStop();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      for (const session of started.sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  server.on('session', (session) => {
    started.connections++;
    started.sessions.add(session);
    session.on('close', () => started.sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream: ServerHttp2Stream, fields) => {
    stream.on('error', () => {});
    started.requests.push({ ...fields });
    onStream(stream, { ...fields }, started.heads++);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  started.port = (server.address() as AddressInfo).port;
  started.endpoint = { address: '127.0.0.1', port: started.port };
  return started;
}

/** What a request to each path meets; a body is awaited. */
const SCRIPTS: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  '/answer': (stream) => {
    stream.respond({ ':status': 200, 'content-length': 2 });
    stream.end('ok');
  },
  '/fail': (stream) => stream.respond({ ':status': 503 }, { endStream: true }),
  '/hang': () => {},
  '/half': (stream) => {
    stream.respond({ ':status': 200, 'content-length': 10 });
    stream.write('half-');
  },
  '/half-reset': (stream) => {
    stream.respond({ ':status': 200, 'content-length': 10 });
    stream.write('half-');
    setImmediate(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  },
  '/reset': (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
  '/refuse': (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM),
  '/disconnect': (stream) => stream.session?.destroy(),
  '/leave': (stream) => stream.session?.goaway(constants.NGHTTP2_NO_ERROR, Math.max(0, (stream.id ?? 0) - 2)),
  '/events': (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
    stream.write('data: 1\n\n');
  },
  '/nonsense': (stream) => {
    stream.respond({ ':status': 200, 'content-length': 'many' });
    stream.end();
  },
};

/** `pair`: speaks TLS, with this certificate. */
export function scriptedDependency(pair: { cert: string; key: string } | null = null): Promise<Http2Dependency> {
  const onStream = (stream: ServerHttp2Stream, fields: Fields): void => {
    const script = SCRIPTS[String(fields[':path'])];
    if (fields[':method'] === 'POST') {
      stream.on('end', () => {
        if (!stream.destroyed) script?.(stream);
      });
      stream.resume();
    } else {
      script?.(stream);
    }
  };
  return dependency(onStream, {}, pair);
}
