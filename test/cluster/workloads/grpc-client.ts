// An application that calls shop.Orders of payments by gRPC: it does what the control port asks, all calls on one connection, and reports what
// it saw, as a library of gRPC would tell it.
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { serveControl } from './control.ts';
import { frame, MessageReader } from './grpc-messages.ts';

export interface GrpcLoad {
  method: 'Get' | 'Charge' | 'Watch' | 'Chat';
  calls: number;
  /** In progress at a time. */
  concurrency?: number;
  /** Messages of each call; Chat sends the next one when the one before has come back. */
  messages?: number;
}

export interface GrpcReport {
  /** Calls by their status of gRPC. */
  statuses: Record<string, number>;
  /** By breakwater-reason. */
  reasons: Record<string, number>;
  servedBy: Record<string, number>;
  /** Messages of all answers. */
  messages: number;
  /** Calls with exactly the answers that they were to have. */
  right: number;
}

interface Outcome {
  head: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
  messages: string[];
}

let session: ClientHttp2Session | undefined;

function connection(): ClientHttp2Session {
  if (session === undefined || session.closed || session.destroyed) {
    session = connect('http://payments:8080');
    session.on('error', () => undefined);
  }
  return session;
}

function call(method: string, count: number): Promise<Outcome> {
  const stream = connection().request({
    ':method': 'POST',
    ':path': `/shop.Orders/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const outcome: Outcome = { head: {}, trailers: {}, messages: [] };
  const say = (nth: number) => stream.write(frame(Buffer.from(`${method} ${nth}`)));
  const reader = new MessageReader(stream);
  reader.onMessage = (message) => {
    outcome.messages.push(message.toString());
    if (method !== 'Chat') return;
    if (outcome.messages.length < count) say(outcome.messages.length);
    else stream.end();
  };
  say(0);
  if (method !== 'Chat') stream.end();
  return new Promise((resolve) => {
    stream.on('response', (head) => {
      outcome.head = head;
    });
    stream.on('trailers', (trailers) => {
      outcome.trailers = trailers;
    });
    stream.on('error', () => undefined);
    stream.on('close', () => resolve(outcome));
  });
}

/** What answers a call that goes well. */
function isRight(method: string, count: number, { messages }: Outcome): boolean {
  const wanted = method === 'Watch' ? (nth: number) => String(nth) : (nth: number) => `${method} ${nth}`;
  return messages.length === count && messages.every((message, nth) => message === wanted(nth));
}

const tally = (counts: Record<string, number>, value: unknown): void => {
  if (typeof value === 'string' && value !== '') counts[value] = (counts[value] ?? 0) + 1;
};

async function run({ method, calls, concurrency = 1, messages = 1 }: GrpcLoad): Promise<GrpcReport> {
  const report: GrpcReport = { statuses: {}, reasons: {}, servedBy: {}, messages: 0, right: 0 };
  let begun = 0;
  const worker = async () => {
    while (begun < calls) {
      begun += 1;
      const outcome = await call(method, messages);
      const { head, trailers } = outcome;
      tally(report.statuses, trailers['grpc-status'] ?? head['grpc-status'] ?? 'none');
      tally(report.reasons, trailers['breakwater-reason'] ?? head['breakwater-reason']);
      tally(report.servedBy, head['x-served-by']);
      report.messages += outcome.messages.length;
      if (isRight(method, messages, outcome)) report.right += 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return report;
}

serveControl({ load: run });
