// What every service of the shop is made of: an HTTP server with a limited number of workers, and a client without any protection.
//
// The workers stand for what bounds a real service: threads, a pool of database connections, memory. They are why one slow dependency
// stops a service that works: calls that wait hold workers, and then nobody is left for the requests that need no payment at all.
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock as clock } from '../../../runtime/clock.ts';
import { type ServiceCommand, type ServiceReport, serviceCommand } from './messages.ts';

const WORKERS = 24;
const REPORT_EVERY_MS = 100;

export interface Answer {
  status: number;
  body: unknown;
}

export interface Caller {
  /** Calls a dependency by its name; a connection that breaks is answer 0. Waits as long as it takes. */
  call(dependency: string, method: string, path: string, headers?: Record<string, string>): Promise<Answer>;
}

/** Undefined: the connection is closed without an answer. */
export type Handler = (method: string, path: string, caller: Caller) => Promise<Answer | undefined>;

/** Serves until the parent process goes. */
export function serve(handle: Handler, onCommand: (command: ServiceCommand) => void = () => undefined): void {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const urls = new Map<string, string>();
  const workers = new Workers(WORKERS);
  let activity: Extract<ServiceReport, { kind: 'activity' }> = { kind: 'activity', calls: [], arrivals: [] };
  const report = (message: ServiceReport) => process.send?.(message);

  const caller: Caller = {
    async call(dependency, method, path, headers = {}) {
      const startedMs = clock.monotonicMs();
      const base = urls.get(dependency);
      const answer = base === undefined ? { status: 0, body: null } : await send(agent, base + path, method, headers);
      activity.calls.push({ dependency, ok: isOk(answer), durationMs: clock.monotonicMs() - startedMs });
      return answer;
    },
  };

  const server = createServer((incoming, response) => {
    activity.arrivals.push(clock.unixMs());
    incoming.resume();
    void workers
      .run(() => handle(incoming.method ?? 'GET', incoming.url ?? '/', caller))
      .then((answer) => respond(incoming, response, answer));
  });
  server.listen(0, '127.0.0.1', () => report({ kind: 'listening', port: (server.address() as AddressInfo).port }));

  const reportAgain = () => {
    if (activity.calls.length > 0 || activity.arrivals.length > 0) report(activity);
    activity = { kind: 'activity', calls: [], arrivals: [] };
    clock.after(REPORT_EVERY_MS, reportAgain);
  };
  reportAgain();

  process.on('message', (message) => {
    const command = serviceCommand.parse(message);
    if (command.kind === 'dependencies') for (const [name, url] of Object.entries(command.urls)) urls.set(name, url);
    onCommand(command);
  });
  process.on('disconnect', () => process.exit(0));
}

export const isOk = (answer: Answer): boolean => answer.status > 0 && answer.status < 500;

function respond(incoming: IncomingMessage, response: ServerResponse, answer: Answer | undefined): void {
  if (answer === undefined) {
    incoming.socket.destroy();
    return;
  }
  response.writeHead(answer.status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer.body));
}

function send(agent: Agent, url: string, method: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve) => {
    const outgoing = request(url, { agent, method, headers: { ...headers, 'content-length': '0' } }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: readJson(text) }));
      incoming.on('error', () => resolve({ status: 0, body: null }));
    });
    outgoing.on('error', () => resolve({ status: 0, body: null }));
    outgoing.end();
  });
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** At most so many at work; the others wait in line. */
class Workers {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
