// Requests at the times that were meant for them, however long the others take: a pause of the dependency makes them many, not few. GETs and
// POSTs by turns, each with a name of its own, which the dependency says back.
import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const TICK_MS = 10;
const BODY = 'b'.repeat(2_000);
const RIGHT = 'right';
/** The machine had no time for the sidecar, which says nothing about what a test tries: it refused before it did anything. */
const SHED = '503 shed';

export interface OpenLoadOptions {
  /** "HOST:PORT", asked for each request. */
  address: () => string;
  perSecond: number;
  methods?: readonly string[];
  /** Of each request. */
  headers?: () => Record<string, string>;
}

export class OpenLoad {
  /** How often each came; `right` is a 200 with the answer of just this request. */
  readonly outcomes = new Map<string, number>();
  sent = 0;
  readonly #options: OpenLoadOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #startMs = performance.now();
  #open = 0;
  #isStopped = false;
  readonly #running: Promise<void>;

  constructor(options: OpenLoadOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get right(): number {
    return this.outcomes.get(RIGHT) ?? 0;
  }

  /** Those that were neither right nor refused for want of time, each with how often it came. */
  get wrong(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.outcomes].filter(([outcome]) => outcome !== RIGHT && !outcome.endsWith(SHED)));
  }

  /** Resolves when `more` further requests came back right. */
  async served(more: number): Promise<void> {
    const wanted = this.right + more;
    while (this.right < wanted && !this.#isStopped) await sleep(TICK_MS);
  }

  /** Sends nothing more, and resolves when all have their end. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    while (this.#open > 0) await sleep(TICK_MS);
    this.#agent.destroy();
  }

  async #run(): Promise<void> {
    const { perSecond } = this.#options;
    while (!this.#isStopped) {
      const due = ((performance.now() - this.#startMs) * perSecond) / 1_000;
      while (this.sent < due) this.#send();
      await sleep(TICK_MS);
    }
  }

  #send(): void {
    const { address, methods = ['GET', 'POST'], headers } = this.#options;
    this.sent += 1;
    this.#open += 1;
    const method = methods[this.sent % methods.length] ?? 'GET';
    const path = `/${method}-${this.sent}`;
    let ended = false;
    const end = (outcome: string) => {
      if (ended) return;
      ended = true;
      this.#open -= 1;
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    };
    const outgoing = request(
      `http://${address()}${path}`,
      { method, agent: this.#agent, headers: headers?.() ?? {} },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        incoming.on('error', () => end(`${method}: the answer broke off`));
        incoming.on('end', () => end(judge(method, path, incoming, text)));
      },
    );
    outgoing.on('error', ({ message }) => end(`${method}: ${message}`));
    outgoing.end(sendsBody(method) ? BODY : undefined);
  }
}

function judge(method: string, path: string, { statusCode, headers }: IncomingMessage, text: string): string {
  if (statusCode === 200 && text === echoOf(method, path)) return RIGHT;
  return `${method}: ${statusCode} ${String(headers['breakwater-reason'] ?? text.slice(0, 40))}`;
}

const sendsBody = (method: string): boolean => method !== 'GET';
const echoOf = (method: string, path: string): string => `${method} ${path} ${sendsBody(method) ? BODY.length : 0}`;

/** What the dependency does: reads the whole request, and says which one it was. */
export function echo(incoming: IncomingMessage, response: ServerResponse): void {
  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  incoming.on('error', () => undefined);
  incoming.on('end', () => response.end(`${incoming.method} ${incoming.url} ${bytes}`));
}
