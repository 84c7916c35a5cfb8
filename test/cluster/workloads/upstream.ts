// A dependency that counts what reaches it and misbehaves on command: HTTP on port 8080, control on 9000.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import { serveControl } from './control.ts';

/** Where a connection is reset: each is a different moment for whoever waits for the answer. */
export type ResetPoint =
  | 'accept'
  | 'request-head'
  | 'request-body'
  | 'executed'
  | 'response-status-line'
  | 'response-head'
  | 'response-body';

export interface Behavior {
  status: number;
  /** Milliseconds before the answer. */
  delayMs: number;
  /** Milliseconds between the halves of the answer's body. */
  bodyDelayMs: number;
  reset: ResetPoint | 'none' | 'random';
  /** Share of the requests that the reset concerns, from 0 to 1; the others are answered well. */
  share: number;
  /** Requests that are worked on at a time; the others wait for their turn. 0: all of them. */
  capacity: number;
}

/** What a request says of itself and of its caller's time. */
export interface Arrival {
  /** Unix milliseconds. */
  at: number;
  path: string;
  /** Which of our addresses it came to; of IPv4 as "::ffff:198.18.0.7". */
  address: string;
  headers: Record<string, string>;
}

const TOLD_HEADERS = ['x-breakwater-deadline', 'x-breakwater-attempt', 'traceparent', 'tracestate'];
const TOLD_REQUESTS = 100;

const WELL: Behavior = { status: 200, delayMs: 0, bodyDelayMs: 0, reset: 'none', share: 1, capacity: 0 };
const RESET_POINTS: readonly ResetPoint[] = [
  'accept',
  'request-head',
  'request-body',
  'executed',
  'response-status-line',
  'response-head',
  'response-body',
];

let behavior: Behavior = WELL;
/** Behaviours of the next requests, one each, before the lasting one. */
let next: Behavior[] = [];
let counts = { connections: 0, requests: 0, executed: 0, maxConcurrent: 0, resets: {} as Record<string, number> };
/** How often a request with that x-request-id arrived here, complete or not. */
let arrivals = new Map<string, number>();
/** Unix milliseconds of each arrival, bounded. */
let arrivedAt: number[] = [];
/** The newest requests, bounded. */
let told: Arrival[] = [];
let working = 0;
const turns: (() => void)[] = [];
let inProgress = 0;
let draining = false;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function choose(request: IncomingMessage): Behavior & { reset: ResetPoint | 'none' } {
  const lasting = next.shift() ?? (Math.random() < behavior.share ? behavior : WELL);
  // A caller may ask for a delay or a status of its own, whatever the others get.
  const { 'x-delay-ms': delayMs, 'x-status': status } = request.headers;
  const chosen = { ...lasting, delayMs: Number(delayMs ?? lasting.delayMs), status: Number(status ?? lasting.status) };
  const reset =
    chosen.reset === 'random'
      ? (RESET_POINTS[Math.floor(Math.random() * RESET_POINTS.length)] ?? 'executed')
      : chosen.reset;
  return { ...chosen, reset };
}

function tell(request: IncomingMessage): void {
  const headers: Record<string, string> = {};
  for (const name of TOLD_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  const address = request.socket.localAddress ?? '';
  told.push({ at: Date.now(), path: request.url ?? '/', address, headers });
  if (told.length > TOLD_REQUESTS) told.shift();
}

/** Works on a request for as long as it takes, once it is its turn. */
async function work({ capacity, delayMs }: Behavior): Promise<void> {
  if (capacity > 0 && working >= capacity) await new Promise<void>((resolve) => turns.push(resolve));
  else working += 1;
  if (delayMs > 0) await wait(delayMs);
  // Its place goes to the next one, as it is.
  const next = turns.shift();
  if (next) next();
  else working -= 1;
}

function countReset(point: ResetPoint): void {
  counts.resets[point] = (counts.resets[point] ?? 0) + 1;
}

/** Reads the body to its end, or resets in its midst; false where the connection is gone. */
async function receive(request: IncomingMessage, reset: ResetPoint | 'none'): Promise<boolean> {
  try {
    for await (const _chunk of request) {
      if (reset === 'request-body') {
        countReset(reset);
        request.socket.resetAndDestroy();
        return false;
      }
    }
  } catch {
    return false;
  }
  return true;
}

async function respond(response: ServerResponse, chosen: Behavior & { reset: ResetPoint | 'none' }): Promise<void> {
  const socket = response.socket;
  const body = JSON.stringify({ servedBy: hostname(), requests: counts.requests });
  const resetAfter = async (text: string, point: ResetPoint) => {
    countReset(point);
    if (text !== '') socket?.write(text);
    // Time for the bytes to leave: a reset discards what the other side has not read yet.
    await wait(2);
    socket?.resetAndDestroy();
  };
  const head = `HTTP/1.1 ${chosen.status} OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n`;
  if (chosen.reset === 'executed') return resetAfter('', 'executed');
  if (chosen.reset === 'response-status-line') return resetAfter(head.slice(0, 12), 'response-status-line');
  if (chosen.reset === 'response-head') return resetAfter(head, 'response-head');
  if (chosen.reset === 'response-body') return resetAfter(`${head}\r\n${body.slice(0, 4)}`, 'response-body');
  response.writeHead(chosen.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    'x-served-by': hostname(),
    ...(draining ? { connection: 'close' } : {}),
  });
  if (chosen.bodyDelayMs > 0) {
    response.write(body.slice(0, 4));
    await wait(chosen.bodyDelayMs);
    response.end(body.slice(4));
  } else response.end(body);
  return undefined;
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chosen = choose(request);
  counts.requests += 1;
  const id = request.headers['x-request-id'];
  if (typeof id === 'string') arrivals.set(id, (arrivals.get(id) ?? 0) + 1);
  if (arrivedAt.length < 100_000) arrivedAt.push(Date.now());
  tell(request);
  inProgress += 1;
  counts.maxConcurrent = Math.max(counts.maxConcurrent, inProgress);
  response.on('close', () => {
    inProgress -= 1;
  });
  if (chosen.reset === 'request-head') {
    countReset('request-head');
    request.socket.resetAndDestroy();
    return;
  }
  if (!(await receive(request, chosen.reset))) return;
  counts.executed += 1;
  await work(chosen);
  await respond(response, chosen);
}

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  if (request.url === '/healthz') response.end('ok');
  else void serve(request, response);
});

server.on('connection', (socket) => {
  counts.connections += 1;
  socket.on('error', () => undefined);
  if (
    behavior.reset === 'accept' ||
    (behavior.reset === 'random' && Math.random() < behavior.share / RESET_POINTS.length)
  ) {
    countReset('accept');
    socket.resetAndDestroy();
  }
});

function summary() {
  const perRequest = [...arrivals.values()];
  return {
    ...counts,
    inProgress,
    hostname: hostname(),
    distinctIds: arrivals.size,
    maxArrivalsOfOneId: perRequest.reduce((most, count) => Math.max(most, count), 0),
    idsThatArrivedTwice: [...arrivals]
      .filter(([, count]) => count > 1)
      .map(([id]) => id)
      .slice(0, 20),
  };
}

serveControl({
  behave: (wanted: Partial<Behavior>) => {
    behavior = { ...WELL, ...wanted };
    return behavior;
  },
  next: (wanted: Partial<Behavior>[]) => {
    next = wanted.map((one) => ({ ...WELL, ...one }));
    return next.length;
  },
  reset: () => {
    counts = { connections: 0, requests: 0, executed: 0, maxConcurrent: inProgress, resets: {} };
    arrivals = new Map();
    arrivedAt = [];
    told = [];
    return summary();
  },
  counts: summary,
  arrivals: () => arrivedAt,
  told: () => told,
});

// Of both families where there are two.
server.listen(8080);

// Graceful, as a well-behaved service closes: still answering while the endpoints are being withdrawn, then no new work.
process.on('SIGTERM', () => {
  draining = true;
  setTimeout(
    () => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
      setInterval(() => server.closeIdleConnections(), 50).unref();
    },
    Number(process.env['DRAIN_MS'] ?? '2000'),
  );
});
