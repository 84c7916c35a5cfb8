// The other replicas of the operator, as this one sees them: listed by the operator's own EndpointSlices, each listened to. Every replica
// listens to every other one, so that whichever leads next knows already what the sidecars of all of them applied.

import { HEARTBEAT_INTERVAL_MS } from '../../plan/wire.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { World } from '../compile/world.ts';
import type { Session } from '../distribute/acknowledgements.ts';
import type { Refusal } from '../distribute/authenticate.ts';
import type { ForwardedReport, PeerView } from '../distribute/distributor.ts';
import type { OperatorMetrics } from '../metrics.ts';
import { type PeerAddress, PeerLink } from './peer-link.ts';

/** More replicas than anybody runs. */
const MAX_PEERS = 32;

export interface PeersOptions {
  /** Name of this pod. */
  self: string;
  /** Of the operator's Service, whose EndpointSlices list the replicas. */
  service: { namespace: string; name: string };
  serverName: string;
  trustBundle: () => string;
  tokenFile: string;
  /** Something that the others are to hear of changed here. */
  onLocalChange: () => void;
  /** Something that the others said is news. */
  onPeerChange: () => void;
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: OperatorMetrics;
}

export class Peers implements PeerView {
  readonly name = 'peers';
  readonly #options: PeersOptions;
  readonly #links = new Map<string, PeerLink>();
  #cancelExpiry: () => void = () => undefined;
  #isStopped = false;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  get self(): string {
    return this.#options.self;
  }

  start(): void {
    this.#scheduleExpiry();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelExpiry();
    for (const link of this.#links.values()) link.stop();
  }

  /** Takes over who is listed now. */
  update(world: Pick<World, 'endpointSlices'>): void {
    if (this.#isStopped) return;
    const listed = replicasIn(world, this.#options);
    for (const [name, link] of this.#links) if (!listed.has(name)) link.stop();
    for (const [name, address] of listed) {
      const known = this.#links.get(name);
      if (known !== undefined && !known.isStopped) known.moveTo(address);
      else if (this.#listening().length < MAX_PEERS) this.#connect(address, known);
    }
  }

  *sessions(): Iterable<Session> {
    for (const { table } of this.#links.values()) yield* table.sessions();
  }

  sessionsChanged(): void {
    this.#options.onLocalChange();
  }

  async forward(replica: string, report: ForwardedReport): Promise<Refusal | { ok: true }> {
    const link = this.#links.get(replica);
    if (link !== undefined && !link.isStopped) return link.forward(report);
    const message = `the stream is held by ${replica}, which is not listed as a replica here; try again`;
    return { ok: false, status: 503, reason: 'ReplicaUnknown', message };
  }

  /** Writes the gauges. */
  observe(): void {
    const links = this.#listening();
    this.#options.metrics.peersListed.set(links.length);
    this.#options.metrics.peersConnected.set(links.filter((link) => link.isUp).length);
  }

  #listening(): PeerLink[] {
    return [...this.#links.values()].filter((link) => !link.isStopped);
  }

  /** `before`: the link to the same replica, from before it was not listed for a while. */
  #connect(address: PeerAddress, before: PeerLink | undefined): void {
    const link = new PeerLink(address, { ...this.#options, onChange: this.#options.onPeerChange }, before?.table);
    this.#links.set(address.name, link);
    link.start();
  }

  #scheduleExpiry(): void {
    const { clock } = this.#options;
    this.#cancelExpiry = clock.after(HEARTBEAT_INTERVAL_MS, () => {
      let changed = false;
      for (const [name, link] of this.#links) {
        if (link.table.expire(clock.monotonicMs())) changed = true;
        if (link.isStopped && link.table.size === 0) this.#links.delete(name);
      }
      if (changed) this.#options.onPeerChange();
      this.#scheduleExpiry();
    });
  }
}

/** By name, all replicas but this one that the slices of the Service list, whether they are ready or not. */
export function replicasIn(
  { endpointSlices }: Pick<World, 'endpointSlices'>,
  { self, service }: Pick<PeersOptions, 'self' | 'service'>,
): ReadonlyMap<string, PeerAddress> {
  const replicas = new Map<string, PeerAddress>();
  for (const slice of endpointSlices) {
    if (slice.namespace !== service.namespace || slice.service !== service.name || slice.addressType === 'FQDN')
      continue;
    const port = slice.ports.find(({ name }) => name === 'https')?.port;
    for (const { addresses, pod } of slice.endpoints) {
      const name = pod?.slice(pod.indexOf('/') + 1);
      const [address] = addresses;
      if (name === undefined || name === self || address === undefined || port === undefined) continue;
      // Of a pod with addresses of both families one is enough.
      if (!replicas.has(name)) replicas.set(name, { name, address, port });
    }
  }
  return replicas;
}
