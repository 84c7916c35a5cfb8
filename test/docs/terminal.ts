// A reader's terminal: a shell in which the blocks of a page are typed one after the other, so that variables and folders stay; and commands
// that go on in terminals of their own. Everything that was started is ended with it.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A terminal shows no progress meter of curl, and a reader who copies a block does not type into its commands. */
const PRELUDE = 'curl() { command curl -sS "$@"; }\nset -E\n';
const LONGEST_BLOCK_MS = 240_000;

export interface Typed {
  /** Standard output and error, as a terminal shows them. */
  output: string;
  /** The commands that failed. */
  failed: string[];
}

export interface Place {
  folder: string;
  environment: Readonly<Record<string, string>>;
}

function startShell({ folder, environment }: Place, args: readonly string[]): ChildProcess {
  // A process group of its own, so that what it started can be ended with it.
  return spawn('bash', ['--noprofile', '--norc', ...args], {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
}

function endGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  } catch {
    // It has ended by itself.
  }
}

export class Terminal {
  readonly #place: Place;
  readonly #shell: ChildProcess;
  readonly #others = new Map<string, { child: ChildProcess; output: string }>();
  #seen = '';
  #blocks = 0;

  constructor(place: Place) {
    this.#place = place;
    this.#shell = startShell(place, ['-s']);
    for (const stream of [this.#shell.stdout, this.#shell.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#seen += text;
      });
    }
    this.#shell.stdin?.write(`${PRELUDE}trap 'echo "$BASH_COMMAND" >> ${this.#failures}' ERR\n`);
  }

  get #failures(): string {
    return join(this.#place.folder, '.failed');
  }

  /** Types a block, and waits until its last command has ended. */
  async type(text: string): Promise<Typed> {
    const number = ++this.#blocks;
    const script = join(this.#place.folder, `.block-${number}.sh`);
    const end = `\u0004 end of block ${number}`;
    writeFileSync(script, `${text}\n`);
    rmSync(this.#failures, { force: true });
    this.#seen = '';
    this.#shell.stdin?.write(`. ${script} < /dev/null 2>&1\nprintf '%s\\n' '${end}'\n`);
    await this.#until(
      () => this.#seen.includes(end),
      LONGEST_BLOCK_MS,
      () => `the block ends:\n${text}\n${this.#seen}`,
    );
    const failed = existsSync(this.#failures) ? readFileSync(this.#failures, 'utf8').trim().split('\n') : [];
    rmSync(script, { force: true });
    return { output: this.#seen.slice(0, this.#seen.indexOf(end)), failed };
  }

  /** Types a block into a terminal of its own, where it goes on. */
  open(name: string, text: string): void {
    const child = startShell(this.#place, ['-c', text]);
    const other = { child, output: '' };
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        other.output += chunk;
      });
    }
    this.#others.set(name, other);
  }

  has(name: string): boolean {
    return this.#others.has(name);
  }

  /** Everything that this other terminal shows. */
  outputOf(name: string): string {
    const other = this.#others.get(name);
    if (!other) throw new Error(`the page has opened no terminal ${name}`);
    return other.output;
  }

  /** Ends every command that goes on, and the shell. */
  async end(): Promise<void> {
    const children = [this.#shell, ...[...this.#others.values()].map(({ child }) => child)];
    this.#shell.stdin?.end();
    for (const child of children) endGroup(child);
    const running = children.filter((child) => child.exitCode === null && child.signalCode === null);
    await Promise.all(running.map(ended));
  }

  async #until(condition: () => boolean, withinMs: number, what: () => string): Promise<void> {
    for (const endMs = performance.now() + withinMs; !condition(); await sleep(10)) {
      if (this.#shell.exitCode !== null) throw new Error(`the shell has ended; waited until ${what()}`);
      if (performance.now() > endMs) throw new Error(`waited in vain until ${what()}`);
    }
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const ended = (child: ChildProcess): Promise<void> =>
  new Promise((done) => {
    child.once('exit', () => done());
    setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
  });
