import { describe, expect, it } from 'vitest';
import { createMemoryReader } from './cgroup-memory.ts';

const MIB = 1024 * 1024;

function filesOf(files: Record<string, string>): (path: string) => string {
  return (path) => {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT ${path}`);
    return text;
  };
}

const STAT_2 = `anon ${60 * MIB}\nfile ${40 * MIB}\nkernel ${5 * MIB}\nshmem ${2 * MIB}\ninactive_anon 0\nactive_anon ${60 * MIB}\ninactive_file ${30 * MIB}\nactive_file ${8 * MIB}\n`;
const STAT_1 = `cache ${9 * MIB}\ninactive_file 1\nactive_file 1\ntotal_inactive_file ${30 * MIB}\ntotal_active_file ${8 * MIB}\n`;

describe('the memory of the control group', () => {
  it('is read from version 2, in the place where a container sees its own group', () => {
    const read = createMemoryReader(
      filesOf({
        '/proc/self/cgroup': '0::/\n',
        '/sys/fs/cgroup/memory.max': `${256 * MIB}\n`,
        '/sys/fs/cgroup/memory.current': `${105 * MIB}\n`,
        '/sys/fs/cgroup/memory.stat': STAT_2,
      }),
    );
    expect(read?.()).toEqual({ usedBytes: 67 * MIB, limitBytes: 256 * MIB });
  });

  it('is read from version 1, where the group has a path', () => {
    const folder = '/sys/fs/cgroup/memory/kubepods/pod1/abc';
    const read = createMemoryReader(
      filesOf({
        '/proc/self/cgroup': '9:name=systemd:/\n4:cpu,memory:/kubepods/pod1/abc\n0::/\n',
        [`${folder}/memory.limit_in_bytes`]: `${64 * MIB}\n`,
        [`${folder}/memory.usage_in_bytes`]: `${50 * MIB}\n`,
        [`${folder}/memory.stat`]: STAT_1,
      }),
    );
    expect(read?.()).toEqual({ usedBytes: 12 * MIB, limitBytes: 64 * MIB });
  });

  it('is read from version 1 at its root, where the path is that of the host', () => {
    const read = createMemoryReader(
      filesOf({
        '/proc/self/cgroup': '4:memory:/somewhere/on/the/host\n',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${64 * MIB}\n`,
        '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${10 * MIB}\n`,
        '/sys/fs/cgroup/memory/memory.stat': STAT_1,
      }),
    );
    expect(read?.()).toEqual({ usedBytes: 0, limitBytes: 64 * MIB });
  });

  it('is read from version 1, where version 2 tells of a limit and not of what is used', () => {
    const read = createMemoryReader(
      filesOf({
        '/proc/self/cgroup': '4:memory:/\n0::/\n',
        '/sys/fs/cgroup/memory.max': `${256 * MIB}\n`,
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${64 * MIB}\n`,
        '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${50 * MIB}\n`,
        '/sys/fs/cgroup/memory/memory.stat': STAT_1,
      }),
    );
    expect(read?.()).toEqual({ usedBytes: 12 * MIB, limitBytes: 64 * MIB });
  });

  it.each(['max\n', '9223372036854771712\n'])('has no limit where the kernel says %j', (limit) => {
    const read = createMemoryReader(
      filesOf({
        '/sys/fs/cgroup/memory.max': limit,
        '/sys/fs/cgroup/memory.current': '1\n',
        '/sys/fs/cgroup/memory.stat': STAT_2,
      }),
    );
    expect(read?.()).toBeNull();
  });

  it('is unknown where there is no control group', () => {
    expect(createMemoryReader(filesOf({}))).toBeNull();
  });

  it('of this machine is found, and makes sense', () => {
    const read = createMemoryReader();
    const use = read?.() ?? null;
    if (use === null) return;
    expect(use.usedBytes).toBeGreaterThan(MIB);
    expect(use.limitBytes).toBeGreaterThan(use.usedBytes);
  });
});
