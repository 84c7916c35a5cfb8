import { join } from 'node:path';
import { expect, test } from 'vitest';
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
  'hosts and undeclared destinations are told apart, and what goes past a sidecar without privileges is counted',
  async () => {
    const printed = await run(process.execPath, [join(import.meta.dirname, 'hosts.netns.ts')], { timeoutMs: 110_000 });
    expect(printed).toContain('hosts, undeclared destinations and capture without privileges work');
  },
  120_000,
);
