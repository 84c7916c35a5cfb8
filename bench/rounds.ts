// One case: every proxy started fresh and warmed up, then rounds, in each of which all of them are measured once, in random order.
import type { Random } from '../runtime/random.ts';
import { CalmRounds, type Round } from './calm-rounds.ts';
import { type BenchCase, isBesideDirect, slowHeadsOf, streamsOf } from './cases.ts';
import { prepareLoad } from './generators.ts';
import { type GenerateLoad, type Load, NotHeld, whyVoid } from './load.ts';
import { measureSlice, type Slice } from './measure.ts';
import { cpuNanoseconds } from './procfs.ts';
import { breakwater, type RunningBreakwater } from './proxies/breakwater.ts';
import { direct } from './proxies/direct.ts';
import { envoy } from './proxies/envoy.ts';
import type { Proxy, RunningProxy, Setting } from './setting.ts';
import { shuffled } from './statistics.ts';
import type { Say } from './tools.ts';

const WARM_UP_REQUESTS = 20_000;
/** Of large answers fewer warm as well. */
const WARM_UP_BYTES = 4e9;
const WARM_UP_SECONDS = 2;
/** Of warm-up runs: a proxy that has not answered enough by then never will. */
const MAX_WARM_UP_RUNS = 60;
/** Rounds that a busy machine may spoil before the run is given up. */
const MAX_VOID_ROUNDS = 5;

export interface RoundOptions {
  rounds: number;
  seconds: number;
  random: Random;
  say: Say;
  /** Every slice of every round that counts. */
  onSlice(slice: { case: string; round: number; proxy: string } & Slice): void;
}

/** By name of the proxy, one slice for each round. */
export type CaseResult = ReadonlyMap<string, readonly Slice[]>;

export interface CaseRun {
  result: CaseResult;
  leftOut: LeftOut;
}

/** Of the rounds that were measured. */
export interface LeftOut {
  /** Of each that failed: at which proxy, and why. */
  voids: readonly string[];
  /** Others took from the CPUs while they were measured, as calm-rounds.ts says. */
  disturbed: number;
  /** That count all the same. */
  stillDisturbed: number;
}

export async function runCase(setting: Setting, peers: readonly Proxy[], options: RoundOptions): Promise<CaseRun> {
  const running = new Map<string, CountedProxy>();
  try {
    const ours = await breakwater.start(setting);
    running.set(breakwater.name, new CountedProxy(breakwater.name, ours));
    const others = isBesideDirect(setting.bench.load) ? [...peers, direct] : peers;
    for (const peer of others) running.set(peer.name, new CountedProxy(peer.name, await peer.start(setting)));
    return await measureAll(setting, running, ours, options);
  } finally {
    await Promise.all(Array.from(running.values(), ({ proxy }) => proxy.stop()));
  }
}

async function measureAll(
  setting: Setting,
  running: ReadonlyMap<string, CountedProxy>,
  ours: RunningBreakwater,
  options: RoundOptions,
): Promise<CaseRun> {
  const { bench } = setting;
  const load = await prepareLoad(setting);
  for (const counted of running.values()) await counted.begin();
  let saturation = Number.NaN;
  for (const counted of running.values()) {
    const fastest = await warmUp(load.warmUp, bench, counted);
    if (counted.name === envoy.name) saturation = fastest;
  }
  const generate = load.measure(saturation);
  const voids: string[] = [];
  const measured = new CalmRounds(options.rounds);
  while (!measured.areEnough) {
    const slices = await oneRound(setting, generate, load.hold, running, options);
    if (slices instanceof VoidSlice) {
      options.say(`${bench.name}: a round is void: ${slices.message}`);
      voids.push(slices.message);
      if (voids.length > MAX_VOID_ROUNDS)
        throw new Error(`${bench.name}: ${voids.length} rounds were void`, { cause: slices });
      continue;
    }
    const wasCalm = measured.add(slices);
    const cost = Array.from(slices, ([name, slice]) => `${name} ${slice.cpuMicrosPerRequest.toFixed(1)}`);
    options.say(`${bench.name}: CPU-µs per request: ${cost.join(', ')}${wasCalm ? '' : ' (disturbed)'}`);
  }
  for (const counted of running.values()) await counted.checkServed(bench);
  await ours.provePolicies();
  const { rounds, disturbed, stillDisturbed } = measured.counted();
  for (const [index, round] of rounds.entries())
    for (const [proxy, slice] of round) options.onSlice({ case: bench.name, round: index + 1, proxy, ...slice });
  return { result: byProxy(running.keys(), rounds), leftOut: { voids, disturbed, stillDisturbed } };
}

function byProxy(names: Iterable<string>, rounds: readonly Round[]): CaseResult {
  const slicesOf = (name: string) => rounds.map((round) => round.get(name)).filter((slice) => slice !== undefined);
  return new Map(Array.from(names, (name) => [name, slicesOf(name)]));
}

class VoidSlice extends Error {
  override name = 'VoidSlice';
}

async function oneRound(
  setting: Setting,
  generate: GenerateLoad,
  hold: Load['hold'],
  running: ReadonlyMap<string, CountedProxy>,
  { seconds, random }: RoundOptions,
): Promise<Round | VoidSlice> {
  const slices = new Map<string, Slice>();
  for (const counted of shuffled([...running.values()], random)) {
    const { proxy, cpuBefore } = counted;
    const slice = await measureSlice(setting, generate, hold, proxy, seconds, cpuBefore).catch(unlessNotHeld);
    counted.cpuBefore = cpuNanoseconds(proxy.pids);
    if (slice instanceof NotHeld) return new VoidSlice(`${counted.name}: ${slice.message}`);
    counted.add(slice.load.requests, setting.bench);
    const problem = whyVoid(slice.load, setting.bench);
    if (problem !== undefined) return new VoidSlice(`${counted.name}: ${problem}`);
    slices.set(counted.name, slice);
  }
  return new Map(Array.from(running.keys(), (name) => [name, slices.get(name)]).filter(hasSlice));
}

function unlessNotHeld(error: unknown): NotHeld {
  if (error instanceof NotHeld) return error;
  throw error;
}

function hasSlice(entry: (string | Slice | undefined)[]): entry is [string, Slice] {
  return entry[1] !== undefined;
}

/** Resolves to the requests per second of the fastest run. */
async function warmUp(generate: GenerateLoad, bench: BenchCase, counted: CountedProxy): Promise<number> {
  const { port, failed } = counted.proxy;
  let answered = 0;
  const wanted = Math.min(WARM_UP_REQUESTS, WARM_UP_BYTES / bench.answerBytes);
  let fastest = 0;
  for (let run = 0; answered < wanted; run++) {
    if (run === MAX_WARM_UP_RUNS) throw new Error(`${counted.name} answered ${answered} requests while warming up`);
    const load = await Promise.race([generate(port, WARM_UP_SECONDS), failed]);
    const problem = whyVoid(load, bench);
    if (problem !== undefined) throw new Error(`${counted.name}, while warming up: ${problem}`);
    counted.add(load.requests, bench);
    answered += load.requests;
    fastest = Math.max(fastest, load.requests / (load.durationMicros / 1e6));
  }
  return fastest;
}

/** Compares what the load generator saw answered with what the proxy says that it forwarded: nothing else may have answered. */
class CountedProxy {
  readonly name: string;
  readonly proxy: RunningProxy;
  /** Its CPU time at the end of its last slice, in nanoseconds. */
  cpuBefore: number | undefined;
  #before = 0;
  #answered = 0;
  #runs = 0;

  constructor(name: string, proxy: RunningProxy) {
    this.name = name;
    this.proxy = proxy;
  }

  async begin(): Promise<void> {
    this.#before = (await this.proxy.served?.()) ?? 0;
  }

  add(answered: number, { protocol, load: { kind, connections } }: BenchCase): void {
    this.#answered += protocol === 'tcp' && kind === 'closed-loop' ? connections : answered;
    this.#runs++;
  }

  /** Each run of the generator may have left one request unread on each stream; asking for the count may count as well. */
  async checkServed({ load }: BenchCase): Promise<void> {
    if (this.proxy.served === undefined) return;
    const served = (await this.proxy.served()) - this.#before;
    const extra = served - this.#answered;
    const streams = load.connections * streamsOf(load);
    // For nginx a head that does not end is a request as well.
    const extraLimit = slowHeadsOf(load) > 0 ? Number.POSITIVE_INFINITY : this.#runs * (streams + 1) + 1;
    if (extra < 0 || extra > extraLimit) {
      throw new Error(`${this.name} says that it served ${served}, but ${this.#answered} were seen`);
    }
  }
}
