// The launcher as a user's old Node runs it; where there is only the pinned one, that one plays the part.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isFreshClone, isInstalled, type LockFile } from './install-once.js';
import { findPinnedNode } from './pinned-node.js';

const launch = resolve(import.meta.dirname, 'launch.js');
const anyNode = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => existsSync(path)) ?? process.execPath;
let folder: string;
let script: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'breakwater-launcher-'));
  script = join(folder, 'script.mjs');
  writeFileSync(
    script,
    `const [what, how] = process.argv.slice(2);
     if (what === 'exit') process.exit(Number(how));
     if (what === 'die') process.kill(process.pid, how);
     process.on('SIGTERM', () => { console.log('asked to end'); process.exit(7); });
     setInterval(() => {}, 1000);
     console.log(JSON.stringify({ pid: process.pid, node: process.execPath, group: how }));`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Started {
  child: ChildProcess;
  lines: string[];
  exit: Promise<{ code: number | null; signal: string | null }>;
}

function start(command: string, args: readonly string[], env: Record<string, string> = {}): Started {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines, exit: new Promise((done) => child.once('close', (code, signal) => done({ code, signal }))) };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let waited = 0; !condition(); waited += 20) {
    if (waited > 10_000) throw new Error(`waited in vain until ${what}`);
    await sleep(20);
  }
}

/** Its first line, once it is there. */
async function running(started: Started): Promise<{ pid: number; node: string }> {
  await until(() => started.lines.length > 0, 'the script runs');
  return JSON.parse(started.lines[0] ?? '') as { pid: number; node: string };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('the launcher', () => {
  it('runs the script with the pinned Node', async () => {
    const started = start(anyNode, [launch, script]);
    expect((await running(started)).node).toBe(findPinnedNode());
    started.child.kill('SIGTERM');
    await started.exit;
  });

  it.each([0, 1, 42])('ends with the exit code %i of the script', async (code) => {
    expect(await start(anyNode, [launch, script, 'exit', String(code)]).exit).toEqual({ code, signal: null });
  });

  it.each(['SIGKILL', 'SIGINT'])('ends by %s where the script does', async (signal) => {
    expect(await start(anyNode, [launch, script, 'die', signal]).exit).toEqual({ code: null, signal });
  });

  it('passes SIGTERM on and waits for the script', async () => {
    const started = start(anyNode, [launch, script]);
    await running(started);
    started.child.kill('SIGTERM');
    expect(await started.exit).toEqual({ code: 7, signal: null });
    expect(started.lines).toContain('asked to end');
  });

  it('takes the script along when it is killed', async () => {
    const started = start(anyNode, [launch, script]);
    const { pid } = await running(started);
    started.child.kill('SIGKILL');
    await started.exit;
    expect(started.lines).toContain('asked to end');
    await until(() => !isAlive(pid), 'the script has ended');
  });

  it('ends when npm, above the shell that started it, is killed', async () => {
    // As npm does: a shell between it and the command, which waits for it.
    const command = `"${anyNode}" "${launch}" "${script}"; exit $?`;
    const parent = `require('node:child_process').spawn('/bin/sh', ['-c', ${JSON.stringify(command)}], { stdio: 'inherit' }); setInterval(() => {}, 1000);`;
    const started = start(anyNode, ['-e', parent], { npm_command: 'exec' });
    const { pid } = await running(started);
    started.child.kill('SIGKILL');
    await started.exit;
    expect(started.lines).toContain('asked to end');
    await until(() => !isAlive(pid), 'the script has ended');
  });
});

describe('what is installed', () => {
  const a = { version: '1.0.0', integrity: 'sha512-a' };
  const wanted: LockFile = {
    packages: {
      '': {},
      'node_modules/a': a,
      'node_modules/b': { version: '2.0.0', integrity: 'sha512-b', optional: true },
    },
  };

  it('is enough without the optional packages of other platforms', () => {
    expect(isInstalled(wanted, { packages: { 'node_modules/a': a } })).toBe(true);
  });

  it.each([
    ['with nothing', undefined],
    ['without a package', { packages: {} }],
    ['with another version', { packages: { 'node_modules/a': { ...a, version: '1.0.1' } } }],
    ['with another content', { packages: { 'node_modules/a': { ...a, integrity: 'sha512-x' } } }],
    [
      'with another version of an optional one',
      { packages: { 'node_modules/a': a, 'node_modules/b': { version: '1.0.0' } } },
    ],
  ])('is not enough %s', (_, present) => {
    expect(isInstalled(wanted, present)).toBe(false);
  });
});

describe('the command in a clone', () => {
  const having = (...paths: string[]) => isFreshClone((path) => paths.includes(path));

  it('installs where nothing was installed yet, and never into a package', () => {
    expect(having('package-lock.json')).toBe(true);
    expect(having('package-lock.json', 'node_modules')).toBe(false);
    expect(having()).toBe(false);
    expect(having('node_modules')).toBe(false);
  });
});
