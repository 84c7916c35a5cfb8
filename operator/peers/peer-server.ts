// Tells the other replicas what the sidecars of this one said.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Session } from '../distribute/acknowledgements.ts';
import type { Authenticator } from '../distribute/authenticate.ts';
import { Stream } from '../distribute/stream.ts';
import { answer, sinkOf } from '../distribute/stream-server.ts';
import { Debounce } from '../watch/debounce.ts';
import { SESSIONS_PATH } from './frames.ts';
import { SessionSource } from './session-source.ts';

/** Sidecars acknowledge a new plan all at once; what comes within this time goes as one frame. */
const GATHER = { quietMs: 10, maxMs: 50 };
/** A reader that takes nothing for this long is cut off; it comes back for what is true then. */
const SLOW_READER_MS = 20_000;
const MAX_STREAMS = 64;

export interface PeerServerOptions {
  authenticator: Authenticator;
  sessions: () => ReadonlyMap<string, Readonly<Session>>;
  clock: Clock;
  log: Logger;
}

export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #streams = new Set<Stream>();
  readonly #gather: Debounce;
  #isClosed = false;

  constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#gather = new Debounce(options.clock, GATHER, () => {
      for (const stream of this.#streams) stream.pump();
    });
  }

  register(fastify: FastifyInstance): void {
    fastify.get(SESSIONS_PATH, { exposeHeadRoute: false }, (request, reply) => this.#open(request, reply));
  }

  /** Something is to be told. */
  changed(): void {
    if (this.#streams.size > 0) this.#gather.call();
  }

  close(): void {
    this.#isClosed = true;
    this.#gather.flush();
    for (const stream of this.#streams) stream.end('Shutdown');
  }

  async #open(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { authenticator, sessions, clock, log } = this.#options;
    const authentication = await authenticator.authenticate(request.headers.authorization, request.ip);
    if (!authentication.ok) {
      log.warn({ reason: authentication.reason, message: authentication.message }, 'somebody was refused as a replica');
      return answer(reply, authentication);
    }
    if (this.#isClosed || this.#streams.size >= MAX_STREAMS) {
      return answer(reply, { status: 503, reason: 'Busy', message: 'this replica takes no further stream; try again' });
    }
    const response = reply.raw;
    if (response.destroyed) return reply;
    reply.hijack();
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    const stream = new Stream(sinkOf(response), new SessionSource(sessions, () => clock.monotonicMs()), () =>
      clock.monotonicMs(),
    );
    this.#streams.add(stream);
    const cancelBeat = this.#beat(stream);
    response.on('drain', () => stream.drained());
    response.on('error', () => undefined);
    response.on('close', () => {
      cancelBeat();
      this.#streams.delete(stream);
    });
    stream.pump();
    return reply;
  }

  #beat(stream: Stream): () => void {
    const { clock } = this.#options;
    let cancel = () => {};
    const schedule = () => {
      cancel = clock.after(HEARTBEAT_INTERVAL_MS, () => {
        if (stream.blockedForMs() >= SLOW_READER_MS) stream.cut();
        else stream.heartbeat();
        schedule();
      });
    };
    schedule();
    return () => cancel();
  }
}
