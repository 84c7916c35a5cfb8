import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { startPages, untouchedPages } from './start-pages.ts';

const FILE = '/usr/local/bin/node';
const mapping = (range: string, permissions: string, path: string, anonymousKb: number, swappedKb = 0) =>
  `${range} ${permissions} 00400000 fe:00 1234                       ${path}\nSize:              45420 kB\nRss:               20000 kB\nAnonymous:         ${String(anonymousKb).padStart(5)} kB\nSwap:              ${String(swappedKb).padStart(6)} kB\nSwapPss:                0 kB\nVmFlags: rd ex mr mw me\n`;

describe('pages that may be given back', () => {
  it('are of the file, may not be written to, and were never changed', () => {
    const smaps = [
      mapping('00400000-0082e000', 'r--p', FILE, 0),
      mapping('0082e000-03489000', 'r-xp', FILE, 0),
      mapping('03489000-0348a000', 'rw-p', FILE, 0),
      mapping('0348a000-0348b000', 'r--p', FILE, 24),
      // What the loader wrote, swapped out: no page of it is in memory, and the file does not have it.
      mapping('0348b000-0348c000', 'r--p', FILE, 0, 24),
      mapping('7f0000000000-7f0000001000', 'r-xp', '/lib/libc.so.6', 0),
      mapping('7f0000002000-7f0000003000', 'r-xp', '', 0),
      mapping('7f0000004000-7f0000005000', 'r-xp', `${FILE} (deleted)`, 0),
      mapping('7f0000006000-7f0000007000', 'r-xs', FILE, 0),
    ].join('');
    expect(untouchedPages(smaps, FILE)).toEqual([
      { start: 0x400000n, bytes: 0x42e000n },
      { start: 0x82e000n, bytes: 0x2c5b000n },
    ]);
  });

  it('are none where the kernel does not say that they were never changed', () => {
    for (const said of ['Rss: 1 kB', 'Anonymous:             0 kB', 'Swap:                  0 kB'])
      expect(untouchedPages(`0082e000-03489000 r-xp 00400000 fe:00 1234 ${FILE}\n${said}\n`, FILE)).toEqual([]);
  });
});

it('is done after the start, ever more rarely, and ends with the sidecar', async () => {
  const clock = new ManualClock();
  const times = new Set<number>();
  const part = startPages(clock, silentLogger, () => () => {
    times.add(clock.monotonicMs() - 1_000);
    return 0;
  });
  await part.start();
  await clock.advance(80_000);
  expect([...times]).toEqual([10_000, 30_000, 70_000]);
  await part.stop();
  await clock.advance(10_000_000);
  expect(times.size).toBe(3);
});

it('is left where it cannot be had', async () => {
  const clock = new ManualClock();
  await startPages(clock, silentLogger, () => null).start();
  await clock.advance(10_000);
  expect(clock.timers).toBe(0);
});

it('makes a process smaller, which goes on', async () => {
  const script = `
    import { readFileSync } from 'node:fs';
    import { giveBackStartPages, loadGiveBack } from ${JSON.stringify(`${import.meta.dirname}/start-pages.ts`)};
    const mapped = () => Number(/RssFile:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]);
    const giveBack = loadGiveBack();
    const before = mapped();
    giveBackStartPages(giveBack);
    const after = mapped();
    console.log(JSON.stringify({ before, after, sum: [1, 2, 3].reduce((a, b) => a + b) }));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  const { before, after, sum } = JSON.parse(stdout) as Record<'before' | 'after' | 'sum', number>;
  expect(sum).toBe(6);
  expect(after).toBeLessThan(before - 5_000);
});
