// However standalone ends, nothing of it stays: no process of its group, and no file where it was asked to end.
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { dependency, documents, pod, Standalone, service, until } from './harness.ts';

const project = resolve(import.meta.dirname, '../..');
const files = {
  'shop.yaml': documents(
    pod('a', { app: 'checkout' }),
    pod('b', { app: 'checkout' }),
    service('payments'),
    dependency('checkout', 'checkout', ['payments']),
  ),
};
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let running: Standalone | undefined;

afterEach(async () => {
  await running?.cleanUp();
  running = undefined;
});

const isGone = () => running?.group().length === 0;

describe('the end of standalone', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('comes cleanly with %s', async (signal) => {
    running = new Standalone(files);
    await running.ready();
    // Launcher, operator, two sidecars.
    expect(running.group()).toHaveLength(4);
    running.child.kill(signal);
    expect(await running.exit).toEqual({ code: 0, signal: null });
    await until(isGone, 'its processes have ended');
    expect(readdirSync(running.temporary)).toEqual([]);
  });

  it('comes cleanly with a SIGINT from the terminal, which the whole group gets', async () => {
    running = new Standalone(files);
    await running.ready();
    process.kill(-(running.child.pid ?? 0), 'SIGINT');
    expect(await running.exit).toEqual({ code: 0, signal: null });
    await until(isGone, 'its processes have ended');
    expect(readdirSync(running.temporary)).toEqual([]);
    expect(running.logged('a sidecar ended by itself and is started again')).toEqual([]);
  });

  it('comes with the death of the command, of which nobody is told', async () => {
    running = new Standalone(files);
    await running.ready();
    running.child.kill('SIGKILL');
    await until(isGone, 'its processes have ended');
    expect(readdirSync(running.temporary)).toEqual([]);
  });

  it('comes with the death of the operator process', async () => {
    running = new Standalone(files);
    await running.ready();
    const operator = running.group().sort((a, b) => a - b)[1] ?? 0;
    process.kill(operator, 'SIGKILL');
    expect((await running.exit).signal).toBe('SIGKILL');
    await until(isGone, 'the sidecars have ended');

    // It could not remove its keys and tokens any more; the next one does.
    expect(readdirSync(running.temporary)).toHaveLength(1);
    const next = new Standalone(files, undefined, { TMPDIR: running.temporary });
    try {
      await next.ready();
      expect(readdirSync(running.temporary)).toHaveLength(1);
    } finally {
      await next.cleanUp();
    }
    expect(readdirSync(running.temporary)).toEqual([]);
  });

  it('comes with the death of npx', async () => {
    // The project's own .npmrc and lock file are enough: nothing may be fetched.
    running = new Standalone(files, ['npx', '--prefix', project, '--offline', 'breakwater']);
    await running.ready();
    running.child.kill('SIGKILL');
    await until(isGone, 'its processes have ended');
  });

  it('comes also while it starts', async () => {
    running = new Standalone(files);
    await until(() => (running?.group().length ?? 0) > 1, 'it has begun');
    running.child.kill('SIGTERM');
    await running.exit;
    await until(isGone, 'its processes have ended');
    expect(readdirSync(running.temporary)).toEqual([]);
  });
});
