// Connections that go past the sidecar. Where no privilege is there to redirect them, a name that is looked up past the hosts file (with a
// trailing dot, by a DNS library, for IPv6) or an address that somebody wrote down leads straight to the Service. The containers of a pod
// share one network namespace, so the sidecar sees their sockets: it looks now and then, and counts those to declared Services.
import { open } from 'node:fs/promises';
import type { DependencyPlan } from '../../plan/plan.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { readTcpSockets, type TcpSocket } from './proc-net-tcp.ts';

export interface BypassWatchOptions {
  /** All that is declared at present; null before the first plan. */
  dependencies: () => readonly DependencyPlan[] | null;
  /** Text of the kernel's tables. */
  readTables: () => Promise<string[]>;
  /** The sidecar's own connections are the ones that do not go past it. */
  ownUid: number;
  clock: Clock;
  log: Logger;
  /** By zero, so that the series is there before the first connection, else by one. */
  countBypassed: (dependency: string, by: number) => void;
}

const LOOK_EVERY_MS = 10_000;

export class BypassWatch {
  readonly #options: BypassWatchOptions;
  /** By name of the dependency. */
  readonly #counts = new Map<string, number>();
  /** Those that were there at the last look. */
  #seen: ReadonlySet<number> = new Set();
  #cancel: () => void = () => {};
  #running = false;
  #unreadable = false;

  constructor(options: BypassWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = true;
    this.#schedule();
  }

  stop(): void {
    this.#running = false;
    this.#cancel();
  }

  counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  #schedule(): void {
    this.#cancel = this.#options.clock.after(LOOK_EVERY_MS, () => {
      void this.#look().finally(() => {
        if (this.#running) this.#schedule();
      });
    });
  }

  async #look(): Promise<void> {
    const { dependencies, readTables, log } = this.#options;
    const declared = dependencies();
    if (!declared) return;
    try {
      this.#compare((await readTables()).flatMap(readTcpSockets), declared);
    } catch (error) {
      if (!this.#unreadable)
        log.warn(
          { err: error },
          'the sockets of this pod cannot be read: connections past the sidecar are not counted',
        );
      this.#unreadable = true;
    }
  }

  #compare(sockets: readonly TcpSocket[], declared: readonly DependencyPlan[]): void {
    const { ownUid } = this.#options;
    const names = new Map<string, string>();
    for (const { name, destinations } of declared)
      for (const { address, port } of destinations) names.set(`${address} ${port}`, name);
    for (const name of new Set(names.values())) this.#options.countBypassed(name, 0);
    const present = new Set<number>();
    for (const { inode, uid, remoteAddress, remotePort } of sockets) {
      const name = names.get(`${remoteAddress} ${remotePort}`);
      if (name === undefined || uid === ownUid) continue;
      present.add(inode);
      if (!this.#seen.has(inode)) this.#count(name, `${remoteAddress} port ${remotePort}`, uid);
    }
    this.#seen = present;
  }

  #count(dependency: string, destination: string, uid: number): void {
    const before = this.#counts.get(dependency) ?? 0;
    this.#counts.set(dependency, before + 1);
    this.#options.countBypassed(dependency, 1);
    if (before > 0) return;
    this.#options.log.warn(
      { dependency, destination, uid },
      'the application calls this dependency past the sidecar, without policies: it looks the name up past the hosts file (a trailing dot, a DNS library of its own, IPv6), started before the name was declared, or holds the address itself',
    );
  }
}

/** A table of tens of thousands of sockets. What is beyond is not looked at. */
const MAX_TABLE_BYTES = 4 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

/** The tables of this network namespace; one that is not there (no IPv6) is empty. Throws where neither can be read. */
export async function readKernelTables(): Promise<string[]> {
  const tables = await Promise.allSettled([readBounded('/proc/net/tcp'), readBounded('/proc/net/tcp6')]);
  const texts = tables.flatMap((table) => (table.status === 'fulfilled' ? [table.value] : []));
  if (texts.length === 0 && tables[0]?.status === 'rejected') throw tables[0].reason;
  return texts;
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    while (total < MAX_TABLE_BYTES) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES);
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      total += bytesRead;
    }
    return Buffer.concat(chunks).toString('latin1');
  } finally {
    await file.close();
  }
}
