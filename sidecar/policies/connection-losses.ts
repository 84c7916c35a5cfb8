// Which lost connections are one event. When a process dies, all connections to it are lost in one moment, under however many calls were with it.
// To a circuit that counts failures in a row that is one failure, for it says one thing: this endpoint is gone. Counted call by call, the death
// of one pod of twenty would open the circuit of the whole dependency as soon as more calls than `consecutiveFailures` had been with that pod.
//
// Semantics: our own. Envoy and Linkerd count failures in a row for each endpoint and never for a whole dependency; resilience4j and Polly count
// no failures in a row, and a share of all calls hardly moves by the calls of one endpoint; Dapr counts call by call, and opens.
//  - A loss belongs to the one before it at the same endpoint where its call had begun before that, and it came within SAME_EVENT_MS of it. So a
//    server that cuts off whatever it is sent is counted call by call, and one that holds calls and cuts them off later ten times a second.
//  - Only lost connections, and reset streams of HTTP/2: a status, a timeout and a connection that was not made tell of one call each.

/** From the loss that counts to the last one that belongs to it. */
export const SAME_EVENT_MS = 100;

export class ConnectionLosses {
  /** When the last loss of each endpoint was that counted, the oldest first. */
  readonly #countedAtMs = new Map<string, number>();

  /** A connection to `endpoint` was lost under a call that began at `startMs`. True: it belongs to a loss that was told of before. */
  belongsToOneBefore(endpoint: string, startMs: number, nowMs: number): boolean {
    const countedAtMs = this.#countedAtMs.get(endpoint) ?? Number.NEGATIVE_INFINITY;
    if (startMs < countedAtMs && nowMs - countedAtMs <= SAME_EVENT_MS) return true;
    this.#forget(endpoint, nowMs);
    this.#countedAtMs.set(endpoint, nowMs);
    return false;
  }

  /** Endpoints that it knows of. */
  get size(): number {
    return this.#countedAtMs.size;
  }

  /** What is over, of any endpoint; and of this one, so that it comes last. */
  #forget(endpoint: string, nowMs: number): void {
    this.#countedAtMs.delete(endpoint);
    for (const [name, atMs] of this.#countedAtMs) {
      if (nowMs - atMs <= SAME_EVENT_MS) break;
      this.#countedAtMs.delete(name);
    }
  }
}
