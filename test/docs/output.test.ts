import { describe, expect, it } from 'vitest';
import { matchHttp, matchOutput, withLearnt } from './output.ts';

describe('what a page shows', () => {
  it.each([
    ['the same', 'paid\nthanks', 'paid\nthanks\n'],
    ['columns of another width', 'NAME  READY\na     True', 'NAME       READY\na          True   '],
    ['an age', 'checkout  True  12s', 'checkout   True  3m7s'],
    ['a time', '{"time":"2026-11-25T13:51:06.146Z","msg":"x"}', '{"time":"2027-01-02T03:04:05Z","msg":"x"}'],
    ['the end of a pod name', 'pod/checkout-6d5f7c9b8f-x2x4k deleted', 'pod/checkout-7799887766-abcde deleted'],
    ['a number of milliseconds', 'order 1: 200 in 3 ms', 'order 1: 200 in 12 ms'],
    ['an address', 'to 10.244.0.17', 'to 10.2.3.4'],
    ['any lines', 'first\n...\nlast', 'first\n2\n3\nlast'],
    ['any text', 'Open for 5 s: …; next probe in 1 s', 'Open for 9 s: 5 failures in a row; next probe in 7 s'],
    ['a version', 'version uiECzOKqMHQphwYaKKbdy7, stream up', 'version 0iEC-OKqMHQphwYaKKbdy_, stream up'],
    ['no lines', 'first\n...\nlast', 'first\nlast'],
  ])('matches %s', (_, shown, printed) => {
    expect(matchOutput(shown, printed)).toBeDefined();
  });

  it.each([
    ['another word', 'True', 'False'],
    ['other text around any text', 'a … c', 'a b d'],
    ['a number that is no duration', '500', '503'],
    ['more lines', 'paid', 'paid\npaid'],
    ['fewer lines', 'paid\npaid', 'paid'],
    ['a duration that a policy sets', 'openFor: 15s', 'openFor: 16s'],
    ['another name', 'checkout-6d5f7c9b8f-x2x4k', 'payments-6d5f7c9b8f-x2x4k'],
    ['another order', 'a\n...\nb', 'b\na'],
    ['an expression instead of the text', 'a.c', 'abc'],
  ])('does not match %s', (_, shown, printed) => {
    expect(matchOutput(shown, printed)).toBeUndefined();
  });

  it('may stand among other lines where that is allowed', () => {
    expect(matchOutput('ready', 'log\nready\nlog', true)).toBeDefined();
    expect(matchOutput('ready', 'log\nready\nlog')).toBeUndefined();
  });

  it('teaches ports and names, which later commands then use', () => {
    const learnt = matchOutput(
      '{"at":"127.0.0.1:42103"} pod-6d5f7c9b8f-x2x4k',
      '{"at":"127.0.0.1:7"} pod-7799887766-abcde',
    )?.learnt;
    expect(learnt).toBeUndefined();
    const ports = matchOutput(
      '{"at":"127.0.0.1:42103"} pod-6d5f7c9b8f-x2x4k',
      '{"at":"127.0.0.1:777"} pod-7799887766-abcde',
    );
    expect(withLearnt('curl 127.0.0.1:42103 pod-6d5f7c9b8f-x2x4k 421030', ports?.learnt ?? new Map())).toBe(
      'curl 127.0.0.1:777 pod-7799887766-abcde 421030',
    );
  });
});

describe('the head of an answer', () => {
  const answer =
    'HTTP/1.1 503 Service Unavailable\r\nContent-Type: a\r\nRetry-After: 9\r\nbreakwater-reason: circuit-open\r\n\r\n{}';

  it('has the status and the fields that the page shows, in any order', () => {
    expect(
      matchHttp('HTTP/1.1 503 Service Unavailable\nbreakwater-reason: circuit-open\nretry-after: 10', answer),
    ).toBeDefined();
  });

  it('has neither another status nor another value', () => {
    expect(matchHttp('HTTP/1.1 502 Bad Gateway\nretry-after: 10', answer)).toBeUndefined();
    expect(matchHttp('HTTP/1.1 503 Service Unavailable\nbreakwater-reason: deadline', answer)).toBeUndefined();
  });
});
