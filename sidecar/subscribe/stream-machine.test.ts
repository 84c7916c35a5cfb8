import { type Arbitrary, array, assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { type FailureReason, type StreamEvent, StreamMachine } from './stream-machine.ts';

const settings = { initialMs: 200, maxMs: 10_000, connectTimeoutMs: 10_000, silenceMs: 15_000, stableAfterMs: 10_000 };
const half = () => 0.5;

function upMachine(nowMs = 0): StreamMachine {
  const machine = new StreamMachine(settings, half);
  machine.handle({ kind: 'start' }, nowMs);
  machine.handle({ kind: 'opened' }, nowMs);
  machine.handle({ kind: 'confirmed' }, nowMs);
  return machine;
}

const failed = (reason: FailureReason): StreamEvent => ({ kind: 'failed', reason, detail: 'because' });

describe('StreamMachine', () => {
  it('connects at once, and is up with the first frame that confirms', () => {
    const machine = new StreamMachine(settings, half);
    expect(machine.handle({ kind: 'start' }, 0)).toEqual([{ kind: 'connect' }]);
    expect(machine.handle({ kind: 'opened' }, 10)).toEqual([]);
    expect(machine.handle({ kind: 'heard' }, 20)).toEqual([]);
    expect(machine.isUp).toBe(false);
    expect(machine.handle({ kind: 'confirmed' }, 30)).toEqual([{ kind: 'up', afterFailure: false }]);
    expect(machine.isUp).toBe(true);
    expect(machine.handle({ kind: 'confirmed' }, 40)).toEqual([]);
  });

  it('gives a server up that never answers', () => {
    const machine = new StreamMachine(settings, half);
    machine.handle({ kind: 'start' }, 0);
    expect(machine.deadlineMs).toBe(10_000);
    expect(machine.handle({ kind: 'timer' }, 9_999)).toEqual([]);
    const actions = machine.handle({ kind: 'timer' }, 10_000);
    expect(actions).toEqual([
      { kind: 'disconnect' },
      { kind: 'report', reason: 'unreachable', detail: expect.stringContaining('10000 ms') },
    ]);
    expect(machine.deadlineMs).toBe(10_100);
    expect(machine.handle({ kind: 'timer' }, 10_100)).toEqual([{ kind: 'connect' }]);
  });

  it('gives a stream up that missed three heartbeats, and no earlier', () => {
    const machine = upMachine();
    machine.handle({ kind: 'heard' }, 14_999);
    expect(machine.handle({ kind: 'timer' }, 15_000)).toEqual([]);
    expect(machine.deadlineMs).toBe(29_999);
    expect(machine.handle({ kind: 'timer' }, 29_999).map(({ kind }) => kind)).toEqual(['disconnect', 'down', 'report']);
    expect(machine.isUp).toBe(false);
  });

  it('gives one up as well that opened and then said nothing', () => {
    const machine = new StreamMachine(settings, half);
    machine.handle({ kind: 'start' }, 0);
    machine.handle({ kind: 'opened' }, 0);
    expect(machine.handle({ kind: 'timer' }, 15_000)).toEqual([
      { kind: 'disconnect' },
      { kind: 'report', reason: 'silent', detail: expect.any(String) },
    ]);
  });

  it('lets a process that was paused read first', () => {
    const machine = upMachine();
    expect(machine.handle({ kind: 'timer' }, 60_000)).toEqual([]);
    expect(machine.isUp).toBe(true);
    expect(machine.deadlineMs).toBe(65_000);
    machine.handle({ kind: 'heard' }, 60_001);
    expect(machine.deadlineMs).toBe(75_001);
    // If nothing had been there to read, it would have been over.
    expect(machine.handle({ kind: 'timer' }, 75_001).map(({ kind }) => kind)).toContain('down');
  });

  it('starts the backoff anew after a stable time, and not before', () => {
    const machine = upMachine();
    let nowMs = 1;
    const waits: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      machine.handle(failed('lost'), nowMs);
      waits.push(machine.deadlineMs - nowMs);
      nowMs = machine.deadlineMs;
      machine.handle({ kind: 'timer' }, nowMs);
      machine.handle({ kind: 'opened' }, nowMs);
      machine.handle({ kind: 'confirmed' }, nowMs);
    }
    expect(waits).toEqual([100, 300, 600]);
    nowMs += 10_000;
    machine.handle(failed('ended'), nowMs);
    expect(machine.deadlineMs - nowMs).toBe(100);
  });

  it('reports each reason once until it changes or the stream was up', () => {
    const machine = new StreamMachine(settings, half);
    machine.handle({ kind: 'start' }, 0);
    const reports = (reason: FailureReason) => {
      const actions = machine.handle(failed(reason), machine.deadlineMs);
      machine.handle({ kind: 'timer' }, machine.deadlineMs);
      return actions.filter(({ kind }) => kind === 'report').length;
    };
    expect([reports('unauthorized'), reports('unauthorized'), reports('unavailable'), reports('unauthorized')]).toEqual(
      [1, 0, 1, 1],
    );
    machine.handle({ kind: 'opened' }, 0);
    expect(machine.handle({ kind: 'confirmed' }, 0)).toEqual([{ kind: 'up', afterFailure: true }]);
    expect(reports('unauthorized')).toBe(1);
  });

  it('stops from any state and starts no more by itself', () => {
    const machine = upMachine();
    expect(machine.handle({ kind: 'stop' }, 5)).toEqual([{ kind: 'disconnect' }]);
    expect(machine.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    expect(machine.handle({ kind: 'timer' }, 1e9)).toEqual([]);
    expect(machine.handle(failed('lost'), 1e9)).toEqual([]);
  });

  it('keeps connect and disconnect, up and down in turn, whatever happens', () => {
    const event: Arbitrary<StreamEvent> = oneof(
      constantFrom<StreamEvent>({ kind: 'opened' }, { kind: 'heard' }, { kind: 'confirmed' }, { kind: 'timer' }),
      constantFrom<FailureReason>('lost', 'unauthorized', 'bad-frame', 'ended').map(failed),
    );
    const step = record({ event, afterMs: oneof(integer({ min: 0, max: 400 }), integer({ min: 0, max: 40_000 })) });
    assert(
      property(array(step, { maxLength: 200, size: 'max' }), integer(), (steps, seed) => {
        const machine = new StreamMachine(settings, seededRandom(seed));
        let nowMs = 0;
        let connected = false;
        let up = false;
        const perform = (next: StreamEvent) => {
          for (const action of machine.handle(next, nowMs)) {
            if (action.kind === 'connect' || action.kind === 'disconnect') {
              expect(connected).toBe(action.kind === 'disconnect');
              connected = action.kind === 'connect';
            } else if (action.kind === 'up' || action.kind === 'down') {
              expect(up).toBe(action.kind === 'down');
              up = action.kind === 'up';
            }
          }
          expect(machine.isUp).toBe(up);
          // Something is always to come: it never gives up for good.
          expect(machine.deadlineMs).toBeLessThan(Number.POSITIVE_INFINITY);
        };
        perform({ kind: 'start' });
        for (const { event: next, afterMs } of steps) {
          nowMs += afterMs;
          perform(next);
        }
      }),
    );
  });
});
