// A mixed load on a whole sidecar for as long as it is told: HTTP/1.1, HTTP/2, gRPC, WebSocket and TCP, faults of the servers, callers that go
// away, a new plan every second. What must hold: each request ends in one way, and nothing that the process holds grows.
import { readdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuNanoseconds, memoryOf } from '../../bench/procfs.ts';
import { seededRandom } from '../../runtime/random.ts';
import { ConformanceSidecar, type Declared } from '../conformance/sidecar.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { Callers } from './callers.ts';
import { Ledger } from './ledger.ts';
import { Probe } from './probe.ts';
import type { Held } from './probe-inside.ts';
import { type Servers, startServers } from './servers.ts';
import { type Sample, type Slope, theilSen } from './slope.ts';

/** Requests a second, so that a busy machine still has room. */
const RATES = { http1: 60, http2: 25, grpc: 25, socket: 3, tcp: 8 } as const;
const TICK_MS = 20;
const SWAP_EVERY_MS = 1_000;
/** Far beyond every timeout of the sidecar; what is left is how slow this machine may be. */
const OVERDUE_MS = 120_000;
/** The CPU of a request is compared over no less: it depends on who else works on this machine. */
const MIN_DRIFT_HOURS = 0.15;
/** The first samples show how a process warms up: code is compiled, pools fill. */
const WARM_UP_SHARE = 1 / 3;
const MIN_WARM_UP_MS = 25_000;
const SAMPLES = 120;
const MIN_SAMPLE_EVERY_MS = 1_000;
const LOG_CHARACTERS = 4_000;

/**
 * What is watched, and how much of it one run may gain before that is a leak: less is what pages and pools of free buffers do from one minute
 * to the next, and a machine on which others begin to work. A share of the median where it says so.
 *
 * Compiled code is apart from the heap. V8 goes on compiling what becomes hot, for hours where a function runs once for each plan, throws code
 * away when its assumptions break, and compiles it again: some MiB up and down, bounded by the functions that there are. Without its optimizing
 * compiler (`--no-turbofan`) code and heap both stay where they are over thousands of plans, and so do the objects with it.
 */
export const WATCHED = {
  'anonymous memory': { unit: 'MiB', tolerance: 6 },
  'heap after collection': { unit: 'MiB', tolerance: 1.5 },
  'compiled code': { unit: 'MiB', tolerance: 3 },
  objects: { unit: '', tolerance: 2_000 },
  'open files': { unit: '', tolerance: 30 },
  handles: { unit: '', tolerance: 30 },
  timers: { unit: '', tolerance: 4 },
  listeners: { unit: '', tolerance: 200 },
  'places in bulkheads': { unit: '', tolerance: 20 },
  'CPU per request': { unit: 'µs', tolerance: 0.1, relative: true },
} as const satisfies Record<string, { unit: string; tolerance: number; relative?: boolean }>;
export type Watched = keyof typeof WATCHED;

export interface Finding {
  what: Watched;
  median: number;
  slope: Slope;
  /** What the lower bound of the slope comes to over the time that was watched, in the unit of the tolerance. */
  gained: number;
  leaks: boolean;
}

export interface SoakReport {
  requests: number;
  outcomes: ReadonlyMap<string, number>;
  violations: readonly string[];
  swaps: number;
  findings: readonly Finding[];
}

export async function runSoak(minutes: number, seed: number, say: (line: string) => void): Promise<SoakReport> {
  const soak = await Soak.start(seed);
  try {
    return await soak.run(minutes * 60_000, say);
  } catch (error) {
    // A process that ended by itself said why.
    say(soak.log.slice(-LOG_CHARACTERS));
    throw error;
  } finally {
    await soak.stop();
  }
}

interface Parts {
  ledger: Ledger;
  servers: Servers;
  sidecar: ConformanceSidecar;
  callers: Callers;
  /** Of the probe. */
  folder: string;
  probe: Probe;
}

class Soak {
  readonly #ledger: Ledger;
  readonly #servers: Servers;
  readonly #sidecar: ConformanceSidecar;
  readonly #callers: Callers;
  readonly #folder: string;
  readonly #probe: Probe;
  readonly #samples = new Map<Watched, Sample[]>();
  #swaps = 0;
  #held: Held | null = null;
  #cpuBefore = 0;
  #finishedBefore = 0;

  private constructor({ ledger, servers, sidecar, callers, folder, probe }: Parts) {
    this.#ledger = ledger;
    this.#servers = servers;
    this.#sidecar = sidecar;
    this.#callers = callers;
    this.#folder = folder;
    this.#probe = probe;
  }

  static async start(seed: number): Promise<Soak> {
    const random = seededRandom(seed);
    const ledger = new Ledger();
    const servers = await startServers(ledger, random);
    const folder = temporaryFolder('soak');
    const probe = new Probe(folder);
    const sidecar = await ConformanceSidecar.start(dependencies(servers, 0), [], probe.environment);
    const port = (name: string) => sidecar.port(name);
    const callers = new Callers({ ledger, random, port, nowMs: () => performance.now() });
    return new Soak({ ledger, servers, sidecar, callers, folder, probe });
  }

  get log(): string {
    return this.#sidecar.log;
  }

  async run(durationMs: number, say: (line: string) => void): Promise<SoakReport> {
    const beganMs = performance.now();
    const warmMs = Math.max(MIN_WARM_UP_MS, durationMs * WARM_UP_SHARE);
    const sampleEveryMs = Math.max(MIN_SAMPLE_EVERY_MS, (durationMs - warmMs) / SAMPLES);
    const owed = { http1: 0, http2: 0, grpc: 0, socket: 0, tcp: 0 };
    let [lastMs, swapAtMs, sampleAtMs, toldAtMs] = [beganMs, beganMs, beganMs + warmMs, beganMs];
    for (;;) {
      const nowMs = performance.now();
      if (nowMs - beganMs >= durationMs) break;
      for (const kind of Object.keys(owed) as (keyof typeof owed)[]) {
        // After a pause of this process there is no wave of what it missed.
        owed[kind] += RATES[kind] * (Math.min(nowMs - lastMs, 10 * TICK_MS) / 1_000);
        for (; owed[kind] >= 1; owed[kind] -= 1) this.#call(kind);
      }
      lastMs = nowMs;
      this.#ledger.overdue(OVERDUE_MS, nowMs);
      if (nowMs >= swapAtMs) {
        swapAtMs = nowMs + SWAP_EVERY_MS;
        this.#swaps += 1;
        this.#sidecar.declare(dependencies(this.#servers, this.#swaps));
      }
      if (nowMs >= sampleAtMs) {
        sampleAtMs = nowMs + sampleEveryMs;
        await this.#sample(nowMs);
      }
      if (nowMs >= toldAtMs + 60_000) {
        toldAtMs = nowMs;
        say(`minute ${Math.round((nowMs - beganMs) / 60_000)}: ${this.#progress()}`);
      }
      await sleep(TICK_MS);
    }
    await this.#settle();
    const { finished, outcomes, violations } = this.#ledger;
    return { requests: finished, outcomes, violations, swaps: this.#swaps, findings: this.#findings() };
  }

  async stop(): Promise<void> {
    this.#callers.close();
    await this.#sidecar.stop();
    this.#servers.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #progress(): string {
    const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const held = this.#held;
    const looked = held
      ? `, heap ${mebibytes(held.heapBytes)}, code ${mebibytes(held.codeBytes)}, ${held.objects} objects`
      : '';
    return `${this.#ledger.finished} requests, ${this.#swaps} plans, ${mebibytes(this.#sidecar.rssBytes)} resident${looked}`;
  }

  #call(kind: keyof typeof RATES): void {
    if (kind === 'http1') this.#callers.http1();
    else if (kind === 'socket') this.#callers.webSocket();
    else if (kind === 'tcp') this.#callers.tcp();
    else this.#callers.http2(kind === 'grpc');
  }

  /** What is under way ends, and then nothing is taken any more. */
  async #settle(): Promise<void> {
    const endMs = performance.now() + OVERDUE_MS;
    while (this.#ledger.open > 0 && performance.now() < endMs) await sleep(TICK_MS);
    this.#ledger.overdue(0, performance.now());
    this.#callers.close();
    await this.#sidecar.untilIdle();
  }

  async #sample(atMs: number): Promise<void> {
    const { pid } = this.#sidecar;
    const cpu = cpuNanoseconds([pid]);
    const requests = this.#ledger.finished - this.#finishedBefore;
    // That of the probe itself is not counted.
    if (this.#cpuBefore > 0 && requests > 0)
      this.#note('CPU per request', atMs, (cpu - this.#cpuBefore) / 1_000 / requests);
    const held = await this.#probe.ask(pid);
    this.#held = held;
    this.#note('heap after collection', atMs, held.heapBytes / 2 ** 20);
    this.#note('compiled code', atMs, held.codeBytes / 2 ** 20);
    this.#note('objects', atMs, held.objects);
    this.#note('handles', atMs, held.handles);
    this.#note('timers', atMs, held.timers);
    this.#note('listeners', atMs, held.listeners);
    this.#note('anonymous memory', atMs, memoryOf([pid]).anonymousBytes / 2 ** 20);
    this.#note('open files', atMs, readdirSync(`/proc/${pid}/fd`).length);
    this.#note('places in bulkheads', atMs, await this.#sidecar.metric('breakwater_bulkhead_in_flight'));
    this.#cpuBefore = cpuNanoseconds([pid]);
    this.#finishedBefore = this.#ledger.finished;
  }

  #note(what: Watched, atMs: number, value: number): void {
    const samples = this.#samples.get(what) ?? [];
    samples.push({ atMs, value });
    this.#samples.set(what, samples);
  }

  #findings(): Finding[] {
    return (Object.keys(WATCHED) as Watched[]).map((what) => judge(what, this.#samples.get(what) ?? []));
  }
}

export function judge(what: Watched, samples: readonly Sample[]): Finding {
  const watched: { tolerance: number; relative?: boolean } = WATCHED[what];
  const slope = theilSen(samples);
  const values = samples.map(({ value }) => value).sort((a, b) => a - b);
  const median = values[Math.floor(values.length / 2)] ?? 0;
  const hours = ((samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0)) / 3_600_000;
  const gained = (slope.low * hours) / (watched.relative ? median : 1);
  const told = watched.relative !== true || hours >= MIN_DRIFT_HOURS;
  return { what, median, slope, gained, leaks: told && gained > watched.tolerance };
}

/** The plan of a moment: numbers change, and with them what is swapped; nothing that is declared goes away. */
function dependencies({ ports }: Servers, swap: number): Record<string, Declared> {
  const timeouts = { request: '5s', attempt: '2s', idle: swap % 2 === 0 ? '60s' : '90s' };
  const retries = { maxAttempts: 2, backoff: { initial: '10ms', max: '50ms' } };
  const policy = {
    timeouts,
    retries,
    bulkhead: { maxConcurrent: 60 + (swap % 3) * 10 },
    circuitBreaker: { consecutiveFailures: 20 },
  };
  return {
    http1: { ports: [ports.http1], appProtocol: 'http', policy },
    http2: { ports: [ports.http2], appProtocol: 'kubernetes.io/h2c', policy },
    socket: { ports: [ports.socket], appProtocol: 'http', policy },
    tcp: { ports: [ports.tcp], appProtocol: 'tcp', policy: { timeouts: { connect: '1s', idle: timeouts.idle } } },
  };
}
