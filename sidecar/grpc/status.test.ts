import { assert, double, integer, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grpcStatusCode } from '../../plan/policies/values.ts';
import { LOCAL_ANSWERS } from '../errors.ts';
import { statusFailures } from '../policies/failures.ts';
import {
  GrpcStatus,
  grpcMessage,
  grpcStatusOf,
  grpcStatusTable,
  grpcTimeoutText,
  httpStatusOf,
  isAmong,
  isGrpcType,
  parseGrpcStatus,
  parseGrpcTimeout,
  parsePushbackMs,
} from './status.ts';

describe('a status of gRPC', () => {
  it('has the number of its name, as the plan knows it', () => {
    expect(Object.keys(GrpcStatus)).toEqual(grpcStatusCode.options);
    expect(Object.values(GrpcStatus)).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  });

  it.each([
    ['Unavailable', statusFailures(503)],
    ['DeadlineExceeded', statusFailures(504)],
    ['Internal', statusFailures(500)],
    ['Unknown', statusFailures(500)],
    ['DataLoss', statusFailures(500)],
    ['ResourceExhausted', statusFailures(429)],
    ['Unimplemented', 0],
    ['NotFound', 0],
    ['Cancelled', 0],
    ['Unauthenticated', 0],
  ] as const)('%s is as bad as its equivalent', (name, bits) => {
    expect(statusFailures(httpStatusOf(GrpcStatus[name]))).toBe(bits);
  });

  it('is UNKNOWN where nobody can read it', () => {
    expect(['0', '14', '', '-1', '14 ', 'UNAVAILABLE', '99999'].map(parseGrpcStatus)).toEqual([0, 14, 2, 2, 2, 2, 2]);
    expect([httpStatusOf(0), httpStatusOf(200)]).toEqual([200, 500]);
    expect([503, 404, 418].map(grpcStatusOf)).toEqual([14, 12, 2]);
  });

  it('is found in a list', () => {
    const table = grpcStatusTable(['Unavailable', 'Aborted']);
    expect([14, 10, 13, 0].map((code) => table?.[code])).toEqual([1, 1, 0, 0]);
    expect(grpcStatusTable([])).toBe(null);
    const isListed = (code: number) => isAmong(code, ['Unavailable', 'Aborted']);
    expect([14, 10, 13, -1].map(isListed)).toEqual([true, true, false, false]);
  });

  it('of a local answer means the same as its status of HTTP, or says it better', () => {
    for (const { status, grpcStatus } of Object.values(LOCAL_ANSWERS)) {
      const [of, as] = [Math.floor(status / 100), Math.floor(httpStatusOf(grpcStatus) / 100)];
      expect(of === as || grpcStatus === GrpcStatus.Internal).toBe(true);
    }
  });
});

describe('fields of gRPC', () => {
  it('know their media type', () => {
    const types = ['application/grpc', 'application/grpc+proto', 'application/grpc;a=b', 'Application/GRPC'];
    expect(types.every(isGrpcType)).toBe(true);
    const others = ['application/grpc-web', 'application/grpc-web+proto', 'application/json', '', 'x/application/grpc'];
    expect(others.some(isGrpcType)).toBe(false);
  });

  it.each([
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['4m', 4],
    ['5u', 0.005],
    ['6n', 0.000_006],
    ['99999999S', 99_999_999_000],
    ['123456789m', Number.NaN],
    ['1h', Number.NaN],
    ['1Sx', Number.NaN],
    ['1S2m', Number.NaN],
    ['-1S', Number.NaN],
    ['1.5S', Number.NaN],
    ['S', Number.NaN],
  ])('read a timeout: %s', (text, ms) => expect(parseGrpcTimeout(text)).toBe(ms));

  it('write a timeout that is valid, and never longer than it is', () => {
    assert(
      property(double({ min: -1_000, max: 1e11, noNaN: true }), (ms) => {
        const read = parseGrpcTimeout(grpcTimeoutText(ms));
        expect(read).toBeLessThanOrEqual(Math.max(0, ms) + 1e-9);
        expect(read).toBeGreaterThanOrEqual(Math.min(Math.max(0, ms), 99_999_999_000) - Math.max(1, ms / 1_000));
      }),
    );
  });

  it.each([
    [-1, '0u'],
    [0, '0u'],
    [0.001_9, '1u'],
    [1.5, '1500u'],
    [99_998.999_9, '99998999u'],
    [99_999, '99999m'],
    [99_999_998.9, '99999998m'],
    [99_999_999, '99999S'],
    [100_000_999, '100000S'],
    [99_999_999_999, '99999999S'],
    [1e12, '99999999S'],
  ])('write a timeout in the finest unit in which it has eight digits: %s ms', (ms, text) => {
    expect(grpcTimeoutText(ms)).toBe(text);
  });

  it('write of a message what may stand in a field, and the bytes of all else', () => {
    expect(grpcMessage(' a~%\x1f\x7f\n\u00e9')).toBe(' a~%25%1F%7F%0A%C3%A9');
  });

  it('write a message that is ASCII and says the same', () => {
    assert(
      property(string({ unit: 'grapheme', maxLength: 50, size: 'max' }), (text) => {
        expect(grpcMessage(text)).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(grpcMessage(text))).toBe(text);
      }),
    );
  });

  it('read a pushback, and do not retry where it cannot be read', () => {
    expect(['0', '1500', '-1', '', 'soon', '1.5'].map(parsePushbackMs)).toEqual([0, 1500, -1, -1, -1, -1]);
    assert(property(integer({ min: 0, max: 999_999_999 }), (ms) => parsePushbackMs(String(ms)) === ms));
  });
});
