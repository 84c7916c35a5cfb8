import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PROCESS_MARK } from '../harness/temporary-folder.ts';
import { removeAbandonedNamespaces } from './capture.netns.ts';
import { run } from './shell.ts';

// The cluster has one address family and one variant of iptables; what the others do is shown between two network namespaces.
test.runIf(process.getuid?.() === 0)(
  'capture works for both families and both variants of iptables',
  async () => {
    const printed = await run(process.execPath, [join(import.meta.dirname, 'capture.netns.ts')], {
      timeoutMs: 110_000,
    });
    expect(printed).toContain('capture by iptables works: both families');
  },
  120_000,
);

test.runIf(process.getuid?.() === 0)(
  'a run that was killed leaves nothing that the next one does not find, and takes for its own',
  async () => {
    const ended = spawn('true');
    await once(ended, 'exit');
    const left = `bwpeer-${PROCESS_MARK.replace(/\d+$/, String(ended.pid))}`;
    const others = [`bwpod-${PROCESS_MARK}`, `bwpod${ended.pid}`];
    try {
      for (const name of [left, ...others]) await run('ip', ['netns', 'add', name]);
      const inside = spawn('ip', ['netns', 'exec', left, process.execPath, '--eval', 'setInterval(() => {}, 1000)']);
      const gone = once(inside, 'exit');
      await expect.poll(() => run('ip', ['netns', 'pids', left])).not.toBe('');
      await removeAbandonedNamespaces();
      await gone;
      const there = (await run('ip', ['netns', 'list'])).split('\n').map((line) => line.split(' ')[0]);
      expect(there).toEqual(expect.arrayContaining(others));
      expect(there).not.toContain(left);
    } finally {
      for (const name of others) await run('ip', ['netns', 'delete', name]);
    }
  },
  60_000,
);

test.runIf(process.getuid?.() === 0)(
  'hosts and undeclared destinations are told apart, and what goes past a sidecar without privileges is counted',
  async () => {
    const printed = await run(process.execPath, [join(import.meta.dirname, 'hosts.netns.ts')], { timeoutMs: 110_000 });
    expect(printed).toContain('hosts, undeclared destinations and capture without privileges work');
  },
  120_000,
);
