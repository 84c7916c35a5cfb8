// A dependency that speaks gRPC, by hand on node:http2, for its messages mean nothing to anybody here: shop.Orders with Get and Charge (one message
// each way), Watch (answers with many) and Chat (answers each message as it comes), and grpc.health.v1.Health. h2c on port 8080, control on 9000.
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { hostname } from 'node:os';
import { serveControl } from './control.ts';
import { frame, MessageReader } from './grpc-messages.ts';

export interface GrpcBehavior {
  /** Status of every call of shop.Orders. */
  status: number;
  /** Status of those that say of no attempt before them, whatever the others get. */
  firstAttemptStatus: number;
  /** What Health/Check answers. */
  serving: boolean;
}

export interface GrpcCounts {
  /** Calls of shop.Orders, by method. */
  calls: Record<string, number>;
  connections: number;
}

const WELL: GrpcBehavior = { status: 0, firstAttemptStatus: 0, serving: true };
const MESSAGES_OF_WATCH = 10;

let behavior = WELL;
let counts: GrpcCounts = { calls: {}, connections: 0 };

const OK = { ':status': 200, 'content-type': 'application/grpc', 'x-served-by': hostname() } as const;

/** An answer that is nothing but a status. */
function refuse(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ...OK, 'grpc-status': status, 'grpc-message': 'as it was told' }, { endStream: true });
}

function begin(stream: ServerHttp2Stream): void {
  stream.respond(OK, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }));
}

const METHODS: Record<string, (stream: ServerHttp2Stream, reader: MessageReader) => void> = {
  Get: answerWithOne,
  Charge: answerWithOne,
  Watch: (stream) => {
    begin(stream);
    for (let message = 0; message < MESSAGES_OF_WATCH; message += 1) stream.write(frame(Buffer.from(String(message))));
    stream.end();
  },
  Chat: (stream, reader) => {
    begin(stream);
    reader.onMessage = (message) => stream.write(frame(message));
    reader.onEnd = () => stream.end();
  },
};

function answerWithOne(stream: ServerHttp2Stream, reader: MessageReader): void {
  reader.onMessage = (message) => {
    begin(stream);
    stream.end(frame(message));
  };
}

function check(stream: ServerHttp2Stream): void {
  begin(stream);
  stream.end(frame(Buffer.from([0x08, behavior.serving ? 1 : 2])));
}

function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  stream.on('error', () => undefined);
  const reader = new MessageReader(stream);
  const [, service, method = ''] = String(headers[':path']).split('/');
  if (service === 'grpc.health.v1.Health') {
    check(stream);
    return;
  }
  counts.calls[method] = (counts.calls[method] ?? 0) + 1;
  const isFirst = headers['grpc-previous-rpc-attempts'] === undefined;
  const status = (isFirst && behavior.firstAttemptStatus) || behavior.status;
  const answer = METHODS[method];
  if (status !== 0) refuse(stream, status);
  else if (service !== 'shop.Orders' || answer === undefined) refuse(stream, 12);
  else answer(stream, reader);
}

createServer()
  .on('session', (session) => {
    counts.connections += 1;
    session.on('error', () => undefined);
  })
  .on('stream', serve)
  .listen(8080);

serveControl({
  behave: (wanted: Partial<GrpcBehavior>) => {
    behavior = { ...WELL, ...wanted };
    return behavior;
  },
  reset: () => {
    counts = { calls: {}, connections: counts.connections };
    return counts;
  },
  counts: () => counts,
});
