import { describe, expect, it } from 'vitest';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { RecordingDataPlane } from '../subscribe/recording-data-plane.ts';
import { drainDataPlane } from './shutdown.ts';

describe('drainDataPlane', () => {
  it('waits until nothing is in progress', async () => {
    const clock = new ManualClock();
    const dataPlane = new RecordingDataPlane();
    dataPlane.requestsInFlight = 2;
    const beganMs = clock.monotonicMs();
    const drained = drainDataPlane(dataPlane, 10_000, clock, new AbortController().signal);
    expect(dataPlane.draining).toBe(true);
    await clock.advance(5_000);
    dataPlane.requestsInFlight = 0;
    await clock.advance(20);
    expect(await drained).toBe(true);
    expect(clock.monotonicMs() - beganMs).toBe(5_020);
    expect(dataPlane.calls).not.toContain('close');
  });

  it('ends at once when nothing is in progress', async () => {
    expect(await drainDataPlane(new RecordingDataPlane(), 0, new ManualClock(), new AbortController().signal)).toBe(
      true,
    );
  });

  it('ends when its time is over', async () => {
    const clock = new ManualClock();
    const dataPlane = new RecordingDataPlane();
    dataPlane.requestsInFlight = 1;
    let result: boolean | null = null;
    void drainDataPlane(dataPlane, 1_000, clock, new AbortController().signal).then((value) => {
      result = value;
    });
    await clock.advance(999);
    expect(result).toBeNull();
    await clock.advance(1);
    expect(result).toBe(false);
  });

  it('ends when it becomes urgent', async () => {
    const clock = new ManualClock();
    const dataPlane = new RecordingDataPlane();
    dataPlane.requestsInFlight = 1;
    const urgent = new AbortController();
    const drained = drainDataPlane(dataPlane, 1_000, clock, urgent.signal);
    await settle();
    urgent.abort();
    expect(await drained).toBe(false);
    expect(clock.timers).toBe(0);
  });
});
