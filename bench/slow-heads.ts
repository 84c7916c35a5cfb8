// Connections that begin a request and never end its head: what slowloris does, and a phone in a tunnel. They are opened anew as they are
// closed, so that as many are there at any moment.
import { connect, type Socket } from 'node:net';
import { systemClock as clock } from '../runtime/clock.ts';
import { type Held, NotHeld } from './load.ts';

/** Opened at a time; more would only fill the backlog of the listener. */
const AT_ONCE = 250;
const HALF_A_HEAD = 'GET / HTTP/1.1\r\nHost: service\r\nX-Slow: ';
const FILL_EVERY_MS = 50;
const WHOLE_WITHIN_MS = 15_000;
/** Each of them says another byte of its head in this time. */
const BYTE_EVERY_MS = 5_000;

export class SlowHeads {
  /** Ended by the other side, with what it said. */
  readonly answers = new Map<string, number>();
  readonly #port: number;
  readonly #count: number;
  readonly #open = new Set<Socket>();
  #opening = 0;
  #wasFull = false;
  #stopped = false;
  /** Whose turn it is to say another byte. */
  #turns: Iterator<Socket> = [][Symbol.iterator]();

  constructor(port: number, count: number) {
    this.#port = port;
    this.#count = count;
  }

  get connected(): number {
    let connected = 0;
    for (const socket of this.#open) if (socket.readyState === 'open') connected += 1;
    return connected;
  }

  /** Opens what is missing, the first time as fast as it is accepted; to be called again and again, for some will be closed. */
  fill(): void {
    const missing = Math.min(AT_ONCE - this.#opening, this.#count - this.#open.size);
    for (let nth = 0; nth < missing && !this.#stopped; nth += 1) this.#connect();
    if (this.#open.size === this.#count) this.#wasFull = true;
  }

  /** So many of them say another byte, each in its turn. */
  trickle(count: number): void {
    for (let nth = 0; nth < count; nth += 1) {
      const turn = this.#turns.next();
      if (turn.done === true) {
        this.#turns = this.#open.values();
        return;
      }
      if (turn.value.readyState === 'open') turn.value.write('x');
    }
  }

  #connect(): void {
    let isOpening = true;
    const opened = () => {
      if (isOpening) this.#opening -= 1;
      isOpening = false;
    };
    const socket = connect({ port: this.#port, host: '127.0.0.1' }, () => {
      socket.write(HALF_A_HEAD);
      opened();
      // Only the first time: who refills what was closed at once is ahead of a server that has not seen the end of it yet, and over its limit.
      if (!this.#wasFull) this.fill();
    });
    this.#opening += 1;
    this.#open.add(socket);
    socket.on('data', (chunk: Buffer) => this.#note(chunk.toString('latin1').split('\r\n', 1)[0] ?? ''));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#note(error.code ?? error.message));
    socket.on('close', () => {
      opened();
      this.#open.delete(socket);
    });
  }

  #note(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  stop(): void {
    this.#stopped = true;
    // A reset leaves no port behind that would have to wait for a minute.
    for (const socket of this.#open) socket.resetAndDestroy();
  }
}

/** That many at any moment, until they are released. */
export async function holdSlowHeads(port: number, count: number): Promise<Held> {
  const slow = new SlowHeads(port, count);
  let isReleased = false;
  let stopTimer: () => void = () => undefined;
  const go = () => {
    if (isReleased) return;
    slow.fill();
    slow.trickle(Math.ceil((count * FILL_EVERY_MS) / BYTE_EVERY_MS));
    stopTimer = clock.after(FILL_EVERY_MS, go);
  };
  const whole = async () => {
    const deadlineMs = clock.monotonicMs() + WHOLE_WITHIN_MS;
    while (slow.connected < count) {
      if (clock.monotonicMs() > deadlineMs) {
        const ends = JSON.stringify(Object.fromEntries(slow.answers));
        throw new NotHeld(
          `only ${slow.connected} of ${count} slow connections are there; the others ended with ${ends}`,
        );
      }
      await clock.sleep(FILL_EVERY_MS);
    }
  };
  const release = () => {
    isReleased = true;
    stopTimer();
    slow.stop();
  };
  go();
  try {
    await whole();
  } catch (error) {
    release();
    throw error;
  }
  return { whole, release };
}
