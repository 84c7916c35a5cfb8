// An application that calls its dependencies: it does what the control port asks, over keep-alive connections, and reports what it saw.
import { Agent, type IncomingMessage, request } from 'node:http';
import { serveControl } from './control.ts';

export interface Load {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** Calls in progress at a time. */
  concurrency?: number;
  /** Ends after that many calls … */
  requests?: number;
  /** … or after that long. */
  durationMs?: number;
  /** Milliseconds between two calls of one worker. */
  pauseMs?: number;
  /** Milliseconds after which a call is given up. */
  timeoutMs?: number;
  /** Milliseconds in which a call should be over: how much longer it took is told beside a timer of this process. */
  dueMs?: number;
  /** Gives each call an x-request-id of its own. */
  ids?: boolean;
  /** One connection for each call. */
  closeConnections?: boolean;
}

export interface Call {
  /** Unix milliseconds of the start. */
  at: number;
  /** 0: no answer. */
  status: number;
  ms: number;
  /** Milliseconds from when a timer of this process for `dueMs` expired, which a busy machine delays as much; 0: it had not. */
  afterDueMs: number;
  /** Header breakwater-reason. */
  reason: string;
  /** Code of the error where there was no complete answer. */
  error: string;
  servedBy: string;
  /** Header breakwater-fallback. */
  fallback: string;
}

export interface Report {
  calls: number;
  statuses: Record<string, number>;
  reasons: Record<string, number>;
  errors: Record<string, number>;
  servedBy: Record<string, number>;
  fallbacks: Record<string, number>;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  maxAfterDueMs: number;
  /** All calls where there are at most 2000, else those that failed or took longest. */
  details: Call[];
}

let lastId = 0;

function callOnce(load: Load, agent: Agent): Promise<Call> {
  const at = Date.now();
  const started = performance.now();
  return new Promise((resolve) => {
    let settled = false;
    let dueAt = Number.POSITIVE_INFINITY;
    const due = load.dueMs === undefined ? undefined : setTimeout(() => (dueAt = performance.now()), load.dueMs);
    const settle = (response: IncomingMessage | undefined, error: string) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      clearTimeout(due);
      resolve({
        at,
        status: response?.statusCode ?? 0,
        ms: performance.now() - started,
        afterDueMs: Math.max(0, performance.now() - dueAt),
        reason: String(response?.headers['breakwater-reason'] ?? ''),
        servedBy: String(response?.headers['x-served-by'] ?? ''),
        fallback: String(response?.headers['breakwater-fallback'] ?? ''),
        error,
      });
    };
    const headers: Record<string, string> = { ...load.headers };
    if (load.ids) headers['x-request-id'] = `${process.pid}-${++lastId}`;
    if (load.body !== undefined) headers['content-length'] = String(Buffer.byteLength(load.body));
    const call = request(load.url, { method: load.method ?? 'GET', headers, agent }, (response) => {
      response.on('data', () => undefined);
      response.on('end', () => settle(response, ''));
      response.on('error', (error: NodeJS.ErrnoException) => settle(response, error.code ?? error.message));
      response.on('aborted', () => settle(response, 'aborted'));
    });
    const timer = setTimeout(() => {
      settle(undefined, 'client-timeout');
      call.destroy();
    }, load.timeoutMs ?? 30_000);
    call.on('error', (error: NodeJS.ErrnoException) => settle(undefined, error.code ?? error.message));
    call.end(load.body);
  });
}

const tally = (values: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const value of values) if (value !== '') counts[value] = (counts[value] ?? 0) + 1;
  return counts;
};

function reportOf(calls: Call[]): Report {
  const times = calls.map((call) => call.ms).sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
  const slowest = at(0.999);
  return {
    calls: calls.length,
    statuses: tally(calls.map((call) => String(call.status))),
    reasons: tally(calls.map((call) => call.reason)),
    errors: tally(calls.map((call) => call.error)),
    servedBy: tally(calls.map((call) => call.servedBy)),
    fallbacks: tally(calls.map((call) => call.fallback)),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: times.at(-1) ?? 0,
    maxAfterDueMs: Math.max(0, ...calls.map((call) => call.afterDueMs)),
    details:
      calls.length <= 2000
        ? calls
        : calls
            .filter((call) => call.error !== '' || call.status >= 400 || call.status === 0 || call.ms >= slowest)
            .slice(0, 2000),
  };
}

class Running {
  readonly #load: Load;
  readonly #calls: Call[] = [];
  #stopped = false;
  readonly done: Promise<Report>;

  constructor(load: Load) {
    this.#load = load;
    this.done = this.#run();
  }

  stop(): Promise<Report> {
    this.#stopped = true;
    return this.done;
  }

  async #run(): Promise<Report> {
    const {
      concurrency = 1,
      requests = Number.POSITIVE_INFINITY,
      durationMs = Number.POSITIVE_INFINITY,
      pauseMs = 0,
    } = this.#load;
    const end = performance.now() + durationMs;
    const agent = new Agent({ keepAlive: !this.#load.closeConnections, maxSockets: concurrency });
    let begun = 0;
    const worker = async () => {
      while (!this.#stopped && begun < requests && performance.now() < end) {
        begun += 1;
        this.#calls.push(await callOnce(this.#load, agent));
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
    agent.destroy();
    return reportOf(this.#calls);
  }
}

const loads = new Map<string, Running>();

serveControl({
  /** Runs a load that ends by itself. */
  load: (load: Load) => new Running(load).done,
  start: (load: Load) => {
    const id = String(loads.size + 1);
    loads.set(id, new Running(load));
    return { id };
  },
  stop: async ({ id }: { id: string }) => loads.get(id)?.stop(),
});
