// A plot of the garden: a whole data path before one real server. What is sent to it is hostile; what both have seen of it is compared.
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, dependencyPlan, startBench } from '../../../sidecar/proxy/testing/fixtures.ts';
import { ResponseReader } from '../../simulation/response-reader.ts';
import { type Account, type Answer, violations } from './judge.ts';
import { type Forwarded, type Relay, startRelay } from './relay.ts';
import { type GardenServer, type ServerKind, startServer } from './servers.ts';

/** Far beyond what anything here takes: whatever waits so long waits for bytes that nobody sends. */
const TIMEOUTS = { requestMs: 5_000, attemptMs: 0, connectMs: 5_000, idleMs: 0, opaqueIdleMs: 0 };
const CANARY = (nth: number) => `/canary-${nth}`;

export class Plot {
  readonly #server: GardenServer;
  readonly #relay: Relay;
  readonly #bench: Bench;
  #canaries = 0;
  /** Answers of the server that were passed on. */
  #passedOn = 0;

  private constructor(server: GardenServer, relay: Relay, bench: Bench) {
    this.#server = server;
    this.#relay = relay;
    this.#bench = bench;
  }

  /** `unguarded`: without the sidecar, so that the differences that it prevents can be seen. */
  static async open(kind: ServerKind, unguarded = false): Promise<Plot> {
    const server = await startServer(kind);
    const relay = await startRelay(server.port);
    const bench = await startBench(dependencyPlan({ timeouts: TIMEOUTS }), [
      { address: '127.0.0.1', port: relay.port },
    ]);
    return new Plot(server, relay, unguarded ? { ...bench, port: relay.port } : bench);
  }

  async close(): Promise<void> {
    await this.#bench.close();
    this.#relay.close();
    await this.#server.close();
  }

  /**
   * Sends the bytes on a connection of their own, and then a canary on another one, which gets the connection to the server that the first has
   * left, where it has left one. Resolves to what the two accounts differ in, and what was forwarded.
   */
  async send(bytes: string): Promise<{ violations: string[]; forwarded: number }> {
    const { forwarded, broken } = this.#relay;
    const [from, brokenFrom, seenFrom] = [forwarded.length, broken.length, this.#server.seen().length];
    const got = await exchange(this.#bench.port, bytes, () => forwarded.slice(from));
    const canary = CANARY(++this.#canaries);
    const own = forwarded.length;
    const canaryGot = await exchange(
      this.#bench.port,
      `GET ${canary} HTTP/1.1\r\nHost: garden.test\r\nX-Correlation-ID: canary-${this.#canaries}\r\n\r\n`,
      () => forwarded.slice(own),
    );
    // What was cut off before may be told as late as now, and is for the end.
    const earlier = new Set(forwarded.slice(0, from).map(({ id }) => id));
    const account = (): Account => ({
      forwarded: forwarded.slice(from),
      broken: broken.slice(brokenFrom),
      seen: this.#server
        .seen()
        .slice(seenFrom)
        .filter(({ id }) => !earlier.has(id)),
      answersEarly: this.#server.kind.answersEarly === true,
      answers: got.answers,
      nonsense: [...got.nonsense, ...canaryGot.nonsense],
    });
    await this.#settled(account, `canary-${this.#canaries}`);
    const { answers } = canaryGot;
    const wellAnswered = answers.length === 1 && answers[0]?.status === 200 && answers[0].seen === canary;
    this.#passedOn += [...got.answers, ...answers].filter(({ seen }) => seen !== null).length;
    return {
      forwarded: own - from,
      violations: [
        ...violations(account()),
        ...(wellAnswered ? [] : [`the canary after it was answered by ${JSON.stringify(answers)}`]),
      ],
    };
  }

  /** All that was ever seen, for what came late; and the sidecar's own count. */
  async final(): Promise<string[]> {
    const found = violations({
      forwarded: this.#relay.forwarded,
      broken: this.#relay.broken,
      seen: this.#server.seen(),
      answersEarly: this.#server.kind.answersEarly === true,
      answers: [],
      nonsense: [],
    });
    const counted = await this.#bench.metric('breakwater_attempts_total', { result: 'success' });
    if (counted < this.#passedOn) found.push(`${this.#passedOn} answers came, and the sidecar counted ${counted}`);
    const attempts = await this.#bench.metric('breakwater_attempts_total');
    if (attempts < this.#relay.forwarded.length)
      found.push(`${this.#relay.forwarded.length} requests came, and the sidecar counted ${attempts} attempts`);
    return found;
  }

  /** Servers tell when they are done, and that may be after they have answered. */
  async #settled(account: () => Account, canary: string): Promise<void> {
    for (let tries = 0; tries < 400; tries++) {
      const { forwarded, seen, answers } = account();
      const told = (id: string) => seen.some((one) => one.id === id && one.complete);
      const answered = forwarded.filter((_, nth) => typeof answers[nth]?.seen === 'string');
      if (told(canary) && answered.every(({ id }) => told(id))) return;
      await sleep(tries < 20 ? 1 : 10);
    }
  }
}

interface Exchanged {
  answers: Answer[];
  nonsense: string[];
}

/** Sends all of it, says that nothing more comes, and reads to the end. */
async function exchange(port: number, bytes: string, forwarded: () => readonly Forwarded[]): Promise<Exchanged> {
  const received = await new Promise<Buffer>((resolve) => {
    const chunks: Buffer[] = [];
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Buffer.concat(chunks)));
    socket.end(bytes, 'latin1');
  });
  return readAnswers(received, forwarded());
}

function readAnswers(received: Buffer, forwarded: readonly Forwarded[]): Exchanged {
  const exchanged: Exchanged = { answers: [], nonsense: [] };
  const progress = { ended: false };
  const reader = new ResponseReader({
    onHead({ status, headers }) {
      exchanged.answers.push({
        status,
        seen: headers.get('x-seen') ?? null,
        reason: headers.get('breakwater-reason') ?? '',
      });
    },
    onBody() {},
    onEnd() {
      progress.ended = true;
    },
    onNonsense: (what) => void exchanged.nonsense.push(what),
  });
  // An answer is read by the method that it answers: what was refused was not forwarded, and its answer has content.
  let rest = received;
  while (rest.length > 0) {
    reader.expect(forwarded[exchanged.answers.length]?.method ?? 'GET');
    progress.ended = false;
    let at = 0;
    for (; at < rest.length && !progress.ended; at++) reader.push(rest.subarray(at, at + 1));
    // Nothing follows one that was cut.
    if (!progress.ended) break;
    rest = rest.subarray(at);
  }
  return exchanged;
}
