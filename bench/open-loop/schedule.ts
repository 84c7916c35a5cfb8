// The arithmetic of an open loop: pure. Request n is due n / rate after the start, whatever became of those before it. It goes out on a
// connection that is free, or waits for one, first come, first served; its latency counts from when it was due, so that the wait behind a
// slow answer is counted and not omitted (coordinated omission: https://github.com/giltene/wrk2#readme).

const MICROS = 1e6;

export interface Rate {
  requestsPerSecond: number;
  /** Of requests that are made and not recorded, until connections and code are warm. */
  leadInSeconds: number;
  /** Of requests that are recorded. */
  seconds: number;
  connections: number;
}

export interface Latencies {
  recorded: number;
  p50Micros: number;
  p99Micros: number;
  /** How late requests went out although a connection was free: what the generator itself adds. */
  lateP99Micros: number;
}

/** All times are microseconds since the start. */
export class Schedule {
  /** Requests in all. */
  readonly total: number;
  readonly #intervalMicros: number;
  readonly #firstRecorded: number;
  readonly #latencies: Float64Array;
  readonly #lateness: Float64Array;
  /** Of each connection: the request that it carries. */
  readonly #carried: Int32Array;
  /** Of each connection: since when it is free. */
  readonly #freeSince: Float64Array;
  /** A ring of free connections, the one that is free for longest first. */
  readonly #free: Int32Array;
  #firstFree = 0;
  #freeCount: number;
  #sent = 0;
  #answered = 0;
  #recorded = 0;

  constructor({ requestsPerSecond, leadInSeconds, seconds, connections }: Rate) {
    this.total = Math.round(requestsPerSecond * (leadInSeconds + seconds));
    this.#intervalMicros = MICROS / requestsPerSecond;
    this.#firstRecorded = Math.round(requestsPerSecond * leadInSeconds);
    if (!(this.total > this.#firstRecorded)) throw new RangeError('there is no request to record');
    if (!(connections > 0)) throw new RangeError('there must be a connection');
    this.#latencies = new Float64Array(this.total - this.#firstRecorded);
    this.#lateness = new Float64Array(this.total);
    this.#carried = new Int32Array(connections);
    this.#freeSince = new Float64Array(connections);
    this.#free = Int32Array.from({ length: connections }, (_, connection) => connection);
    this.#freeCount = connections;
  }

  dueMicros(request: number): number {
    return request * this.#intervalMicros;
  }

  /** The connection that the next request is to be sent on, where one is due and a connection is free. */
  next(nowMicros: number): number | undefined {
    if (this.#sent === this.total || this.#freeCount === 0 || this.dueMicros(this.#sent) > nowMicros) return undefined;
    const connection = this.#free[this.#firstFree] ?? 0;
    this.#firstFree = (this.#firstFree + 1) % this.#free.length;
    this.#freeCount--;
    const couldGoAt = Math.max(this.dueMicros(this.#sent), this.#freeSince[connection] ?? 0);
    this.#lateness[this.#sent] = nowMicros - couldGoAt;
    this.#carried[connection] = this.#sent++;
    return connection;
  }

  /** The request on this connection is answered, whole. The connection is not free by that alone. */
  answered(connection: number, nowMicros: number): void {
    const request = this.#carried[connection] ?? 0;
    this.#answered++;
    if (request >= this.#firstRecorded) this.#latencies[this.#recorded++] = nowMicros - this.dueMicros(request);
  }

  /** This connection can carry another request. */
  free(connection: number, nowMicros: number): void {
    this.#free[(this.#firstFree + this.#freeCount) % this.#free.length] = connection;
    this.#freeCount++;
    this.#freeSince[connection] = nowMicros;
  }

  get answeredCount(): number {
    return this.#answered;
  }

  get isDone(): boolean {
    return this.#answered === this.total;
  }

  /** Nearest rank; those that were not answered are not in it. Undefined where none was. */
  latencies(): Latencies | undefined {
    if (this.#recorded === 0) return undefined;
    const latencies = this.#latencies.subarray(0, this.#recorded).toSorted();
    const lateness = this.#lateness.subarray(this.#firstRecorded, this.#sent).toSorted();
    return {
      recorded: latencies.length,
      p50Micros: quantile(latencies, 0.5),
      p99Micros: quantile(latencies, 0.99),
      lateP99Micros: quantile(lateness, 0.99),
    };
  }

  /** Recorded answers that took longer than this. */
  slowerThan(micros: number): number {
    let slower = 0;
    for (const latency of this.#latencies.subarray(0, this.#recorded)) if (latency > micros) slower++;
    return slower;
  }
}

function quantile(sorted: Float64Array, fraction: number): number {
  return sorted[Math.ceil(fraction * sorted.length) - 1] ?? Number.NaN;
}
