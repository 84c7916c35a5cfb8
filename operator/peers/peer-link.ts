// The way to one other replica: its stream of sessions, taken up again for as long as it is listed, and reports that are for it.
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import { LineSplitter } from '../../runtime/line-splitter.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import { messageOf } from '../certificates/kubernetes-api.ts';
import type { Refusal } from '../distribute/authenticate.ts';
import type { ForwardedReport } from '../distribute/distributor.ts';
import { FORWARDED_HEADER } from '../distribute/stream-server.ts';
import { Backoff } from '../watch/backoff.ts';
import { decodePeerFrame, MAX_FRAME_BYTES, SESSIONS_PATH } from './frames.ts';
import { SessionTable } from './session-table.ts';

/** Where a replica listens. */
export interface PeerAddress {
  /** Of its pod. */
  name: string;
  address: string;
  port: number;
}

export interface PeerLinkOptions {
  /** The name in its certificate. */
  serverName: string;
  trustBundle: () => string;
  tokenFile: string;
  /** What is known of its sidecars is another than before. */
  onChange: () => void;
  clock: Clock;
  random: Random;
  log: Logger;
}

const CONNECT_TIMEOUT_MS = 3_000;
const HEAD_TIMEOUT_MS = 5_000;
/** A sidecar waits ten seconds for its answer. */
const FORWARD_TIMEOUT_MS = 5_000;
const BACKOFF = { initialMs: 200, maxMs: 5_000, resetAfterMs: 30_000 };
const MAX_ANSWER_CHARACTERS = 4_096;

export class PeerLink {
  readonly table: SessionTable;
  readonly #options: PeerLinkOptions;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #peer: PeerAddress;
  #agent: { trust: string; agent: Agent } | undefined;
  #isUp = false;
  #told = '';

  /** `table`: what is known of it from a link before this one, which was stopped. */
  constructor(peer: PeerAddress, options: PeerLinkOptions, table = new SessionTable()) {
    this.table = table;
    this.#peer = peer;
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  start(): void {
    void this.#run();
  }

  /** What it said stays known for a while. From here on the table is not this link's to write: where the replica is listed again, it is the next one's. */
  stop(): void {
    if (this.isStopped) return;
    this.#stop.abort(new Error('the replica is not listed any more'));
    this.table.down(this.#options.clock.monotonicMs());
    void this.#agent?.agent.destroy();
  }

  moveTo(peer: PeerAddress): void {
    this.#peer = peer;
  }

  async forward({ path, authorization, body }: ForwardedReport): Promise<Refusal | { ok: true }> {
    try {
      const response = await request(this.#base() + path, {
        method: 'POST',
        dispatcher: this.#dispatcher(),
        headers: { authorization, 'content-type': 'application/json', [FORWARDED_HEADER]: 'true' },
        body: JSON.stringify(body),
        headersTimeout: HEAD_TIMEOUT_MS,
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(FORWARD_TIMEOUT_MS)]),
      });
      const text = await response.body.text();
      if (response.statusCode < 300) return { ok: true };
      return refusalOf(response.statusCode, text);
    } catch (error) {
      const why = messageOf(error).slice(0, 300);
      return refuse(
        503,
        'ReplicaUnreachable',
        `the replica ${this.#peer.name} holds the stream, and cannot be reached: ${why}`,
      );
    }
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#read();
        this.#told = '';
      } catch (error) {
        const problem = messageOf(error);
        if (!signal.aborted && problem !== this.#told) {
          log.warn({ replica: this.#peer.name, problem }, 'another replica cannot be listened to');
          this.#told = problem;
        }
      }
      this.#isUp = false;
      if (!signal.aborted) this.table.down(clock.monotonicMs());
      this.#options.onChange();
      await clock.sleep(this.#backoff.nextMs(clock.monotonicMs()), signal).catch(() => undefined);
    }
  }

  /** Resolves when the stream has ended in an orderly way. */
  async #read(): Promise<void> {
    const { tokenFile, clock, log, onChange } = this.#options;
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const response = await request(this.#base() + SESSIONS_PATH, {
      dispatcher: this.#dispatcher(),
      headers: { authorization: `Bearer ${token}` },
      headersTimeout: HEAD_TIMEOUT_MS,
      // Between two chunks: heartbeats come in between.
      bodyTimeout: 3 * HEARTBEAT_INTERVAL_MS,
      signal: this.#stop.signal,
    });
    if (response.statusCode !== 200) {
      const text = await response.body.text();
      throw new Error(`it answers ${response.statusCode}: ${refusalOf(response.statusCode, text).message}`);
    }
    this.#isUp = true;
    log.info({ replica: this.#peer.name }, 'another replica is listened to');
    const splitter = new LineSplitter(MAX_FRAME_BYTES);
    for await (const chunk of response.body) {
      for (const line of splitter.push(chunk as Buffer)) {
        const frame = decodePeerFrame(line);
        if (frame?.kind === 'end' || this.isStopped) return;
        if (frame !== undefined && this.table.apply(frame, clock.monotonicMs())) onChange();
      }
    }
  }

  #base(): string {
    const { address, port } = this.#peer;
    return `https://${address.includes(':') ? `[${address}]` : address}:${port}`;
  }

  /** Made anew when the authorities change; what is open on the one before goes on. */
  #dispatcher(): Agent {
    const { serverName, trustBundle } = this.#options;
    const trust = trustBundle();
    if (this.#agent?.trust === trust) return this.#agent.agent;
    void this.#agent?.agent.close().catch(() => undefined);
    const connect = {
      ca: trust,
      servername: serverName,
      timeout: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelay: 10_000,
    };
    this.#agent = { trust, agent: new Agent({ connect, allowH2: false, keepAliveTimeout: 30_000 }) };
    return this.#agent.agent;
  }
}

function refuse(status: Refusal['status'], reason: string, message: string): Refusal {
  return { ok: false, status, reason, message };
}

function isRefusalStatus(status: number): status is Refusal['status'] {
  return [400, 401, 403, 404, 503].includes(status);
}

/** What another replica answered, as our own answer. */
function refusalOf(status: number, text: string): Refusal {
  let said: { reason?: unknown; message?: unknown } = {};
  try {
    said = JSON.parse(text.slice(0, MAX_ANSWER_CHARACTERS)) as typeof said;
  } catch {
    // Not one of ours: its status says enough.
  }
  const reason = typeof said.reason === 'string' ? said.reason : 'ReplicaFailed';
  const message =
    typeof said.message === 'string' ? said.message : `the replica that holds the stream answered ${status}`;
  return refuse(isRefusalStatus(status) ? status : 503, reason, message);
}
