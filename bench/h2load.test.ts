import { describe, expect, it } from 'vitest';
import { parseH2load, parseH2loadLog } from './h2load.ts';

const output = `starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 2.01s, 14330.50 req/s, 1.30MB/s
requests: 28661 total, 28725 started, 28661 done, 28658 succeeded, 3 failed, 1 errored, 0 timeout
status codes: 28658 2xx, 0 3xx, 0 4xx, 2 5xx
traffic: 2.60MB (2722991) total, 1.34MB (1404389) headers (space savings 50.51%), 419.84KB (429915) data
                     min         max         mean         sd        +/- sd
time for request:      153us     28.75ms      4.19ms      4.01ms    84.13%
`;

describe('what h2load says', () => {
  it('is read from its summary', () => {
    expect(parseH2load(output)).toEqual({ requests: 28_661, bytes: 2_722_991, socketErrors: 1, badStatuses: 2 });
  });

  it('must hold that summary, whole', () => {
    expect(() => parseH2load('connect: Connection refused\n')).toThrow('Connection refused');
    expect(parseH2load(output.replace(/^status.*$/m, '')).badStatuses).toBeNaN();
  });
});

describe('the log of h2load', () => {
  it('has the time of each request, in the order in which they ended', () => {
    const log = '1795663945413034\t200\t8772\n1795663945413036\t200\t813\n1795663945413036\t200\t2900816\n';
    expect(parseH2loadLog(log)).toEqual({ p50Micros: 8772, p99Micros: 2_900_816, timeouts: 1 });
  });

  it('is empty where nothing was answered', () => {
    expect(parseH2loadLog('')).toEqual({ p50Micros: 0, p99Micros: 0, timeouts: 0 });
  });
});
