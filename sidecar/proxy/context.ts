// What the objects of the data path share: time, chance, metrics, and the few counts that belong to the process.
import type { Logger } from '../../runtime/log.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { NO_KEY } from '../balance/balancer.ts';
import type { SidecarMetrics } from '../metrics/sidecar-metrics.ts';
import type { LoadSampler } from '../overload/load-sampler.ts';
import type { BulkheadWaiter } from '../policies/bulkhead.ts';
import { ConnectionLimit } from '../policies/connection-limit.ts';
import { LoadShedder } from '../policies/load-shedder.ts';
import { REPLAY_POOL_BYTES, ReplayPool } from './exchange/replay-body.ts';
import { type Network, systemNetwork } from './sockets/network.ts';
import type { Ticker } from './ticker.ts';

/** Memory for the last good answers of all dependencies together. */
const LAST_GOOD_POOL_BYTES = 16 * 1024 * 1024;

/** What waits in a bulkhead of the data path: the layers of an attempt. */
interface Grantable extends BulkheadWaiter {
  granted(): void;
}

export class ProxyContext {
  readonly ticker: Ticker;
  readonly random: Random;
  readonly metrics: SidecarMetrics;
  readonly log: Logger;
  readonly network: Network;
  /** What the sidecar does for its own sake. */
  readonly shedder: LoadShedder;
  /** Measures what that decides on; null: nobody does. */
  sampler: Pick<LoadSampler, 'requested'> | null = null;
  /** Of connections of the application. */
  connectionLimit = new ConnectionLimit(Number.POSITIVE_INFINITY, () => 0);
  readonly replayPool = new ReplayPool(REPLAY_POOL_BYTES);
  readonly lastGoodPool = new ReplayPool(LAST_GOOD_POOL_BYTES);
  /** What fallbacks in shadow would keep is bounded as if they kept it, and takes nothing from those that do. */
  readonly shadowLastGoodPool = new ReplayPool(LAST_GOOD_POOL_BYTES);
  /** Chance of the shadows: what they draw changes nothing for anybody else. */
  readonly shadowRandom: Random;
  /** Requests in progress. */
  active = 0;
  /** Requests since the start; a look at it tells whether any came. */
  begun = 0;
  tunnels = 0;
  clientConnections = 0;
  /** The sidecar drains: every response closes its connection. */
  draining = false;
  /** Hash of this pod's address, for balancing by it. */
  ownKey = NO_KEY;
  #endpointsStreamUp = false;
  readonly #correlationPrefix: string;
  #correlations: number;
  readonly #granted: Grantable[] = [];
  #granting = false;

  constructor(
    ticker: Ticker,
    random: Random,
    metrics: SidecarMetrics,
    log: Logger,
    network: Network = systemNetwork,
    shedder: LoadShedder = new LoadShedder(),
  ) {
    this.ticker = ticker;
    this.random = random;
    this.metrics = metrics;
    this.log = log;
    this.network = network;
    this.shedder = shedder;
    this.#correlationPrefix = hex32(bits32(random)) + hex32(bits32(random)) + hex32(bits32(random));
    this.#correlations = bits32(random);
    // Not drawn: that would change what is drawn after it.
    this.shadowRandom = seededRandom(this.#correlations);
  }

  /** Whether a connection of the application waits for its next request. */
  get keepsConnections(): boolean {
    return !this.draining && this.shedder.keepsConnections && !this.connectionLimit.crowded;
  }

  setEndpointsStreamUp(up: boolean): void {
    this.#endpointsStreamUp = up;
  }

  /** Nobody would tell us if an endpoint were gone. */
  endpointsStale(): boolean {
    return !this.#endpointsStreamUp;
  }

  /** Continues the request that got a freed place; in a loop, since each may free its own at once. */
  grant(waiter: BulkheadWaiter | null): void {
    if (!waiter) return;
    this.#granted.push(waiter as Grantable);
    if (this.#granting) return;
    this.#granting = true;
    try {
      for (let next = this.#granted.shift(); next; next = this.#granted.shift()) next.granted();
    } finally {
      this.#granting = false;
    }
  }

  /** An X-Correlation-ID: 128 bits in hexadecimal, 96 of them random for the process, the rest counted. */
  correlationId(): string {
    this.#correlations = (this.#correlations + 1) >>> 0;
    return this.#correlationPrefix + hex32(this.#correlations);
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function bits32(random: Random): number {
  return (random() * 0x1_0000_0000) >>> 0;
}

function hex32(bits: number): string {
  return `${HEX[bits >>> 24]}${HEX[(bits >>> 16) & 255]}${HEX[(bits >>> 8) & 255]}${HEX[bits & 255]}`;
}
