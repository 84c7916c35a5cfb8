import { describe, expect, it } from 'vitest';
import {
  allowedCpus,
  commandLine,
  cpuNanoseconds,
  memoryOf,
  parseAllowedCpus,
  parseMemory,
  parseParent,
  parseProcessors,
  parseSchedstat,
  processorTimes,
  processTree,
} from './procfs.ts';

describe('what the kernel writes', () => {
  it('schedstat: the time on a CPU comes first', () => {
    expect(parseSchedstat('1234567890123 42 7\n')).toBe(1_234_567_890_123);
    expect(() => parseSchedstat('')).toThrow('no schedstat');
    expect(() => parseSchedstat('1.5 2 3')).toThrow('no schedstat');
  });

  it('status: memory in KiB', () => {
    const text =
      'Name:\tnginx\nVmHWM:\t    9999 kB\nVmRSS:\t    5960 kB\nRssAnon:\t    1204 kB\nRssFile:\t    4756 kB\n';
    expect(parseMemory(text)).toEqual({ rssBytes: 5960 * 1024, anonymousBytes: 1204 * 1024 });
    expect(parseMemory('Name:\tgone\nState:\tZ (zombie)\n')).toEqual({ rssBytes: 0, anonymousBytes: 0 });
  });

  it('stat: one line for each processor', () => {
    const text = 'cpu  30 0 30 300 0 0 0 6 0 0\ncpu0 10 1 10 100 5 2 3 4 9 9\ncpu1 20 0 20 200 0 0 0 2 0 0\nintr 5 1\n';
    expect(parseProcessors(text)).toEqual(
      new Map([
        [0, { total: 135, idle: 105, steal: 4 }],
        [1, { total: 242, idle: 200, steal: 2 }],
      ]),
    );
  });

  it('stat of a process: a name may hold spaces and parentheses', () => {
    expect(parseParent('12 (a) b (c) S 77 12 12 0 -1')).toBe(77);
    expect(() => parseParent('nonsense')).toThrow('no stat');
  });

  it.each([
    ['0-1', [0, 1]],
    ['3', [3]],
    ['0,2-4,8', [0, 2, 3, 4, 8]],
    ['', []],
  ])('the list of allowed CPUs "%s"', (list, expected) => {
    expect(parseAllowedCpus(`Cpus_allowed:\t3\nCpus_allowed_list:\t${list}\n`)).toEqual(expected);
  });
});

describe.runIf(process.platform === 'linux')('this process', () => {
  it('uses CPU time, and schedstat sees it', () => {
    const before = cpuNanoseconds([process.pid]);
    const usage = process.cpuUsage();
    let spent = 0;
    while (spent < 50_000) {
      const { user, system } = process.cpuUsage(usage);
      spent = user + system;
    }
    const seenMicros = (cpuNanoseconds([process.pid]) - before) / 1000;
    expect(seenMicros).toBeGreaterThan(40_000);
  });

  it('has memory, a parent above it, a command line and a CPU', () => {
    expect(memoryOf([process.pid]).anonymousBytes).toBeGreaterThan(1_000_000);
    expect(memoryOf([process.pid]).rssBytes).toBeGreaterThan(memoryOf([process.pid]).anonymousBytes);
    expect(processTree(process.ppid)).toContain(process.pid);
    expect(processTree(process.pid)).not.toContain(process.ppid);
    expect(commandLine(process.pid)[0]).toContain('node');
    expect(allowedCpus().length).toBeGreaterThan(0);
    for (const cpu of allowedCpus()) expect(processorTimes().get(cpu)?.total).toBeGreaterThan(0);
  });

  it('is told apart from one that is gone', () => {
    expect(() => cpuNanoseconds([2 ** 22 + 1])).toThrow('ENOENT');
    expect(commandLine(2 ** 22 + 1)).toEqual([]);
  });
});
