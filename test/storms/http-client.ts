// A small HTTP client for the callers of a storm: connections that are kept, one request each at a time, a timeout that closes.
import type { Host } from '../simulation/host.ts';
import { ResponseReader } from '../simulation/response-reader.ts';
import type { SimulatedSocket } from '../simulation/socket.ts';
import type { Pod } from './protections.ts';

/** Refused: somebody on the way said no, and the dependency was not asked. */
export type Result = 'answered' | 'failed' | 'timeout' | 'refused';

const KEPT_MS = 3_000;

export class HttpClient {
  readonly #host: Host;
  readonly #connect: (pod: Pod) => SimulatedSocket;
  readonly #idle = new Map<string, Connection[]>();

  constructor(host: Host, connect: (pod: Pod) => SimulatedSocket) {
    this.#host = host;
    this.#connect = connect;
  }

  send(pod: Pod, timeoutMs: number, done: (result: Result) => void): void {
    const key = `${pod.address} ${pod.port}`;
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    const { nowMs } = this.#host.time;
    let connection = idle.pop();
    while (connection && (connection.closed || nowMs - connection.idleSinceMs > KEPT_MS)) {
      connection.close();
      connection = idle.pop();
    }
    const used = connection ?? new Connection(this.#connect(pod));
    used.send(this.#host, timeoutMs, (result, mayKeep) => {
      used.idleSinceMs = this.#host.time.nowMs;
      if (mayKeep) idle.push(used);
      done(result);
    });
  }
}

class Connection {
  idleSinceMs = 0;
  readonly #socket: SimulatedSocket;
  readonly #reader: ResponseReader;
  #done: ((result: Result, mayKeep: boolean) => void) | null = null;
  #status = 0;
  #local = false;
  #mayKeep = true;
  #cancelTimeout = () => {};

  constructor(socket: SimulatedSocket) {
    this.#socket = socket;
    this.#reader = new ResponseReader({
      onHead: ({ status, headers }) => {
        this.#status = status;
        this.#local = headers.has('breakwater-reason');
        if (headers.get('connection') === 'close') this.#mayKeep = false;
      },
      onBody: () => {},
      onEnd: () => this.#end(this.#result(), this.#mayKeep),
      onNonsense: (what) => {
        throw new Error(`the caller of a storm read ${what}`);
      },
    });
    socket.on('data', (bytes: Buffer) => this.#reader.push(bytes));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#end('failed', false));
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  close(): void {
    this.#socket.destroy();
  }

  send(host: Host, timeoutMs: number, done: (result: Result, mayKeep: boolean) => void): void {
    this.#done = done;
    this.#reader.expect('GET');
    this.#socket.write('GET /charges HTTP/1.1\r\nHost: payments\r\n\r\n');
    this.#cancelTimeout = host.after(Math.max(0, timeoutMs), () => {
      this.#end('timeout', false);
      this.#socket.resetAndDestroy();
    });
  }

  #result(): Result {
    if (this.#status < 500) return 'answered';
    return this.#local ? 'refused' : 'failed';
  }

  #end(result: Result, mayKeep: boolean): void {
    const done = this.#done;
    this.#done = null;
    this.#cancelTimeout();
    done?.(result, mayKeep);
  }
}
