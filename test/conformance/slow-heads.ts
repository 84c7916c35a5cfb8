// Connections that begin a request and never end its head: what slowloris does, and a phone in a tunnel. They are opened anew as they are
// closed, so that as many are there at any moment.
import { connect, type Socket } from 'node:net';

/** Opened in one go; more would only fill the backlog of the listener. */
const AT_ONCE = 250;
const HALF_A_HEAD = 'GET / HTTP/1.1\r\nHost: service\r\nX-Slow: ';

export class SlowHeads {
  /** Ended by the other side, with what it said. */
  readonly answers = new Map<string, number>();
  readonly #port: number;
  readonly #count: number;
  readonly #open = new Set<Socket>();
  #stopped = false;

  constructor(port: number, count: number) {
    this.#port = port;
    this.#count = count;
  }

  get connected(): number {
    let connected = 0;
    for (const socket of this.#open) if (socket.readyState === 'open') connected += 1;
    return connected;
  }

  /** Opens what is missing, to be called again and again. */
  fill(): void {
    const missing = Math.min(AT_ONCE, this.#count - this.#open.size);
    for (let nth = 0; nth < missing && !this.#stopped; nth += 1) this.#connect();
  }

  #connect(): void {
    const socket = connect({ port: this.#port, host: '127.0.0.1' }, () => socket.write(HALF_A_HEAD));
    this.#open.add(socket);
    socket.on('data', (chunk: Buffer) => this.#note(chunk.toString('latin1').split('\r\n', 1)[0] ?? ''));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#note(error.code ?? error.message));
    socket.on('close', () => this.#open.delete(socket));
  }

  #note(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  stop(): void {
    this.#stopped = true;
    for (const socket of this.#open) socket.destroy();
  }
}
