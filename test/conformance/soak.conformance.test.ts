// The soak for a minute; an hour of it is `npm run soak`.
import { expect, it } from 'vitest';
import { runSoak } from '../soak/soak.ts';

it('a minute of mixed load ends each request once, and nothing grows', { timeout: 240_000 }, async () => {
  const { findings, outcomes, requests, swaps, violations } = await runSoak(1, 1, () => undefined);
  expect(violations).toEqual([]);
  expect(findings.filter(({ leaks }) => leaks)).toEqual([]);
  expect(requests).toBeGreaterThan(1_000);
  expect(swaps).toBeGreaterThan(20);
  for (const kind of ['HTTP/1.1', 'HTTP/2', 'gRPC', 'WebSocket', 'TCP'])
    expect(outcomes.get(`${kind} right`), kind).toBeGreaterThan(0);
});
