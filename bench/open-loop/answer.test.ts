import { describe, expect, it } from 'vitest';
import { AnswerReader } from './answer.ts';

const head = (status: number, length: number) =>
  `HTTP/1.1 ${status} Whatever\r\nserver: nginx\r\ncontent-length: ${length}\r\n\r\n`;
const read = (reader: AnswerReader, text: string) => reader.read(Buffer.from(text));

describe('the answers of a connection', () => {
  it('are read one after the other, however they are cut', () => {
    const answer = `${head(200, 5)}hello`;
    const reader = new AnswerReader();
    for (let cut = 1; cut < answer.length; cut++) {
      expect(read(reader, answer.slice(0, cut))).toBe(false);
      expect(read(reader, answer.slice(cut))).toBe(true);
      expect(reader.status).toBe(200);
    }
    for (const [index, byte] of Array.from(answer).entries())
      expect(read(reader, byte)).toBe(index === answer.length - 1);
  });

  it('may have no body, and have their status', () => {
    const reader = new AnswerReader();
    expect(read(reader, head(503, 0))).toBe(true);
    expect(reader.status).toBe(503);
    expect(read(reader, head(200, 0).replace('content-length', 'Content-Length'))).toBe(true);
    expect(reader.status).toBe(200);
  });

  it('may say that the connection ends with them', () => {
    const reader = new AnswerReader();
    const closing = head(200, 0).replace('server: nginx', 'Connection: close');
    for (const [answer, closes] of [
      [closing, true],
      [head(200, 0).replace('server: nginx', 'connection: keep-alive'), false],
    ] as const) {
      expect(read(reader, answer)).toBe(true);
      expect(reader.closes).toBe(closes);
    }
  });

  it.each([
    ['of another protocol', 'SSH-2.0-OpenSSH\r\n\r\n', 'cannot be read'],
    ['without a length', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', 'cannot be read'],
    ['longer than it says', `${head(200, 2)}hello`, 'longer'],
    ['whose head does not end', 'HTTP/1.1 200 OK\r\n'.padEnd(17_000, 'x'), 'does not end'],
  ])('one %s is refused', (_, text, reason) => {
    expect(() => read(new AnswerReader(), text)).toThrow(reason);
  });
});
