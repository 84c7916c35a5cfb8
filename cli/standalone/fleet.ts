// The sidecars of a folder: those that should run against those that do. A change of the folder starts and stops some; the others go on.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { FolderSidecar } from '../../operator/watch/folder.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger, LogLevel } from '../../runtime/log.ts';
import { parseMetrics, sumOf } from '../prometheus-text.ts';
import type { ReadyLine } from './ready-line.ts';
import { type Announcement, SidecarProcess } from './sidecar-process.ts';

const ENDPOINTS_WITHIN_MS = 5_000;
const LOOK_EVERY_MS = 10;

export interface FleetOptions {
  folder: string;
  operatorUrl: string;
  caFile: string;
  /** Where the sidecars of a namespace find certificates for TLS to hosts. */
  certificatesOf: (namespace: string) => string;
  sidecarLogLevel: LogLevel;
  /** See SidecarOptions. */
  sidecarBundle: string | null;
  clock: Clock;
  log: Logger;
  /** Which token is whose, whenever that changes; in force when it returns. */
  setTokens(table: { token: string; namespace: string; name: string; uid: string }[]): void;
}

interface Member {
  identity: FolderSidecar;
  process: SidecarProcess;
  announced: Announcement | undefined;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #members = new Map<string, Member>();
  readonly #stopping = new Set<Promise<void>>();
  #whenChanged: (() => void)[] = [];
  #created = 0;
  #isReady = false;
  #isStopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Brings what runs in line with what is wanted. Processes start and stop in the background. */
  reconcile(wanted: readonly FolderSidecar[]): void {
    if (this.#isStopped) return;
    const keys = new Set(wanted.map(keyOf));
    const leaving = [...this.#members].filter(([key]) => !keys.has(key));
    const arriving = wanted
      .filter((identity) => !this.#members.has(keyOf(identity)))
      .map((identity) => this.#create(identity));
    for (const [key] of leaving) this.#members.delete(key);
    this.#options.setTokens(
      [...this.#members.values()].map(({ identity: { namespace, name, uid }, process }) => ({
        token: process.token,
        namespace,
        name,
        uid,
      })),
    );
    for (const [, member] of leaving) this.#retire(member);
    for (const member of arriving) this.#launch(member);
    this.#changed();
  }

  /** Resolves when every member has announced where it listens, and knows the endpoints that are to be known. */
  async ready(): Promise<void> {
    while ([...this.#members.values()].some(({ announced }) => announced === undefined)) {
      await new Promise<void>((resolve) => this.#whenChanged.push(resolve));
    }
    await Promise.all([...this.#members.values()].map(({ announced }) => this.#knowsEndpoints(announced?.admin ?? '')));
    this.#isReady = true;
  }

  /** The endpoints come by a stream of their own, a moment after the plan; a call in between would be refused for no reason. */
  async #knowsEndpoints(admin: string): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + ENDPOINTS_WITHIN_MS;
    while (!this.#isStopped && clock.monotonicMs() < endMs) {
      const text = await fetch(`${admin}/metrics`).then(
        (response) => response.text(),
        () => '',
      );
      if (sumOf(parseMetrics(text), 'breakwater_endpoints_confirmed') > 0) return;
      await clock.sleep(LOOK_EVERY_MS);
    }
  }

  /** What the ready line says of each. */
  workloads(): ReadyLine['workloads'] {
    const entries = [...this.#members.values()].flatMap(({ identity, announced }) =>
      announced
        ? [[workloadName(identity), { admin: announced.admin, dependencies: announced.dependencies }] as const]
        : [],
    );
    return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const member of this.#members.values()) this.#retire(member);
    this.#members.clear();
    await Promise.all(this.#stopping);
  }

  /** At once, without a word. */
  kill(): void {
    this.#isStopped = true;
    for (const { process } of this.#members.values()) process.kill();
  }

  #create(identity: FolderSidecar): Member {
    const { folder, operatorUrl, caFile, certificatesOf, sidecarLogLevel, sidecarBundle, clock, log } = this.#options;
    const { namespace, name, kind } = identity;
    const process = new SidecarProcess({
      namespace,
      name,
      folder: join(folder, folderName(identity, this.#created++)),
      operatorUrl,
      caFile,
      certificatesFolder: certificatesOf(namespace),
      logLevel: sidecarLogLevel,
      bundle: sidecarBundle,
      clock,
      log,
      onAnnounce: (announced) => {
        const before = member.announced;
        member.announced = announced;
        if (this.#isReady) log.info({ workload: workloadName(identity), ...announced }, whatChanged(before, announced));
        this.#changed();
      },
    });
    const member: Member = { identity, process, announced: undefined };
    this.#members.set(keyOf(identity), member);
    if (this.#isReady) log.info({ workload: workloadName(identity), kind }, 'a sidecar starts');
    return member;
  }

  #launch({ identity, process }: Member): void {
    process.start().catch((error: unknown) => {
      this.#options.log.error({ err: error, workload: workloadName(identity) }, 'a sidecar cannot be started');
    });
  }

  #retire({ identity, process }: Member): void {
    const { log } = this.#options;
    if (!this.#isStopped)
      log.info({ workload: workloadName(identity) }, 'a sidecar stops: the folder does not ask for it any more');
    const stopping = process.stop().catch((error: unknown) => {
      log.error({ err: error, workload: workloadName(identity) }, 'a sidecar did not stop cleanly');
    });
    this.#stopping.add(stopping);
    void stopping.then(() => this.#stopping.delete(stopping));
  }

  #changed(): void {
    const waiting = this.#whenChanged;
    this.#whenChanged = [];
    for (const resolve of waiting) resolve();
  }
}

function whatChanged(before: Announcement | undefined, now: Announcement): string {
  if (before === undefined) return 'a sidecar is ready';
  return isDeepStrictEqual(before, now) ? 'a sidecar is back' : 'a sidecar listens elsewhere';
}

const workloadName = ({ namespace, name }: FolderSidecar): string => `${namespace}/${name}`;
const keyOf = ({ kind, namespace, name, uid }: FolderSidecar): string => `${kind}/${namespace}/${name}/${uid}`;

/** Names of Kubernetes objects may be longer than those of files; and one that left may come back before its folder is gone. */
const folderName = (identity: FolderSidecar, generation: number): string =>
  `sidecar-${createHash('sha256').update(keyOf(identity)).digest('hex').slice(0, 16)}-${generation}`;
