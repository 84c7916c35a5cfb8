// The world of a folder of manifests, for standalone mode. It stands in for the API server, so it also does the little that the server
// would: give uids and generations. A file that cannot be read is reported and its last good version stays in force, as a cluster
// keeps the old object when an apply is refused.
import { createHash } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { ManifestError } from '../compile/objects.ts';
import { matchesSelector } from '../compile/selector.ts';
import { workloadId } from '../compile/workloads.ts';
import type { InvalidObject, World, WorldPod } from '../compile/world.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/world-builder.ts';
import { Debounce } from './debounce.ts';
import { folderCertificates } from './folder-certificates.ts';
import { isAtRest, listManifests, MAX_FILE_BYTES, readAtRest, stampOf } from './folder-files.ts';
import { ManifestFileError, readManifestFile } from './manifest-file.ts';
import { type OwnObject, ownKey, type SourceListener, type StandIn, type WorldSource } from './world-source.ts';

const DEBOUNCE = { quietMs: 50, maxMs: 200 };
/** The net under fs.watch, which misses changes on some file systems and behind symbolic links. */
const POLL_MS = 1_000;
/**
 * A file in which nothing is left may be so on purpose, but is more likely about to be written, however late on a busy machine: what was in it
 * stays in force until it has been so for this long. Nobody waits for that; it is looked at again with the next look at the folder.
 */
const EMPTIED_REST_MS = 2_000;
/** A file that is gone has to be so for this long: some editors move one away before they write it anew. */
const GONE_REST_MS = 200;

interface KnownFile {
  /** Of modification time and size; an equal one is not read again. */
  stamp: string;
  /** Of the last version that could be read. */
  objects: readonly object[];
  problem: string;
}

export interface FolderSourceOptions {
  folder: string;
  clusterDomain: string;
  /** Where the statuses of objects are kept, since files cannot hold them; by ownKey. */
  statuses: { get(key: string): unknown };
  clock: Clock;
  log: Logger;
}

/** One sidecar that a folder asks for: beside a Pod of it, or in the place of the pods that a ServiceDependency does not find there. */
export interface FolderSidecar {
  kind: 'Pod' | 'ServiceDependency';
  namespace: string;
  name: string;
  uid: string;
}

export class FolderSource implements WorldSource {
  readonly #options: FolderSourceOptions;
  readonly #files = new Map<string, KnownFile>();
  readonly #generations = new Map<string, { content: string; generation: number }>();
  readonly #own = new Map<string, OwnObject>();
  /** The last version of each object of ours that fits its schema, by ownKey. */
  #lastFitting = new Map<string, ServiceDependency | ResiliencePolicy>();
  /** What was last logged of each invalid object. */
  readonly #toldInvalid = new Map<string, string>();
  readonly #debounce: Debounce;
  readonly #onChange = new Set<() => void>();
  #listener: SourceListener | undefined;
  #watcher: FSWatcher | undefined;
  #cancelPoll: () => void = () => undefined;
  #reading: Promise<void> = Promise.resolve();
  #stopped = false;
  #hasSynced = false;
  #folderProblem = 'not read yet';
  #world: World;
  #sidecars: readonly FolderSidecar[] = [];

  constructor(options: FolderSourceOptions) {
    this.#options = options;
    this.#world = buildWorld(createWorldBuilder(), options.clusterDomain);
    this.#debounce = new Debounce(options.clock, DEBOUNCE, () => void this.refresh());
  }

  start(listener: SourceListener): void {
    this.#listener = listener;
    this.#watch();
    void this.refresh();
    this.#pollLater();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelPoll();
    this.#debounce.cancel();
    this.#watcher?.close();
    await this.#reading;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  observe(): void {
    // Nothing that is measured of a folder changes by mere time.
  }

  waitingFor(): readonly string[] {
    return this.#hasSynced ? [] : [`${this.#options.folder} (${this.#folderProblem})`];
  }

  /** Files whose last version is not in force, and why: "payments.yaml:3: …". */
  problems(): readonly string[] {
    return [...this.#files.values()].flatMap((file) => (file.problem === '' ? [] : [file.problem]));
  }

  world(): World {
    return this.#world;
  }

  own(key: string): OwnObject | undefined {
    const object = this.#own.get(key);
    return object === undefined ? undefined : { ...object, status: this.#options.statuses.get(key) };
  }

  /** Called after each new world. Must not throw. The returned function removes the listener. */
  onChange(listener: () => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** All of them, of the newest world. */
  sidecars(): readonly FolderSidecar[] {
    return this.#sidecars;
  }

  /** What Secrets and ConfigMaps of the folder hold for TLS to hosts; see folderCertificates. */
  certificates(): ReadonlyMap<string, string> {
    const names = [...this.#files.keys()].sort();
    return folderCertificates(names.flatMap((name) => this.#files.get(name)?.objects ?? []));
  }

  pod(namespace: string, name: string, uid: string): Promise<WorldPod | StandIn | undefined> {
    const is = (one: { namespace: string; name: string; uid: string }) =>
      one.namespace === namespace && one.name === name && one.uid === uid;
    const sidecar = this.#sidecars.find(is);
    if (sidecar?.kind === 'ServiceDependency') return Promise.resolve({ workloadId: workloadId(namespace, [name]) });
    return Promise.resolve(this.#world.pods.find(is));
  }

  /** Reads what changed, now; resolves when the world is up to date with it. Never rejects. */
  refresh(): Promise<void> {
    this.#reading = this.#reading
      .then(() => this.#read())
      .catch((error: unknown) => {
        this.#folderProblem = error instanceof Error ? error.message : String(error);
        this.#options.log.error(
          { err: error, folder: this.#options.folder },
          'the folder cannot be read; what is known stays',
        );
      });
    return this.#reading;
  }

  #watch(): void {
    const { folder, log } = this.#options;
    try {
      this.#watcher = watch(folder, { recursive: true, persistent: true }, () => this.#debounce.call());
      this.#watcher.on('error', (error) => {
        log.warn({ err: error, folder }, 'changes of the folder are found by polling only');
        this.#watcher?.close();
      });
    } catch (error) {
      log.warn({ err: error, folder }, 'changes of the folder are found by polling only');
    }
  }

  #pollLater(): void {
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => {
      void this.refresh().then(() => {
        if (!this.#stopped) this.#pollLater();
      });
    });
  }

  async #read(): Promise<void> {
    if (this.#stopped) return;
    const { folder } = this.#options;
    let names = await listManifests(folder);
    if ([...this.#files.keys()].some((name) => !names.includes(name))) {
      await this.#options.clock.sleep(GONE_REST_MS);
      names = await listManifests(folder);
    }
    let hasChanged = !this.#hasSynced;
    for (const name of this.#files.keys()) {
      if (names.includes(name)) continue;
      this.#files.delete(name);
      hasChanged = true;
    }
    for (const name of names) if (await this.#readFile(name)) hasChanged = true;
    if (!hasChanged) return;
    this.#build(names);
    this.#hasSynced = true;
    this.#listener?.onWorld();
    for (const listener of this.#onChange) listener();
  }

  /** True where the file's objects are others than before. */
  async #readFile(name: string): Promise<boolean> {
    const { folder, clock, log } = this.#options;
    const known = this.#files.get(name);
    let stamp = known?.stamp ?? '';
    try {
      stamp = stampOf(await stat(join(folder, name)));
      if (known?.stamp === stamp) return false;
      const { found, text } = await readAtRest(join(folder, name), clock, () => !this.#hasSynced || this.#stopped);
      stamp = stampOf(found);
      if (known?.stamp === stamp) return false;
      if (text === null) throw new ManifestFileError(name, 1, `the file is larger than ${MAX_FILE_BYTES} bytes`);
      const objects = checkedObjects(text, name);
      if (objects.length === 0 && known && known.objects.length > 0 && !isAtRest(found, EMPTIED_REST_MS, clock))
        return false;
      this.#files.set(name, { stamp, objects, problem: '' });
      if (known?.problem) log.info({ file: name }, 'the file can be read again');
      return true;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (known?.problem !== problem) {
        log.error(
          { file: name, problem, keepsLastGood: known !== undefined },
          'a manifest file cannot be read; its last good version stays',
        );
      }
      this.#files.set(name, { stamp, objects: known?.objects ?? [], problem });
      return false;
    }
  }

  #build(names: readonly string[]): void {
    const { clusterDomain, log } = this.#options;
    const builder = createWorldBuilder();
    this.#own.clear();
    for (const name of names) {
      for (const object of this.#files.get(name)?.objects ?? []) {
        const raw = this.#asStored(object);
        // Checked when the file was read; an own object that does not fit becomes `invalid` here.
        if (!addObject(builder, raw))
          log.debug({ file: name, kind: raw['kind'] }, 'an object of another kind is passed over');
      }
    }
    const built = buildWorld(builder, clusterDomain);
    const world = {
      ...this.#withLastFitting(built),
      // A sidecar runs beside each.
      pods: built.pods.map((pod) => ({
        ...pod,
        injected: true,
        capture: 'explicit' as const,
        certificates: undefined,
      })),
    };
    for (const model of [...world.serviceDependencies, ...world.resiliencePolicies]) {
      const { namespace, name, uid, generation } = model.metadata;
      const own = { kind: model.kind, namespace, name, uid, generation, content: { model }, status: undefined };
      this.#own.set(ownKey(model.kind, namespace, name), own);
    }
    for (const invalid of world.invalid) this.#addInvalid(invalid);
    this.#world = world;
    this.#sidecars = sidecarsOf(world);
  }

  /** The API server would refuse a new version that does not fit, and keep the old one: so does this. */
  #withLastFitting(built: World): World {
    const kept = built.invalid.flatMap((invalid) => {
      const last = this.#lastFitting.get(ownKey(invalid.kind, invalid.namespace, invalid.name));
      this.#tell(invalid, last !== undefined);
      return last ?? [];
    });
    const models = [...built.serviceDependencies, ...built.resiliencePolicies, ...kept];
    this.#lastFitting = new Map(models.map((model) => [keyOf(model), model]));
    return {
      ...built,
      serviceDependencies: models.filter((model) => model.kind === 'ServiceDependency'),
      resiliencePolicies: models.filter((model) => model.kind === 'ResiliencePolicy'),
      invalid: built.invalid.filter(
        ({ kind, namespace, name }) => !this.#lastFitting.has(ownKey(kind, namespace, name)),
      ),
    };
  }

  #addInvalid(invalid: InvalidObject): void {
    const { kind, namespace, name, generation } = invalid;
    const own = { kind, namespace, name, uid: '', generation, content: { invalid }, status: undefined };
    this.#own.set(ownKey(kind, namespace, name), own);
  }

  #tell({ kind, namespace, name, problems }: InvalidObject, lastStays: boolean): void {
    const key = ownKey(kind, namespace, name);
    const told = JSON.stringify([problems, lastStays]);
    if (this.#toldInvalid.get(key) === told) return;
    this.#toldInvalid.set(key, told);
    this.#options.log.error(
      { object: key, problems },
      lastStays
        ? 'an object does not fit its schema; the API server would refuse it, so its last version stays in force'
        : 'an object does not fit its schema and has no effect; the API server would refuse it',
    );
  }

  /** With the fields that the API server would have filled in: uid and generation. */
  #asStored(object: object): Record<string, unknown> {
    const raw = object as Record<string, unknown> & { metadata: Record<string, unknown> };
    const { name, namespace } = raw.metadata;
    const identity = `${String(raw['kind'])}/${typeof namespace === 'string' ? namespace : 'default'}/${String(name)}`;
    const content = JSON.stringify(raw['spec'] ?? null);
    const known = this.#generations.get(identity);
    const generation = known === undefined ? 1 : known.content === content ? known.generation : known.generation + 1;
    this.#generations.set(identity, { content, generation });
    const uid = createHash('sha256').update(identity).digest('hex').slice(0, 32);
    return { ...raw, metadata: { generation, uid, ...raw.metadata } };
  }
}

const keyOf = ({ kind, metadata }: ServiceDependency | ResiliencePolicy): string =>
  ownKey(kind, metadata.namespace, metadata.name);

function sidecarsOf(world: World): FolderSidecar[] {
  const pods = world.pods.filter((pod) => pod.phase !== 'Succeeded' && pod.phase !== 'Failed');
  const alone = world.serviceDependencies.filter(({ metadata, spec }) =>
    pods.every((pod) => pod.namespace !== metadata.namespace || !matchesSelector(spec.consumer.selector, pod.labels)),
  );
  return [
    ...pods.map(({ namespace, name, uid }) => ({ kind: 'Pod' as const, namespace, name, uid })),
    ...alone.map(({ kind, metadata: { namespace, name, uid } }) => ({ kind, namespace, name, uid })),
  ];
}

/** Throws ManifestFileError, also for an object that its kind's schema cannot hold; an own object that does not fit passes. */
function checkedObjects(text: string, file: string): object[] {
  const scratch = createWorldBuilder();
  return readManifestFile(text, file).map(({ raw, line }) => {
    try {
      addObject(scratch, raw);
    } catch (error) {
      if (error instanceof ManifestError) throw new ManifestFileError(file, line, error.message);
      throw error;
    }
    return raw as object;
  });
}
