// The foreign programs that a run starts: each on its CPU, each ended with the run, however that ends. The kernel ends them where this
// process is killed and can do nothing any more (`setpriv --pdeathsig`).
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { endChild, exitOf } from '../cli/following-child.ts';

const END_GRACE_MS = 5_000;
/** Of what a program wrote, to be shown where it failed. */
const TAIL_CHARACTERS = 4_000;

export interface Program {
  pid: number;
  /** What it wrote lately to standard output and standard error. */
  tail(): string;
  /** Rejects, with what it wrote, when it ends without having been asked to. Never resolves. */
  failed: Promise<never>;
  end(): Promise<void>;
}

export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #adopted: (() => Promise<void>)[] = [];
  #isClosed = false;

  /** Starts a program that serves until it is ended. `environment` is added to that of this process. */
  start(
    cpu: number,
    command: string,
    args: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Program {
    const child = this.#spawn(cpu, command, args, environment);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${command} could not be started`);
    const tail = collectTail(child);
    let isEnding = false;
    const failed = exitOf(child).then(({ code, signal }) => {
      if (isEnding || this.#isClosed) return new Promise<never>(() => undefined);
      throw new Error(`${command} ended by itself (${signal ?? code}):\n${tail()}`);
    });
    // Whoever does not look at it still must not make the process fail.
    failed.catch(() => undefined);
    const end = async () => {
      isEnding = true;
      await endChild(child, END_GRACE_MS);
    };
    return { pid, tail, failed, end };
  }

  /** Runs a program to its end; resolves to its standard output, rejects where it fails. */
  async run(cpu: number, command: string, args: readonly string[]): Promise<string> {
    const child = this.#spawn(cpu, command, args);
    let output = '';
    let errors = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const closed = new Promise((done) => child.once('close', done));
    const { code, signal } = await exitOf(child);
    await closed;
    if (code !== 0) throw new Error(`${command} failed (${signal ?? code}):\n${output}${errors}`);
    return output;
  }

  /** What was started in another way: `end`, which may be called again, is called at the end of the run. */
  adopt(end: () => Promise<void>): void {
    this.#adopted.push(end);
  }

  /** Ends all that run; nothing can be started any more. */
  async endAll(): Promise<void> {
    this.#isClosed = true;
    const ends = Array.from(this.#running, (child) => endChild(child, END_GRACE_MS));
    await Promise.all([...ends, ...this.#adopted.map((end) => end())]);
  }

  #spawn(
    cpu: number,
    command: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    if (this.#isClosed) throw new Error('the run is over');
    const wrapped = ['--pdeathsig', 'TERM', 'taskset', '--cpu-list', String(cpu), command, ...args];
    const child = spawn('setpriv', wrapped, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#running.add(child);
    void exitOf(child).then(() => this.#running.delete(child));
    return child;
  }
}

/** Moves all threads of a process to one CPU; threads that it starts later follow. */
export async function pin(pid: number, cpu: number): Promise<void> {
  await promisify(execFile)('taskset', ['--all-tasks', '--pid', '--cpu-list', String(cpu), String(pid)]);
}

function collectTail(child: ChildProcess): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-TAIL_CHARACTERS);
    });
  }
  return () => text;
}
