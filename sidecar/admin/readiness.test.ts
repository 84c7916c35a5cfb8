import { describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ReadinessGate } from './readiness.ts';

describe('ReadinessGate', () => {
  it('waits for a plan, but not for ever', async () => {
    const clock = new ManualClock();
    const onWaitOver = vi.fn();
    const gate = new ReadinessGate(clock, silentLogger, () => null);
    expect(gate.judge()).toEqual({ ready: false, reason: 'the data path does not listen yet' });
    gate.listening(10_000, onWaitOver);
    await clock.advance(9_999);
    expect(gate.judge()).toEqual({ ready: false, reason: 'waiting for the first plan' });
    await clock.advance(1);
    expect(onWaitOver).toHaveBeenCalledTimes(1);
    expect(gate.judge()).toMatchObject({ ready: true, reason: expect.stringContaining('without policies') });
  });

  it('is ready with a plan, and stays so while it drains', async () => {
    const clock = new ManualClock();
    const onWaitOver = vi.fn();
    const gate = new ReadinessGate(clock, silentLogger, () => 'v1');
    expect(gate.judge().ready).toBe(false);
    gate.listening(10_000, onWaitOver);
    expect(gate.judge()).toEqual({ ready: true, reason: 'plan v1 is in force' });
    gate.draining();
    expect(gate.judge()).toEqual({ ready: true, reason: 'plan v1 is in force, draining' });
    await clock.advance(20_000);
    expect(onWaitOver).not.toHaveBeenCalled();
  });

  it('leaves no timer', () => {
    const clock = new ManualClock();
    const gate = new ReadinessGate(clock, silentLogger, () => null);
    gate.listening(10_000, () => {});
    gate.close();
    expect(clock.timers).toBe(0);
  });
});
