// What the objects of the data path share: time, chance, metrics, and the few counts that belong to the process.
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { SidecarMetrics } from '../metrics.ts';
import type { BulkheadWaiter } from '../policies/bulkhead.ts';
import type { Exchange } from './exchange.ts';
import { REPLAY_POOL_BYTES, ReplayPool } from './replay-body.ts';
import type { Ticker } from './ticker.ts';

export class ProxyContext {
  readonly ticker: Ticker;
  readonly random: Random;
  readonly metrics: SidecarMetrics;
  readonly log: Logger;
  readonly replayPool = new ReplayPool(REPLAY_POOL_BYTES);
  /** Requests in progress. */
  active = 0;
  tunnels = 0;
  clientConnections = 0;
  /** The sidecar drains: every response closes its connection. */
  draining = false;
  #endpointsStreamUp = false;
  readonly #granted: BulkheadWaiter[] = [];
  #granting = false;

  constructor(ticker: Ticker, random: Random, metrics: SidecarMetrics, log: Logger) {
    this.ticker = ticker;
    this.random = random;
    this.metrics = metrics;
    this.log = log;
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
    this.#granted.push(waiter);
    if (this.#granting) return;
    this.#granting = true;
    try {
      for (let next = this.#granted.shift(); next; next = this.#granted.shift()) (next as Exchange).granted();
    } finally {
      this.#granting = false;
    }
  }

  /** 128 random bits in hexadecimal: an X-Correlation-ID. */
  correlationId(): string {
    return hex32(this.random) + hex32(this.random) + hex32(this.random) + hex32(this.random);
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hex32(random: Random): string {
  const bits = (random() * 0x1_0000_0000) >>> 0;
  return `${HEX[bits & 255]}${HEX[(bits >>> 8) & 255]}${HEX[(bits >>> 16) & 255]}${HEX[bits >>> 24]}`;
}
