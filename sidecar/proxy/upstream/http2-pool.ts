// The connections to one endpoint that speak HTTP/2. Requests share them: a connection takes as many streams as the endpoint allows, and
// another one is made only where none has room. Which endpoint a request goes to is chosen before, for each request.

import type { LegSource, ResponseReceiver } from '../exchange/upstream.ts';
import type { Http1Endpoint } from './http1-endpoint.ts';
import { Http2Leg } from './http2-leg.ts';
import { Http2Session } from './http2-session.ts';

/** A connection without streams is kept this long; a server that wants it gone sooner says so. */
const IDLE_MS = 60_000;

export class Http2Pool implements LegSource {
  readonly endpoint: Pick<Http1Endpoint, 'address' | 'port' | 'name' | 'network' | 'tls' | 'generation'>;
  #removed: boolean;
  #sessions: Http2Session[] = [];

  constructor(endpoint: Http2Pool['endpoint'], removed: boolean) {
    this.endpoint = endpoint;
    this.#removed = removed;
  }

  get sessionCount(): number {
    return this.#sessions.length;
  }

  /**
   * How long a connection lay idle does not matter: a server that closes one says which streams it has not taken, and these are unsent.
   */
  takeIdle(): Http2Leg | null {
    for (const session of this.#sessions) if (session.hasRoom) return new Http2Leg(session, null);
    return null;
  }

  connect(receiver: ResponseReceiver): Http2Leg {
    let session = this.#sessions.find((candidate) => candidate.takesWaiting);
    if (!session) {
      session = new Http2Session(this);
      this.#sessions.push(session);
    }
    const leg = new Http2Leg(session, receiver);
    session.wait(leg);
    return leg;
  }

  /** More wait than the connection that they waited for has room for. */
  moveOn(legs: readonly Http2Leg[]): void {
    if (legs.length === 0) return;
    const session = new Http2Session(this);
    this.#sessions.push(session);
    for (const leg of legs) {
      leg.session = session;
      session.wait(leg);
    }
  }

  /** It is closed. */
  forget(session: Http2Session): void {
    this.#sessions = this.#sessions.filter((other) => other !== session);
  }

  sweep(nowMs: number): void {
    for (const session of this.#sessions) session.sweep(nowMs, IDLE_MS);
  }

  remove(): void {
    this.#removed = true;
    for (const session of this.#sessions) session.retire();
  }

  /** A connection is not to outlive its streams. */
  get removed(): boolean {
    return this.#removed;
  }
}
