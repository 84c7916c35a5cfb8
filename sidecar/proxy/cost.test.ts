// What one request costs, counted and not timed, so that the bounds can be tight.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it, vi } from 'vitest';
import type { Costs } from './testing/request-cost.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** What optimized code saves depends on when it was made, and so on the machine: this counts what the code says, every number in its box. */
const FLAGS = ['--no-opt', '--no-maglev', '--no-sparkplug', '--no-lazy-feedback-allocation'];
/** Strings of the heads, and what node:net makes for each write: measured 5,900, for a POST of 64 KiB 6,800. */
const MAX_BYTES = 6_500;
const MAX_BYTES_64K = 7_400;

let costs: Costs;
beforeAll(async () => {
  const script = join(import.meta.dirname, 'testing/request-cost.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [...FLAGS, script]);
  costs = JSON.parse(stdout) as Costs;
});

it('a request is two writes and two wake-ups, with all policies or with none', () => {
  for (const cost of [costs.plain, costs.whole]) expect(cost).toMatchObject({ writes: 2 });
  for (const { events } of Object.values(costs)) expect(events).toBeLessThan(2.5);
});

it('a body of 64 KiB is sent with its head, unless the kernel hands it over in parts', () => {
  for (const { writes } of [costs.post16k, costs.post64k]) expect(writes).toBeLessThan(2.5);
});

it('policies allocate little beside the forwarding', () => {
  expect(costs.whole.bytes).toBeLessThanOrEqual(1.2 * costs.plain.bytes);
  for (const { bytes } of [costs.plain, costs.whole, costs.post16k]) expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
  expect(costs.post64k.bytes).toBeLessThanOrEqual(MAX_BYTES_64K);
});
