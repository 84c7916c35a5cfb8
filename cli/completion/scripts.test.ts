// The scripts in the shells they are for: interactive ones, on a terminal, with a Tab where a user would press it.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../testing.ts';
import { SCRIPTS, SHELLS } from './scripts.ts';

vi.setConfig({ testTimeout: 60_000 });

const root = resolve(import.meta.dirname, '../..');
let folder: string;
let env: NodeJS.ProcessEnv;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'breakwater-test-completion-'));
  mkdirSync(join(folder, 'bin'));
  mkdirSync(join(folder, 'work/shop'), { recursive: true });
  symlinkSync(join(root, 'cli/bin/breakwater.js'), join(folder, 'bin/breakwater'));
  for (const shell of SHELLS) writeFileSync(join(folder, `completion.${shell}`), SCRIPTS[shell]);
  writeFileSync(join(folder, 'work/policy.yaml'), '');
  writeFileSync(join(folder, 'work/potato.txt'), '');
  env = {
    ...process.env,
    PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
    HOME: folder,
    TERM: 'dumb',
    PS1: '$ ',
  };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isThere = (program: string) =>
  ['/usr/bin', '/bin', '/usr/local/bin'].some((path) => existsSync(join(path, program)));
/** Where everything must run, a shell that is missing is a failure. */
const isLeftOut = (program: string) => !isThere(program) && process.env['CI'] !== 'true';
/** Its `script` takes other words, and is what makes a terminal here. */
const isMac = process.platform === 'darwin';

/** What a shell on a terminal shows when these lines are typed. */
function typed(shell: readonly string[], lines: readonly string[]): Promise<string> {
  const command = shell.map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: join(folder, 'work'),
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
  });
  child.stdin.on('error', () => undefined);
  child.stdin.write(`${lines.join('\n')}\n`);
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', () => done(shown));
  });
}

/** The words that are typed after the name of the command, and what the line becomes with one Tab; each is echoed by a function. */
const TYPED: readonly (readonly [string, string])[] = [
  ['vers', 'version'],
  ['check --out', 'check --output'],
  ['check --output gi', 'check --output github'],
  ['check --output=gi', 'check --output=github'],
  ['check po', 'check policy.yaml'],
  ['check sh', 'check shop/'],
  ['explain -f po', 'explain -f policy.yaml'],
  ['explain sde', 'explain sdep/'],
  ['explain deploy/checkout --conte', 'explain deploy/checkout --context'],
];

/** The command lines that were entered, as the function has shown them; it was itself shown before. */
const entered = (shown: string) =>
  [...shown.matchAll(/GOT\[(.*?)\]/g)].slice(-TYPED.length).map(([, line]) => line?.trim());

describe('bash', () => {
  it.skipIf(isMac)('completes on a terminal', async () => {
    const lines = TYPED.map(([words]) => `breakwater ${words}\t`);
    // The completion asks the real command; what is entered afterwards only shows its words.
    const show = 'breakwater() { if [[ $1 == __complete ]]; then command breakwater "$@"; else echo "GOT[$*]"; fi; }';
    const shown = await typed(
      ['bash', '--norc', '--noprofile', '-i'],
      [`source ${folder}/completion.bash`, show, ...lines, 'exit'],
    );
    expect(entered(shown)).toEqual(TYPED.map(([, line]) => line));
  });

  it('lists what there is, and keeps to what stands before ":"', async () => {
    const script = `source ${folder}/completion.bash
      COMP_LINE='breakwater ' COMP_POINT=11 COMP_WORDS=(breakwater '') COMP_CWORD=1 _breakwater_complete; echo "\${COMPREPLY[@]}"
      breakwater() { printf 'payments.billing:8080\\n:4\\n'; }
      COMP_LINE='breakwater x payments.billing:8' COMP_POINT=33 COMP_WORDS=(breakwater x payments.billing : 8) COMP_CWORD=4
      _breakwater_complete; echo "\${COMPREPLY[@]}"`;
    expect(await output('bash', ['-c', script])).toBe(
      'check explain inject standalone demo completion version operator sidecar\n8080\n',
    );
  });
});

describe('zsh', () => {
  it.skipIf(isMac || isLeftOut('zsh'))('completes on a terminal', async () => {
    const setUp = [
      'autoload -Uz compinit && compinit -u -D',
      `source ${folder}/completion.zsh`,
      'breakwater() { if [[ $1 == __complete ]]; then command breakwater "$@"; else echo "GOT[$*]"; fi; }',
    ];
    const lines = TYPED.map(([words]) => `breakwater ${words}\t`);
    const shown = await typed(['zsh', '-f', '-i'], [...setUp, ...lines, 'exit']);
    // It takes the slash of a folder away again where a line ends with it.
    expect(entered(shown)).toEqual(TYPED.map(([, line]) => line.replace('shop/', 'shop')));
  });
});

describe('fish', () => {
  it.skipIf(isLeftOut('fish'))('completes', async () => {
    const asked = TYPED.map(([words]) => `complete -C 'breakwater ${words}' | string split -f1 \\t; echo ==`).join(
      '\n',
    );
    const shown = await output('fish', ['--no-config', '-c', `source ${folder}/completion.fish\n${asked}`]);
    const expected = TYPED.map(([, line]) => line.split(' ').at(-1));
    expect(
      shown
        .split('==\n')
        .slice(0, -1)
        .map((lines) => lines.trim()),
    ).toEqual(expected);
  });
});

function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((done, failed) => {
    execFile(command, args, { cwd: join(folder, 'work'), env }, (error, stdout, stderr) => {
      if (error) failed(new Error(`${error.message}\n${stderr}`));
      else done(stdout);
    });
  });
}

it('each shell is told how to get it', async () => {
  const { stdout } = await run(['completion', '--help']);
  for (const shell of SHELLS) {
    expect(stdout).toContain(`breakwater completion ${shell}`);
    expect((await run(['completion', shell])).stdout).toBe(SCRIPTS[shell]);
  }
  expect((await run(['completion', 'tcsh'])).code).toBe(2);
});
