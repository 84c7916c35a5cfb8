// What the sidecar's two small HTTP servers share: fixed paths, answers of text, on node:http alone. A framework would be 15 MB of memory
// beside every application.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';
import type { Part } from '../../runtime/lifecycle.ts';
import type { Logger } from '../../runtime/log.ts';
import { nodeHttp } from '../../runtime/node-http.ts';

export interface RunningServer {
  /** The port it listens on. */
  port: number;
  close(): Promise<void>;
}

export interface Answer {
  /** 200 where absent. */
  status?: number;
  /** text/plain where absent. */
  type?: string;
  text: string;
}

/** By method and path: "GET /livez". Each GET answers HEAD, too. */
export type Routes = Readonly<Record<string, (request: IncomingMessage) => Answer | Promise<Answer>>>;

export interface ServerOptions {
  host: string;
  /** 0: a free one. */
  port: number;
  clock: Clock;
  log: Logger;
}

const MAX_BODY_BYTES = 1024;
const REQUEST_TIMEOUT_MS = 10_000;
/** How often it is looked who took longer than that; a connection that says nothing counts from its beginning. */
const LOOK_EVERY_MS = 1_000;
/**
 * Of probes, scrapes and people together; without a bound whoever opens connections here would take the files of the data path. One more takes
 * the place of the oldest: were it refused, any pod that holds so many would keep the kubelet out, which would end the container for that.
 */
export const MAX_CONNECTIONS = 128;
/** Whoever does not take an answer within it loses the connection, which would else be one of these for ever, and its text in memory. */
export const ANSWER_TIMEOUT_MS = 10_000;
const TEXT = 'text/plain; charset=utf-8';

/** Throws what listening throws. */
export async function startServer(routes: Routes, { host, port, clock, log }: ServerOptions): Promise<RunningServer> {
  const timeouts = {
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: LOOK_EVERY_MS,
  };
  const server = nodeHttp.createServer(timeouts, (request, response) => {
    readBody(request, () => void respond(routes, request, response, clock));
  });
  boundConnections(server);
  // Thousands of requests fit into one read, and the answers to all of them would be made before the first is taken.
  server.maxRequestsPerSocket = 1;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      // One connection could not be accepted, for want of memory say: no reason to end all others.
      server.on('error', (error) => log.error({ err: error, host, port }, 'listener failed'));
      resolve();
    });
  });
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function boundConnections(server: Server): void {
  /** In the order in which they came. */
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const [oldest] = open;
    if (open.size <= MAX_CONNECTIONS || oldest === undefined) return;
    open.delete(oldest);
    oldest.destroy();
  });
}

/** No route wants a body; one that comes is read to its end, so that its sender reads the answer, and within a bound. */
function readBody(request: IncomingMessage, onEnd: () => void): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) request.destroy();
  });
  request.on('error', () => undefined);
  request.on('end', onEnd);
}

async function respond(
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
  clock: Clock,
): Promise<void> {
  const { status = 200, type = TEXT, text } = await answerTo(routes, request);
  response.once(
    'close',
    clock.after(ANSWER_TIMEOUT_MS, () => response.destroy()),
  );
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(text), connection: 'close' };
  response.writeHead(status, headers);
  response.end(text);
}

async function answerTo(routes: Routes, request: IncomingMessage): Promise<Answer> {
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const path = request.url?.split('?', 1)[0] ?? '';
  const key = `${method} ${path}`;
  const route = Object.hasOwn(routes, key) ? routes[key] : undefined;
  if (!route) return { status: 404, text: 'not found\n' };
  try {
    return await route(request);
  } catch (error) {
    return { status: 500, text: `this failed, which it should not: ${String(error)}\n` };
  }
}

/** A server as a part of the process; the port it got is left in `ports[key]`. */
export function serverPart<Key extends string>(
  name: string,
  ports: Record<Key, number>,
  key: Key,
  start: () => Promise<RunningServer>,
): Part {
  let running: RunningServer | null = null;
  return {
    name,
    async start() {
      running = await start();
      ports[key] = running.port;
    },
    stop: () => running?.close(),
  };
}
