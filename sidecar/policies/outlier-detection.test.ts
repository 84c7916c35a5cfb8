import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { FailureBit } from './failures.ts';
import { type OutlierCause, OutlierDetection, type OutlierMember, type OutlierSpec } from './outlier-detection.ts';

const SPEC: OutlierSpec = {
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 5,
  consecutiveLocalOriginFailures: 5,
  successRate: null,
  intervalMs: 10_000,
  maxEjectionPercent: 50,
  ejectForMs: 30_000,
  maxEjectForMs: 300_000,
  panicThresholdPercent: 50,
};
const ERROR_500 = FailureBit.ServerError;
const ERROR_503 = FailureBit.ServerError | FailureBit.GatewayError;

/** A detection over endpoints a, b, c, … with no jitter, its clock, and what it told. */
class Bench {
  nowMs = 0;
  readonly told: string[] = [];
  readonly detection: OutlierDetection;

  constructor(endpoints: string, spec: Partial<OutlierSpec> = {}, random = () => 0) {
    this.detection = new OutlierDetection({ ...SPEC, ...spec }, random, 0);
    this.detection.setEndpoints(endpoints, 0);
    this.detection.listener = {
      ejected: ({ name }, cause) => this.told.push(`${name} ejected: ${cause}`),
      withheld: ({ name }, cause) => this.told.push(`${name} withheld: ${cause}`),
      returned: ({ name }) => this.told.push(`${name} returned`),
    };
  }

  member(name: string): OutlierMember {
    const member = this.detection.member(name);
    if (member === null) throw new Error(`no endpoint ${name}`);
    return member;
  }

  calls(name: string, bits: number, times = 1): void {
    const member = this.member(name);
    for (let call = 0; call < times; call += 1) this.detection.record(member, member.generation, bits, this.nowMs);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.detection.sweep(this.nowMs);
  }

  get ejected(): string {
    return Array.from(this.detection.ejected, ({ name }) => name)
      .sort()
      .join('');
  }
}

const ejectedFor = (name: string, cause: OutlierCause) => `${name} ejected: ${cause}`;

describe('consecutive failures', () => {
  it('eject at the fifth, and a success in between begins anew', () => {
    const bench = new Bench('abcd');
    bench.calls('a', ERROR_500, 4);
    bench.calls('a', 0);
    bench.calls('a', ERROR_500, 4);
    expect(bench.ejected).toBe('');
    bench.calls('a', ERROR_503);
    expect(bench.told).toEqual([ejectedFor('a', 'consecutive-failures')]);
    expect(bench.member('a').reason).toBe('5 consecutive failures (last: ServerError)');
  });

  it('without an answer are counted apart from answers that are failures', () => {
    const bench = new Bench('abcd');
    for (let round = 0; round < 4; round += 1) {
      bench.calls('a', FailureBit.Reset);
      bench.calls('a', ERROR_500);
    }
    expect([bench.member('a').failuresInRow, bench.member('a').localOriginFailuresInRow]).toEqual([4, 0]);
    bench.calls('b', FailureBit.ConnectFailure, 3);
    bench.calls('b', FailureBit.AttemptTimeout, 2);
    expect(bench.told).toEqual([ejectedFor('b', 'consecutive-local-origin-failures')]);
    expect(bench.member('b').reason).toBe('5 consecutive failures without an answer (last: AttemptTimeout)');
  });

  it('do not count where failureOn leaves them out: a status is then a success, and no answer is nothing', () => {
    const bench = new Bench('abcd', { failureOn: ['Reset', 'GatewayError'] });
    bench.calls('a', FailureBit.Reset, 4);
    bench.calls('a', FailureBit.AttemptTimeout, 9);
    expect(bench.member('a').localOriginFailuresInRow).toBe(4);
    bench.calls('a', ERROR_500);
    expect([bench.member('a').localOriginFailuresInRow, bench.member('a').failuresInRow]).toEqual([0, 0]);
    bench.calls('a', ERROR_503, 5);
    expect(bench.member('a').reason).toBe('5 consecutive failures (last: GatewayError)');
  });

  it('are off at zero, each on its own', () => {
    const bench = new Bench('abcd', { consecutiveFailures: 0, consecutiveLocalOriginFailures: 2 });
    bench.calls('a', ERROR_500, 99);
    bench.calls('b', FailureBit.Reset, 2);
    expect(bench.ejected).toBe('b');
  });
});

describe('the share', () => {
  const rows: [endpoints: number, percent: number, limit: number][] = [
    [0, 100, 0],
    [1, 100, 0],
    [2, 49, 0],
    [2, 50, 1],
    [2, 100, 1],
    [3, 67, 2],
    [3, 50, 1],
    [3, 100, 2],
    [9, 10, 0],
    [10, 10, 1],
    [20, 50, 10],
    [20, 0, 0],
  ];
  it.each(rows)('of %i endpoints at %i percent is %i', (endpoints, maxEjectionPercent, limit) => {
    const names = 'abcdefghijklmnopqrst'.slice(0, endpoints);
    const bench = new Bench(names, { maxEjectionPercent });
    expect(bench.detection.limit).toBe(limit);
    for (const name of names) bench.calls(name, ERROR_500, 9);
    expect(bench.ejected).toBe(names.slice(0, limit));
  });

  it('that is used up withholds, which is told once and made up for at the next failure after there is room', () => {
    const bench = new Bench('abc');
    bench.calls('a', ERROR_500, 5);
    bench.pass(1_000);
    bench.calls('b', ERROR_500, 9);
    expect(bench.told).toEqual([ejectedFor('a', 'consecutive-failures'), 'b withheld: consecutive-failures']);
    bench.pass(29_000);
    bench.calls('b', ERROR_500);
    expect(bench.told.slice(2)).toEqual(['a returned', ejectedFor('b', 'consecutive-failures')]);
  });

  it('holds when endpoints go away: who would come back first comes back at once', () => {
    const bench = new Bench('abcdef');
    for (const name of 'abc') {
      bench.calls(name, ERROR_500, 5);
      bench.pass(1_000);
    }
    bench.detection.setEndpoints('abce', bench.nowMs);
    expect(bench.ejected).toBe('bc');
    bench.detection.setEndpoints('bc', bench.nowMs);
    expect(bench.ejected).toBe('c');
    bench.detection.setEndpoints('c', bench.nowMs);
    expect(bench.ejected).toBe('');
  });

  it('holds when it is lowered', () => {
    const bench = new Bench('abcd');
    bench.calls('a', ERROR_500, 5);
    bench.calls('b', ERROR_500, 5);
    bench.detection.update({ ...SPEC, maxEjectionPercent: 25 }, bench.nowMs);
    expect(bench.detection.ejected.size).toBe(1);
  });
});

describe('the time of an ejection', () => {
  it('grows with the number of ejections up to a maximum, and shrinks for every interval without one', () => {
    const bench = new Bench('abcd', { maxEjectForMs: 70_000 });
    const lasted: number[] = [];
    const ejectAgain = () => {
      bench.calls('a', ERROR_500, 5);
      const fromMs = bench.nowMs;
      while (bench.ejected !== '') bench.pass(500);
      lasted.push(bench.nowMs - fromMs);
    };
    for (let time = 0; time < 4; time += 1) ejectAgain();
    expect(lasted).toEqual([30_000, 60_000, 70_000, 70_000]);
    bench.pass(30_000);
    ejectAgain();
    bench.pass(1_000_000);
    ejectAgain();
    expect(lasted.slice(4)).toEqual([60_000, 30_000]);
  });

  it('is lengthened by jitter, by less than a tenth', () => {
    const bench = new Bench('abcd', {}, seededRandom(3));
    const ends = Array.from('ab', (name) => {
      bench.calls(name, ERROR_500, 5);
      return bench.detection.untilMs(bench.member(name));
    });
    expect(new Set(ends).size).toBe(2);
    for (const endMs of ends) {
      expect(endMs).toBeGreaterThanOrEqual(30_000);
      expect(endMs).toBeLessThan(33_000);
    }
  });

  it('follows a new plan under way', () => {
    const bench = new Bench('abcd');
    bench.calls('a', ERROR_500, 5);
    bench.detection.update({ ...SPEC, ejectForMs: 5_000 }, bench.nowMs);
    bench.pass(5_000);
    expect(bench.ejected).toBe('');
  });
});

describe('late results', () => {
  it('of calls from before a return decide nothing', () => {
    const bench = new Bench('abcd');
    const member = bench.member('a');
    const before = member.generation;
    bench.calls('a', ERROR_500, 5);
    // Begun while it was ejected, as in panic.
    const during = member.generation;
    for (let call = 0; call < 9; call += 1) bench.detection.record(member, during, ERROR_500, bench.nowMs);
    bench.pass(30_000);
    for (const generation of [before, during]) {
      for (let call = 0; call < 9; call += 1) bench.detection.record(member, generation, ERROR_500, bench.nowMs);
    }
    expect([bench.ejected, member.failuresInRow, member.calls]).toEqual(['', 0, 0]);
  });

  it('for an address that went away and came back do not reach its successor', () => {
    const bench = new Bench('abcd');
    const old = bench.member('a');
    const begun = old.generation;
    bench.detection.setEndpoints('bcd', 0);
    expect(bench.detection.member('a')).toBeNull();
    bench.detection.setEndpoints('abcd', 0);
    for (let call = 0; call < 9; call += 1) bench.detection.record(old, begun, ERROR_500, 0);
    expect([bench.ejected, bench.member('a').failuresInRow]).toEqual(['', 0]);
  });

  it('for an address that came back from an ejection and then went away decide nothing', () => {
    const bench = new Bench('abcd');
    const gone = bench.member('a');
    const begun = gone.generation;
    bench.calls('a', ERROR_500, 5);
    bench.pass(30_000);
    bench.detection.setEndpoints('bcd', bench.nowMs);
    for (let call = 0; call < 9; call += 1) bench.detection.record(gone, begun, ERROR_500, bench.nowMs);
    expect([bench.ejected, gone.calls]).toEqual(['', 0]);
  });
});

describe('success rates', () => {
  const successRate = { minimumEndpoints: 5, minimumCalls: 100, deviationFactorPercent: 190 };
  const interval = (bench: Bench, failures: Record<string, number>, calls = 100) => {
    for (const [name, failed] of Object.entries(failures)) {
      // Spread out, so that no five of them are in a row.
      for (let call = 0; call < calls; call += 1)
        bench.calls(
          name,
          Math.floor((call * failed) / calls) < Math.floor(((call + 1) * failed) / calls) ? ERROR_500 : 0,
        );
    }
    bench.pass(10_000);
  };

  it('eject the one of twenty that fails at every second call', () => {
    const bench = new Bench('abcdefghijklmnopqrst', { successRate });
    interval(bench, Object.fromEntries(Array.from('abcdefghijklmnopqrst', (name) => [name, name === 'g' ? 50 : 1])));
    expect(bench.told).toEqual([ejectedFor('g', 'success-rate')]);
    expect(bench.member('g').reason).toBe('success rate 50.0 % of 100 calls, mean of 20 endpoints 96.5 %');
  });

  it('leave alone who is just as far below the mean as may be', () => {
    // The mean is 75 %, and the standard deviation a quarter.
    const told = [100, 99].map((deviationFactorPercent) => {
      const bench = new Bench('abcd', { successRate: { ...successRate, minimumEndpoints: 4, deviationFactorPercent } });
      interval(bench, { a: 50, b: 50, c: 0, d: 0 });
      return bench.ejected;
    });
    expect(told).toEqual(['', 'ab']);
  });

  it('are compared at the end of an interval and then counted anew', () => {
    const bench = new Bench('abcde', { successRate });
    const failures = { a: 20, b: 0, c: 0, d: 0, e: 0 };
    bench.pass(9_000);
    interval(bench, failures, 99);
    expect(bench.ejected).toBe('');
    interval(bench, failures);
    expect(bench.ejected).toBe('a');
  });

  it('of too few endpoints are not compared', () => {
    const bench = new Bench('abcd', { successRate });
    interval(bench, { a: 50, b: 0, c: 0, d: 0 });
    expect(bench.ejected).toBe('');
  });

  it('that differ by less than five points eject nobody, however even the others are', () => {
    const bench = new Bench('abcdefghij', { successRate });
    interval(bench, { a: 5, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0 });
    expect(bench.ejected).toBe('');
    interval(bench, { a: 7, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0 });
    expect(bench.ejected).toBe('a');
  });

  it('that differ by chance alone eject almost nobody', () => {
    const names = 'abcdefghijklmnopqrst';
    const random = seededRandom(11);
    const looks = 500;
    for (const failing of [0.01, 0.3, 0.7]) {
      const bench = new Bench(names, { successRate, consecutiveFailures: 0 });
      for (let look = 0; look < looks; look += 1) {
        for (const name of names)
          for (let call = 0; call < 100; call += 1) bench.calls(name, random() < failing ? ERROR_500 : 0);
        bench.pass(10_000);
      }
      const ejections = bench.told.filter((line) => line.includes('ejected'));
      // Twenty endpoints, three standard errors on one side: 2.7 % of the looks, and never the every second one of deviations alone.
      expect(ejections.length).toBeLessThan(looks * 0.06);
    }
  });

  it.each([
    ['first', { a: 70, b: 60, c: 50 }, 'a'],
    ['in the middle', { a: 60, b: 70, c: 50 }, 'b'],
    ['last', { a: 50, b: 60, c: 70 }, 'c'],
  ])('give the share to the worst, which is asked %s', (_, failing, worst) => {
    const even = { minimumEndpoints: 5, minimumCalls: 100, deviationFactorPercent: 100 };
    const bench = new Bench('abcdefghij', { successRate: even, maxEjectionPercent: 10, consecutiveFailures: 0 });
    interval(bench, { ...failing, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0 });
    expect(bench.ejected).toBe(worst);
    // The others would have been ejected too.
    expect(bench.told.map((line) => line.slice(2)).sort()).toEqual([
      'ejected: success-rate',
      'withheld: success-rate',
      'withheld: success-rate',
    ]);
  });

  it('are looked at no later than the interval of a new plan says, and no sooner for a longer one', () => {
    const lookedAt = (intervalMs: number, afterMs: number) => {
      const bench = new Bench('abcde', { successRate });
      bench.detection.update({ ...SPEC, successRate, intervalMs }, 0);
      const failing = { a: 20, b: 0, c: 0, d: 0, e: 0 };
      for (const [name, failed] of Object.entries(failing))
        for (let call = 0; call < 100; call += 1) bench.calls(name, call % 5 === 0 && failed > 0 ? ERROR_500 : 0);
      bench.pass(afterMs);
      return bench.ejected;
    };
    expect([lookedAt(1_000, 999), lookedAt(1_000, 1_000)]).toEqual(['', 'a']);
    expect([lookedAt(60_000, 9_999), lookedAt(60_000, 10_000)]).toEqual(['', 'a']);
  });

  it('without calls are compared at nothing', () => {
    const bench = new Bench('abcde', { successRate: { ...successRate, minimumCalls: 1 } });
    for (let look = 0; look < 3; look += 1) bench.pass(10_000);
    expect(bench.told).toEqual([]);
  });
});

describe('what is told of an endpoint', () => {
  it('is whether it is ejected, and nothing of one that is not there', () => {
    const bench = new Bench('ab', { panicThresholdPercent: 40 });
    expect(bench.member('a').reason).toBe('');
    bench.calls('a', ERROR_500, 5);
    expect(['a', 'b', 'z'].map((name) => bench.detection.isEjected(name))).toEqual([true, false, false]);
    expect(bench.detection.panicThresholdPercent).toBe(40);
  });

  it('is withheld again once it has answered in between', () => {
    const bench = new Bench('abcd', { maxEjectionPercent: 25 });
    bench.calls('b', 0);
    for (const name of 'ab') bench.calls(name, ERROR_500, 6);
    const withheld = 'b withheld: consecutive-failures';
    expect(bench.told).toEqual([ejectedFor('a', 'consecutive-failures'), withheld]);
    bench.calls('b', 0);
    bench.calls('b', ERROR_500, 6);
    expect(bench.told.slice(1)).toEqual([withheld, withheld]);
  });

  it('is withheld again once it has been ejected in between', () => {
    const bench = new Bench('abc', { ejectForMs: 1_000 });
    bench.calls('a', ERROR_500, 5);
    bench.calls('b', ERROR_500, 5);
    bench.pass(1_000);
    bench.calls('b', ERROR_500);
    bench.pass(1_000);
    bench.calls('a', ERROR_500, 5);
    bench.calls('b', ERROR_500, 5);
    expect(bench.told.filter((told) => told.startsWith('b'))).toEqual([
      'b withheld: consecutive-failures',
      'b ejected: consecutive-failures',
      'b returned',
      'b withheld: consecutive-failures',
    ]);
  });

  it('beyond a smaller share is the return of whoever would be back first, whoever was ejected first', () => {
    const bench = new Bench('abcdefgh', { ejectForMs: 1_000, intervalMs: 100_000 });
    bench.calls('a', ERROR_500, 5);
    bench.pass(1_000);
    // For the second time, so for twice as long.
    bench.calls('a', ERROR_500, 5);
    bench.pass(100);
    bench.calls('b', ERROR_500, 5);
    bench.calls('c', ERROR_500, 5);
    bench.detection.update({ ...SPEC, ejectForMs: 1_000, intervalMs: 100_000, maxEjectionPercent: 13 }, bench.nowMs);
    expect(bench.ejected).toBe('a');
  });
});

describe('the look at success rates', () => {
  const spec: Partial<OutlierSpec> = {
    consecutiveFailures: 0,
    successRate: { minimumEndpoints: 5, minimumCalls: 20, deviationFactorPercent: 100 },
    intervalMs: 1_000,
  };

  /** One of them fails at every second call, the others never. */
  function callAll(bench: Bench, names: string): void {
    for (const name of names)
      for (let call = 0; call < 20; call += 1) bench.calls(name, name === 'a' && call % 2 ? ERROR_500 : 0);
  }

  it('comes at the end of each interval and not before, also after a new plan', () => {
    const bench = new Bench('abcdef', spec);
    callAll(bench, 'abcdef');
    bench.detection.update({ ...SPEC, ...spec }, 0);
    bench.pass(999);
    expect(bench.ejected).toBe('');
    bench.pass(1);
    expect(bench.ejected).toBe('a');
    const second = new Bench('abcdef', spec);
    second.pass(1_000);
    callAll(second, 'abcdef');
    second.pass(999);
    expect(second.ejected).toBe('');
    second.pass(1);
    expect(second.ejected).toBe('a');
  });

  it('knows nothing of the interval before', () => {
    const bench = new Bench('abcdef', {
      ...spec,
      successRate: { minimumEndpoints: 6, minimumCalls: 20, deviationFactorPercent: 100 },
    });
    callAll(bench, 'bcdef');
    bench.pass(1_000);
    callAll(bench, 'a');
    bench.pass(1_000);
    expect(bench.ejected).toBe('');
  });

  it('needs as many endpoints as the plan says', () => {
    const bench = new Bench('abcd', spec);
    callAll(bench, 'abcd');
    bench.pass(1_000);
    expect(bench.ejected).toBe('');
  });
});
