import { describe, expect, it } from 'vitest';
import { type BenchCase, CASES } from './cases.ts';
import { parseWrk, wrkScript } from './wrk.ts';

const output = `Running 3s test @ http://127.0.0.1:9000/1k
  1 threads and 32 connections
  73821 requests in 3.00s, 87.49MB read
Requests/sec:  24606.41
breakwater-bench {"requests":73821,"durationMicros":3000071,"bytes":91741000,"p50Micros":1190,"p99Micros":4021,"socketErrors":0,"timeouts":0,"badStatuses":0}
`;

function caseNamed(name: string): BenchCase {
  const found = CASES.find((each) => each.name === name);
  if (!found) throw new Error(`no case ${name}`);
  return found;
}
const get = caseNamed('http1-1k');

describe('what wrk says', () => {
  it('is read from the line of the script', () => {
    expect(parseWrk(output)).toEqual({
      requests: 73_821,
      durationMicros: 3_000_071,
      bytes: 91_741_000,
      p50Micros: 1190,
      p99Micros: 4021,
      socketErrors: 0,
      timeouts: 0,
      badStatuses: 0,
    });
  });

  it('must hold that line, whole', () => {
    expect(() => parseWrk('unable to connect to 127.0.0.1:9000 Connection refused\n')).toThrow('Connection refused');
    expect(() => parseWrk('breakwater-bench {"requests":1}')).toThrow();
    expect(() => parseWrk('breakwater-bench {"requests":')).toThrow();
  });
});

describe('the script', () => {
  it('ends each connection after its answer where the case wants it', () => {
    expect(wrkScript(caseNamed('tcp-connection'))).toContain('wrk.headers["Connection"] = "close"');
    expect(wrkScript(caseNamed('tcp-stream'))).not.toContain('Connection');
  });

  it('sends a body where the case has one, and runs nothing for each request', () => {
    const post = wrkScript(caseNamed('http1-post-64k'));
    expect(post).toContain('wrk.method = "POST"');
    expect(post).toContain('string.rep("x", 65536)');
    expect(wrkScript(get)).not.toContain('wrk.body');
    for (const name of ['request', 'response']) expect(post).not.toMatch(new RegExp(`function ${name}\\b`));
  });
});
