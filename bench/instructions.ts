// The case `instructions`: what the policies add to a request, counted. The same sidecar runs under callgrind twice: over a dependency for which
// nobody wrote a policy, and under every policy that acts on each request. One connection, one request after the other, and of each
// window of requests the instructions of the main thread: the compiler of V8 has a thread of its own, and what it does at what time is chance.
// The cheapest window counts, for garbage collection and late optimizations only add; and the middle one beside it, for what works by the clock
// falls into any of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock as clock } from '../runtime/clock.ts';
import { parseH2load } from './h2load.ts';
import { ask } from './loopback.ts';
import { manifestsOf, requestPolicies } from './manifests.ts';
import type { OwnCase, OwnCaseResult } from './own-case.ts';
import type { Program } from './processes.ts';
import { leaveOnDisk } from './restarted-sidecar.ts';
import type { Setting } from './setting.ts';
import { median } from './statistics.ts';
import { findValgrind, type Say } from './tools.ts';

const RATIO_LIMIT = 1.2;
/** Until the compiler of V8 has done most of its work: before anything is counted, which is faster, and once more while it is. */
const WARM_UP_REQUESTS = 12_000;
const COUNTED_WARM_UP_REQUESTS = 2_000;
const WINDOWS = 8;
const WINDOW_REQUESTS = 500;
/** A sidecar under callgrind is slow enough to shed load now and then. */
const MAX_VOID_WINDOWS = 24;
const READY_WITHIN_MS = 300_000;
const LOOK_EVERY_MS = 500;

const SUBJECTS = { forwarding: null, policies: requestPolicies(1) } as const;
type Subject = keyof typeof SUBJECTS;

export const INSTRUCTIONS: OwnCase = {
  name: 'instructions',
  description: 'of a request under every policy beside forwarding alone, by callgrind (minutes; needs valgrind)',
  async measure(setting, { say }) {
    const results = new Map<Subject, number[]>();
    for (const subject of ['forwarding', 'policies'] as const) {
      results.set(subject, await countWindows(setting, subject, say));
    }
    return reportInstructions(results);
  },
};

/** Instructions of each request, by window. */
async function countWindows(setting: Setting, subject: Subject, say: Say): Promise<number[]> {
  const { folder, proxyCpu, upstreamPort } = setting;
  const manifests = manifestsOf({ upstreamPort, portName: 'http', policy: SUBJECTS[subject] });
  const sidecar = await leaveOnDisk(setting, subject, manifests);
  const output = join(folder, `${subject}.callgrind`);
  const callgrind = ['--tool=callgrind', '--instr-atstart=no', '--separate-threads=yes'];
  const program = sidecar.start(proxyCpu, findValgrind(say), ...callgrind, `--callgrind-out-file=${output}`);
  const control = (option: string) =>
    setting.processes.run(setting.loadCpu, 'callgrind_control', [option, String(program.pid)]);
  const load = (requests: number) => sendRequests(setting, sidecar.port, requests, program);
  try {
    await untilAnswering(sidecar.port, program);
    say(`instructions: ${subject}: warming up`);
    await load(WARM_UP_REQUESTS);
    await control('--instr=on');
    await load(COUNTED_WARM_UP_REQUESTS);
    const windows: number[] = [];
    for (let window = 1; windows.length < WINDOWS; window++) {
      if (window > WINDOWS + MAX_VOID_WINDOWS) throw new Error(`${subject}: the sidecar sheds too much of its load`);
      await control('--zero');
      const refused = await load(WINDOW_REQUESTS);
      await control('--dump');
      if (refused > 0) continue;
      windows.push(mainThreadInstructions(readFileSync(`${output}.${window}-01`, 'utf8')) / WINDOW_REQUESTS);
      say(`instructions: ${subject}: window ${windows.length} of ${WINDOWS}, ${windows.at(-1)?.toFixed(0)} a request`);
    }
    return windows;
  } finally {
    await program.end();
  }
}

async function untilAnswering(port: number, program: Program): Promise<void> {
  const deadlineMs = clock.monotonicMs() + READY_WITHIN_MS;
  const look = async () => {
    while (
      !(await ask(port, '/1k').then(
        ({ status }) => status === 200,
        () => false,
      ))
    ) {
      if (clock.monotonicMs() > deadlineMs)
        throw new Error(`the sidecar under callgrind answers nothing:\n${program.tail()}`);
      await clock.sleep(LOOK_EVERY_MS);
    }
  };
  await Promise.race([look(), program.failed]);
}

/** Resolves to how many were not answered by the dependency. */
async function sendRequests(
  { processes, tools, loadCpu, bench }: Setting,
  port: number,
  requests: number,
  program: Program,
): Promise<number> {
  const args = ['--h1', `--requests=${requests}`, '--clients=1', '--max-concurrent-streams=1'];
  const run = processes.run(loadCpu, tools.h2load, [...args, `http://127.0.0.1:${port}${bench.path}`]);
  const load = parseH2load(await Promise.race([run, program.failed]));
  return requests - load.requests + load.badStatuses + load.socketErrors;
}

/** PURE. Of what callgrind wrote of the first thread. */
export function mainThreadInstructions(text: string): number {
  const thread = /^thread: (\d+)$/m.exec(text)?.[1];
  const instructions = Number(/^summary: (\d+)$/m.exec(text)?.[1]);
  if (!/^events: Ir$/m.test(text) || thread !== '1' || !(instructions > 0)) {
    throw new Error(`callgrind wrote something else than the instructions of the main thread:\n${text.slice(0, 500)}`);
  }
  return instructions;
}

/** PURE. */
export function reportInstructions(results: ReadonlyMap<string, readonly number[]>): OwnCaseResult {
  const of = (name: Subject) => results.get(name) ?? [];
  const least = (name: Subject) => Math.min(...of(name));
  const ratioOf = (policies: number, forwarding: number) => Math.round((policies / forwarding) * 1000) / 1000;
  const ratio = ratioOf(least('policies'), least('forwarding'));
  const medianRatio = ratioOf(median(of('policies')), median(of('forwarding')));
  const lines = Array.from(results, ([name, windows]) => {
    const all = windows.map((each) => each.toFixed(0)).join(', ');
    return `${name.padEnd(10)}  ${Math.min(...windows).toFixed(0)} (windows: ${all})`;
  });
  const record = {
    case: 'instructions',
    forwarding: Math.round(least('forwarding')),
    policies: Math.round(least('policies')),
    ratio,
    medianRatio,
  };
  return {
    lines: [
      'instructions: of the main thread, a request',
      ...lines,
      `every policy ÷ forwarding: ${ratio.toFixed(3)} of the cheapest windows, ${medianRatio.toFixed(3)} of the middle ones`,
    ],
    records: [record],
    failures: [ratio, medianRatio]
      .filter((each) => !(each <= RATIO_LIMIT))
      .map((each) => `instructions: ${each} of forwarding alone, the limit is ${RATIO_LIMIT}`),
  };
}
