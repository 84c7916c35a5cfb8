// Sessions of TLS that may be resumed, by endpoint: a handshake without certificates and half the round trips. Pure.
//
// A resumed connection does not see the certificate of its host again. So a session is used for a bounded time after the last full handshake,
// however many resumptions lie between. One of TLS 1.3 is used once (RFC 8446, C.4); one of TLS 1.2 again and again.

/** After the full handshake that a session goes back to, the certificate is looked at anew. */
const MAX_AGE_MS = 10 * 60_000;
const MAX_PER_ENDPOINT = 4;
const MAX_ENDPOINTS = 256;

interface Session {
  ticket: Buffer;
  isSingleUse: boolean;
  verifiedUnixMs: number;
}

export class SessionCache {
  readonly #sessions = new Map<string, Session[]>();

  /** Undefined: a full handshake is needed. */
  take(endpoint: string, nowUnixMs: number): { ticket: Buffer; verifiedUnixMs: number } | undefined {
    const known = this.#sessions.get(endpoint);
    for (let session = known?.at(-1); session !== undefined; session = known?.at(-1)) {
      const ageMs = nowUnixMs - session.verifiedUnixMs;
      const isGood = ageMs >= 0 && ageMs < MAX_AGE_MS;
      if (!isGood || session.isSingleUse) known?.pop();
      if (isGood) return session;
    }
    this.#sessions.delete(endpoint);
    return undefined;
  }

  /** `verifiedUnixMs`: of the full handshake that it goes back to. */
  give(endpoint: string, ticket: Buffer, isSingleUse: boolean, verifiedUnixMs: number): void {
    const known = this.#sessions.get(endpoint) ?? [];
    known.push({ ticket, isSingleUse, verifiedUnixMs });
    if (known.length > MAX_PER_ENDPOINT) known.shift();
    this.#sessions.set(endpoint, known);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > MAX_ENDPOINTS && oldest !== undefined) this.#sessions.delete(oldest);
  }

  clear(): void {
    this.#sessions.clear();
  }
}
