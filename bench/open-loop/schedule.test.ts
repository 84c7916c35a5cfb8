import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Latencies, type Rate, Schedule } from './schedule.ts';

/** Microseconds that the server takes for request n, once it has it. */
type Serve = (request: number) => number;

/** Runs the schedule in virtual time, by events; the generator is asleep but for when something is due or answered. */
function run(rate: Rate, serve: Serve, wakeLateMicros = 0): Schedule {
  const schedule = new Schedule(rate);
  const inFlight = new Map<number, number>();
  let sent = 0;
  let now = 0;
  while (!schedule.isDone) {
    const due = sent < schedule.total ? schedule.dueMicros(sent) + wakeLateMicros : Number.POSITIVE_INFINITY;
    const isFree = inFlight.size < rate.connections;
    now = Math.max(now, Math.min(isFree ? due : Number.POSITIVE_INFINITY, ...inFlight.values()));
    for (const [connection, end] of inFlight) {
      if (end > now) continue;
      inFlight.delete(connection);
      schedule.answered(connection, end);
      schedule.free(connection, end);
    }
    for (let next = schedule.next(now); next !== undefined; next = schedule.next(now)) {
      inFlight.set(next, now + serve(sent++));
    }
  }
  return schedule;
}

function latenciesOf(schedule: Schedule): Latencies {
  const latencies = schedule.latencies();
  if (latencies === undefined) throw new Error('nothing was answered');
  return latencies;
}

const steady: Rate = { requestsPerSecond: 1000, leadInSeconds: 0, seconds: 1, connections: 8 };

describe('an open loop', () => {
  it('tells the delay that the server has', () => {
    const { recorded, p50Micros, p99Micros } = latenciesOf(
      run(steady, (request) => (request % 50 === 0 ? 5_000 : 300)),
    );
    expect(recorded).toBe(1000);
    expect(p50Micros).toBeCloseTo(300);
    // One in fifty: two of a hundred are slow, so that the 99th is.
    expect(p99Micros).toBeCloseTo(5_000);
  });

  it('counts a pause for every request that was due in it, although none could be sent', () => {
    // The server stands still for 200 ms from request 500 on. A closed loop would see it in as many requests as it has connections.
    const schedule = run({ ...steady, connections: 1 }, (request) => (request === 500 ? 200_000 : 10));
    expect(schedule.slowerThan(1_000)).toBeGreaterThanOrEqual(199);
    expect(latenciesOf(schedule).p50Micros).toBeCloseTo(10);
    expect(latenciesOf(schedule).p99Micros).toBeGreaterThan(185_000);
    expect(latenciesOf(schedule).lateP99Micros).toBe(0);
  });

  it('counts from when a request was due and not from when the generator woke up, and tells how late that was', () => {
    const { p50Micros, lateP99Micros } = latenciesOf(run(steady, () => 300, 400));
    expect(p50Micros).toBeCloseTo(700);
    expect(lateP99Micros).toBeCloseTo(400);
  });

  it('does not record its lead-in', () => {
    const schedule = run({ ...steady, leadInSeconds: 0.5 }, (request) => (request < 500 ? 900 : 100));
    expect(schedule.answeredCount).toBe(1500);
    expect(latenciesOf(schedule)).toMatchObject({ recorded: 1000 });
    expect(latenciesOf(schedule).p99Micros).toBeCloseTo(100);
  });

  it('sends nothing before it is due, and uses the connection that is free for longest', () => {
    const schedule = new Schedule({ ...steady, connections: 3 });
    expect(schedule.next(0)).toBe(0);
    expect(schedule.next(999)).toBeUndefined();
    expect(schedule.next(1000)).toBe(1);
    schedule.answered(1, 1500);
    schedule.free(1, 1500);
    expect(schedule.next(2000)).toBe(2);
    expect(schedule.next(3000)).toBe(1);
    // All are busy, and one is due.
    expect(schedule.next(4000)).toBeUndefined();
    schedule.answered(0, 9000);
    expect(schedule.next(9000)).toBeUndefined();
    schedule.free(0, 9000);
    expect(schedule.next(9000)).toBe(0);
  });

  it('has no latencies without answers, and needs something to record and a connection', () => {
    expect(new Schedule(steady).latencies()).toBeUndefined();
    expect(() => new Schedule({ ...steady, seconds: 0 })).toThrow('no request to record');
    expect(() => new Schedule({ ...steady, connections: 0 })).toThrow('a connection');
  });
});

describe('beside a queue with as many servers as connections, first come, first served', () => {
  const service = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 60, size: 'max' });

  it('every quantile is that of the queue', () => {
    fc.assert(
      fc.property(service, fc.integer({ min: 1, max: 5 }), (times, connections) => {
        const serve: Serve = (request) => times[request] ?? 1;
        const rate = { requestsPerSecond: 1000, leadInSeconds: 0, seconds: times.length / 1000, connections };
        const schedule = run(rate, serve);
        const model = queue(times, connections);
        const { recorded, p50Micros, p99Micros } = latenciesOf(schedule);
        expect(recorded).toBe(times.length);
        expect(p50Micros).toBeCloseTo(model[Math.ceil(times.length * 0.5) - 1] ?? Number.NaN);
        expect(p99Micros).toBeCloseTo(model[Math.ceil(times.length * 0.99) - 1] ?? Number.NaN);
      }),
    );
  });

  /** Latencies, sorted. */
  function queue(times: readonly number[], servers: number): number[] {
    const freeAt = Array.from({ length: servers }, () => 0);
    const latencies = times.map((time, request) => {
      const earliest = freeAt.indexOf(Math.min(...freeAt));
      const due = request * 1000;
      const end = Math.max(due, freeAt[earliest] ?? 0) + time;
      freeAt[earliest] = end;
      return end - due;
    });
    return latencies.sort((a, b) => a - b);
  }
});
