import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isAbandoned, PROCESS_MARK, removeAbandoned } from './temporary-folder.ts';

let base = '';
const children: ChildProcess[] = [];
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'breakwater-temporary-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(base, { recursive: true });
});

/** A process that has made a folder, and goes on as `then` says. */
async function maker(then: string): Promise<{ child: ChildProcess; folder: string; ended: Promise<unknown> }> {
  const helper = JSON.stringify(join(import.meta.dirname, 'temporary-folder.ts'));
  const program = `import(${helper}).then(({ temporaryFolder }) => { console.log(temporaryFolder('some-thing')); ${then} })`;
  const child = spawn(process.execPath, ['--eval', program], {
    env: { ...process.env, TMPDIR: base },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const ended = once(child, 'exit');
  let said = '';
  for await (const chunk of child.stdout ?? []) {
    said += String(chunk);
    if (said.endsWith('\n')) break;
  }
  return { child, folder: said.trim(), ended };
}

it('what a test that was killed has left goes with the next one that makes a folder, and no other', async () => {
  const killed = await maker('setInterval(() => {}, 1000)');
  const lives = await maker('setInterval(() => {}, 1000)');
  writeFileSync(join(killed.folder, 'file'), 'left');
  killed.child.kill('SIGKILL');
  await killed.ended;
  const strangers = [
    'breakwater-standalone-1-abcdef',
    'breakwater-x-1-99999999-abcdef',
    `other-${PROCESS_MARK.replace(/\d+$/, '99999999')}-abcdef`,
  ];
  for (const name of strangers) mkdirSync(join(base, name));
  expect(existsSync(killed.folder)).toBe(true);
  const next = await maker('setInterval(() => {}, 1000)');
  expect(existsSync(killed.folder)).toBe(false);
  expect(readdirSync(base).map((name) => join(base, name))).toEqual(
    expect.arrayContaining([lives.folder, next.folder, ...strangers.map((name) => join(base, name))]),
  );
});

it.each(['', "throw new Error('a test that fails')", 'process.exit(3)'])(
  'a folder that nobody removed goes with its process: %s',
  async (then) => {
    const { ended, folder } = await maker(then === '' ? '' : `process.stdout.write('', () => { ${then} })`);
    await ended;
    expect(folder).toContain('breakwater-some-thing-');
    expect(existsSync(folder)).toBe(false);
  },
);

it('a mark that tells of no process is nobody’s to judge', () => {
  for (const mark of ['', '1', '1-99999999', 'x-1', PROCESS_MARK]) expect(isAbandoned(mark)).toBe(false);
  expect(isAbandoned(PROCESS_MARK.replace(/\d+$/, '99999999'))).toBe(true);
});

it('a folder that is not there any more is no reason to fail', () => {
  expect(() => removeAbandoned(base)).not.toThrow();
});
