import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HEALTH_CHECK_TARGET, healthProblem, healthRequest } from './health.ts';

const frame = (...message: number[]) => Uint8Array.from([0, 0, 0, 0, message.length, ...message]);

describe('a request for health', () => {
  it('is what protoc writes', () => {
    expect([...healthRequest('')]).toEqual([0, 0, 0, 0, 0]);
    expect(healthRequest('a.B').toString('hex')).toBe('00000000050a03612e42');
    expect(HEALTH_CHECK_TARGET).toBe('/grpc.health.v1.Health/Check');
    // From 128 on a length has two bytes.
    expect([...healthRequest('s'.repeat(127)).subarray(3, 8)]).toEqual([0, 129, 0x0a, 0x7f, 0x73]);
    expect([...healthRequest('s'.repeat(128)).subarray(3, 9)]).toEqual([0, 131, 0x0a, 0x80, 0x01, 0x73]);
    const longest = 's'.repeat(253);
    expect(healthRequest(longest).toString('latin1')).toBe(`\0\0\0\x01\0\x0a\xfd\x01${longest}`);
  });
});

describe('an answer about health', () => {
  it.each<[string, Uint8Array, string]>([
    ['serving', frame(0x08, 1), ''],
    ['not serving', frame(0x08, 2), 'the server says NOT_SERVING'],
    ['unknown, which is zero and left out', frame(), 'the server says UNKNOWN'],
    ['unknown', frame(0x08, 0), 'the server says UNKNOWN'],
    ['no such service', frame(0x08, 3), 'the server says SERVICE_UNKNOWN'],
    ['a status of later times', frame(0x08, 0x85, 0x01), 'the server says the status 133'],
    ['serving, beside fields of later times', frame(0x12, 2, 7, 7, 0x1d, 1, 2, 3, 4, 0x08, 1, 0x20, 5), ''],
    ['serving, behind a number of eight bytes', frame(0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1), ''],
    ['serving, in ten bytes', frame(0x08, 0x81, ...Array.from({ length: 8 }, () => 0x80), 0), ''],
    ['the last of two', frame(0x08, 2, 0x08, 1), ''],
  ])('%s', (_, content, problem) => {
    expect(healthProblem(content)).toBe(problem);
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['half a frame', Uint8Array.from([0, 0, 0, 0])],
    ['a frame that is longer than it says', Uint8Array.from([0, 0, 0, 0, 2, 0x08, 1, 0])],
    ['a message that is longer than its frame says', Uint8Array.from([0, 0, 0, 0, 2, 0x08, 1, 0x20, 5])],
    ['a message that is shorter than its frame says', Uint8Array.from([0, 0, 0, 0, 4, 0x08, 1])],
    ['two messages', Uint8Array.from([...frame(0x08, 1), ...frame(0x08, 1)])],
    ['a compressed message', Uint8Array.from([1, 0, 0, 0, 2, 0x08, 1])],
    ['a field without its value', frame(0x08)],
    ['a number that never ends', frame(0x08, ...Array.from({ length: 11 }, () => 0x80))],
    ['a number of eleven bytes', frame(0x08, 0x81, ...Array.from({ length: 9 }, () => 0x80), 0)],
    ['a text that is longer than the message', frame(0x12, 9, 1)],
    ['a type of wire that nobody writes any more', frame(0x0b)],
  ])('is none: %s', (_, content) => {
    expect(healthProblem(content)).toBe('the answer is no message of grpc.health.v1');
  });

  it('is read whatever comes, and never for serving without the word', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40, size: 'max' }), (message) => {
        const problem = healthProblem(frame(...message));
        if (!message.includes(1) && !message.includes(0x81)) expect(problem).not.toBe('');
      }),
    );
  });
});
