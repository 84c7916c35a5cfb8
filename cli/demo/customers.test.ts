import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { Customers } from './customers.ts';

const server = createServer((_, response) => response.end());
afterEach(() => server.close());

describe('customers whom a busy machine sends too late', () => {
  it('are measured from when they came, and their lateness is told', async () => {
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const timers: (() => void)[] = [];
    let nowMs = 1_000;
    const clock = {
      ...systemClock,
      monotonicMs: () => nowMs,
      after: (_: number, work: () => void) => {
        timers.push(work);
        return () => undefined;
      },
    };
    const customers = new Customers(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, clock);
    customers.start(nowMs);
    nowMs += 5_000;
    timers.shift()?.();
    await vi.waitFor(() => expect(customers.waiting).toBe(0));
    customers.close();
    expect(customers.visits).toMatchObject([{ atMs: 5_000, durationMs: 0, ok: true }]);
    expect(customers.latestMs).toBe(5_000);
  });
});
