import { describe, expect, it } from 'vitest';
import { seededRandom } from '../runtime/random.ts';
import { type BenchCase, CASES, DEFAULT_CASES, describeCase } from './cases.ts';
import { type Slice, spentBetween } from './measure.ts';
import { compare, gateFailures, renderCase, renderLeftOut } from './report.ts';

const [bench] = CASES as [BenchCase, ...BenchCase[]];

function caseNamed(name: string): BenchCase {
  const found = CASES.find((each) => each.name === name);
  if (!found) throw new Error(`no case ${name}`);
  return found;
}

function slice(cpuMicrosPerRequest: number, p99Micros: number, rssBytes: number): Slice {
  const load = { requests: 60_000, durationMicros: 3e6, bytes: 7e7, p50Micros: 800, p99Micros };
  return {
    load: { ...load, socketErrors: 0, timeouts: 0, badStatuses: 0 },
    cpuMicrosPerRequest,
    idleCpuMicros: 12_000,
    requestsPerSecond: 20_000,
    rssBytes,
    anonymousBytes: rssBytes / 2,
    loadCpuBusy: 0.9,
    proxyCpuOthers: 0.1,
    steal: 0,
  };
}

/** In the second round the machine was twice as slow. */
const result = new Map([
  ['breakwater', [slice(20, 4000, 120e6), slice(40, 8000, 130e6), slice(20, 4000, 125e6)]],
  ['envoy', [slice(40, 5000, 60e6), slice(80, 10_000, 65e6), slice(40, 5000, 62.5e6)]],
  ['nginx', [slice(10, 2000, 12e6), slice(20, 4000, 13e6), slice(10, 2000, 12.5e6)]],
]);
const comparisons = compare(bench, result, 'breakwater', seededRandom(1));

describe('a comparison', () => {
  it('is the one line of --json for each peer, in the agreed form', () => {
    expect(comparisons.map((each) => JSON.stringify(each))).toEqual([
      '{"case":"http1-1k","peer":"envoy","cpuRatio":0.5,"cpuRatioLow":0.5,"cpuRatioHigh":0.5,"p99Ratio":0.8,"rssRatio":2,"rounds":3}',
      '{"case":"http1-1k","peer":"nginx","cpuRatio":2,"cpuRatioLow":2,"cpuRatioHigh":2,"p99Ratio":2,"rssRatio":10,"rounds":3}',
    ]);
  });

  it('does not exist without our own slices', () => {
    const others = new Map([['envoy', [slice(40, 5000, 60e6)]]]);
    expect(() => compare(bench, others, 'breakwater', seededRandom(1))).toThrow(RangeError);
  });
});

describe('the gate', () => {
  const envoyWith = (cpuRatioHigh: number) => comparisons.slice(0, 1).map((each) => ({ ...each, cpuRatioHigh }));

  const small = [slice(20, 4000, 70e6), slice(40, 8000, 80e6), slice(20, 4000, 90e6)];

  it('looks at the upper end of the interval beside Envoy', () => {
    expect(gateFailures(bench, small, comparisons)).toEqual([]);
    expect(gateFailures(bench, small, envoyWith(0.501))).toEqual([
      'http1-1k: CPU beside Envoy up to 0.501, the limit is 0.5',
    ]);
  });

  it('looks at the median beside HAProxy, and of memory', () => {
    const haproxyWith = (cpuRatio: number) =>
      comparisons.slice(1).map((each) => ({ ...each, peer: 'haproxy', cpuRatio, cpuRatioHigh: 9 }));
    expect(gateFailures(bench, small, haproxyWith(1.7))).toEqual([]);
    expect(gateFailures(bench, small, haproxyWith(1.71))).toEqual([
      'http1-1k: CPU beside HAProxy 1.71, the limit is 1.7',
    ]);
    expect(gateFailures(bench, result.get('breakwater') ?? [], comparisons)).toEqual([
      'http1-1k: 125 MB of memory, the limit is 80',
    ]);
  });

  it('does not pass a figure that is none', () => {
    expect(gateFailures(bench, small, envoyWith(Number.NaN))).toHaveLength(1);
  });
});

describe('an open loop', () => {
  const open = caseNamed('http1-1k-1000rps');
  const answered = (p50Micros: number, p99Micros: number, rssBytes: number): Slice => {
    const { load, ...rest } = slice(30, p99Micros, rssBytes);
    return { ...rest, load: { ...load, p50Micros, lateP99Micros: 90 } };
  };
  /** In the second round the machine was slow, and without a proxy more so. */
  const rounds = new Map([
    ['breakwater', [answered(300, 900, 50e6), answered(700, 1500, 50e6), answered(310, 910, 52e6)]],
    ['envoy', [answered(350, 1000, 60e6), answered(750, 1400, 60e6), answered(360, 1010, 60e6)]],
    ['direct', [answered(150, 400, 0), answered(500, 2000, 0), answered(160, 410, 0)]],
  ]);
  const [beside, ...others] = compare(open, rounds, 'breakwater', seededRandom(1));

  it('compares what is added to the latency of the direct run in the same round', () => {
    expect(others).toEqual([]);
    // Added to p50: 150, 200, 150 beside 200, 250, 200; to p99: 500, -500, 500 beside 600, -600, 600.
    expect(beside).toMatchObject({
      peer: 'envoy',
      p50AddedRatio: 0.75,
      p50AddedRatioLow: 0.75,
      p50AddedRatioHigh: 0.8,
    });
    expect(beside).toMatchObject({ p99AddedRatio: 0.833, p99AddedRatioLow: 0.833, rssRatio: 0.833 });
  });

  it('shows it below the table, and what the load generator adds', () => {
    const lines = renderCase(open, rounds, beside ? [beside] : []);
    const cells = lines.map((line) => line.split(/ {2,}/));
    expect(cells[0]).toEqual([
      'http1-1k-1000rps: GET, answer of 1 KB, 1000 requests/s over 32 keep-alive connections; medians of 3 rounds',
    ]);
    expect(cells.filter(([name]) => name === 'direct')).toEqual([['direct', '20000', '0.16', '0.41', '']]);
    expect(cells.filter(([name]) => name === 'breakwater')[1]).toEqual(['breakwater', '0.15', '0.50', '']);
    expect(cells.filter(([name]) => name === 'envoy')[1]).toEqual([
      'envoy',
      '0.20',
      '0.75',
      '0.75–0.80',
      '0.60',
      '0.83',
      '0.83–∞',
    ]);
    expect(lines.at(-1)).toContain('late by 0.09 ms (p99)');
  });

  it('must not add more than Envoy, have more memory, or more of its own than the limit', () => {
    const own = rounds.get('breakwater') ?? [];
    const gate = (change: object) => gateFailures(open, own, beside ? [{ ...beside, ...change }] : []);
    expect(gate({})).toEqual([]);
    expect(gate({ p50AddedRatio: 1.01, p99AddedRatio: Number.POSITIVE_INFINITY, rssRatio: 1.2 })).toEqual([
      'http1-1k-1000rps: added p50 beside Envoy 1.01, the limit is 1',
      'http1-1k-1000rps: added p99 beside Envoy Infinity, the limit is 1',
      'http1-1k-1000rps: memory beside Envoy 1.2, the limit is 1',
    ]);
    const fat = own.map((each) => ({ ...each, anonymousBytes: 41e6 }));
    expect(gateFailures(open, fat, [])).toEqual(['http1-1k-1000rps: 41 MB of anonymous memory, the limit is 40']);
  });
});

describe('the table', () => {
  it('shows absolute figures beside ratios', () => {
    const lines = renderCase(bench, result, comparisons);
    expect(lines[0]).toBe('http1-1k: GET, answer of 1 KB, 32 keep-alive connections; medians of 3 rounds');
    const cells = (name: string) => lines.find((line) => line.startsWith(name))?.split(/ {2,}/);
    expect(cells('breakwater')).toEqual(['breakwater', '20.0', '20000', '0.80', '4.00', '125', '63', '']);
    expect(cells('envoy')).toEqual([
      'envoy',
      '40.0',
      '0.50',
      '0.50–0.50',
      '20000',
      '0.80',
      '5.00',
      '0.80',
      '63',
      '31',
      '2.00',
    ]);
    expect(lines.at(-1)).toContain("on the proxy's CPU 10 % for others");
  });
});

it('tells what is in no figure: CPU between the slices, and rounds that did not count', () => {
  const nothing = { voids: [], disturbed: 0, stillDisturbed: 0 };
  const [busy, ...others] = renderLeftOut(new Map([...result, ['direct', [slice(0, 1, 0)]]]), nothing);
  // Of 60,000 requests in each slice, of 20, 40 and 20 µs, and so on.
  expect([busy, others]).toEqual([
    'CPU between the slices of each, of that in them: breakwater 0.8 %, envoy 0.4 %, nginx 1.5 %',
    [],
  ]);
  const voids = ['breakwater: 3 of 9 answers had a status of 400 or more', 'envoy: late'];
  expect(renderLeftOut(result, { ...nothing, voids })[1]).toBe(
    '2 void and run again: breakwater: 3 of 9 answers had a status of 400 or more; envoy: late',
  );
  expect(renderLeftOut(result, { ...nothing, disturbed: 4 })[1]).toBe(
    '4 disturbed, others took 10 % or more of a CPU; none of those that count',
  );
  expect(renderLeftOut(result, { ...nothing, disturbed: 9, stillDisturbed: 2 })[1]).toBe(
    '9 disturbed, others took 10 % or more of a CPU; 2 of those that count',
  );
});

describe('the cases', () => {
  it.each([
    ['http1-1k-1conn', 'GET, answer of 1 KB, 1 keep-alive connection'],
    ['http1-post-64k', 'POST of 64 KB, answer of 64 KB, 32 keep-alive connections'],
    ['http2-small', 'HTTP/2: POST of 128 bytes, answer of 1 KB, 4 keep-alive connections of 16 streams'],
    ['tcp-stream', 'opaque TCP: GET, answer of 1 MB, 8 keep-alive connections'],
    ['tcp-connection', 'opaque TCP: GET, answer of 1 KB, a connection for each, 32 at a time'],
  ])('are described: %s', (name, text) => {
    const found = CASES.find((each) => each.name === name);
    expect(found && describeCase(found)).toBe(text);
  });

  it('have names of their own, and the default is among them', () => {
    const names = CASES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining([...DEFAULT_CASES]));
  });
});

describe('the time of a processor', () => {
  it('is told in shares of the time between', () => {
    const before = { total: 100, idle: 50, steal: 5 };
    expect(spentBetween(before, { total: 300, idle: 100, steal: 25 })).toEqual({ busy: 0.65, steal: 0.1 });
    expect(spentBetween(before, before)).toEqual({ busy: 0, steal: 0 });
    expect(spentBetween(undefined, undefined)).toEqual({ busy: 0, steal: 0 });
  });
});
