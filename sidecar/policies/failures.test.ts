import { describe, expect, it } from 'vitest';
import { failureKind } from '../../plan/policies/values.ts';
import { FailureBit, failureMask, failureName, statusFailures } from './failures.ts';

describe('failureMask', () => {
  it('gives every kind a bit of its own', () => {
    const bits = failureKind.options.map((kind) => failureMask([kind]));
    expect(new Set(bits).size).toBe(bits.length);
    for (const bit of bits) expect(bit & (bit - 1)).toBe(0);
    expect(failureMask(failureKind.options)).toBe(bits.reduce((sum, bit) => sum + bit, 0));
    expect(failureMask([])).toBe(0);
  });
});

describe('failureName', () => {
  it('is the narrowest among those that are counted', () => {
    for (const kind of failureKind.options) expect(failureName(FailureBit[kind])).toBe(kind);
    expect(failureName(FailureBit.ServerError | FailureBit.GatewayError)).toBe('GatewayError');
    expect(failureName(0)).toBe('');
  });
});

describe('statusFailures', () => {
  it.each([
    [100, 0],
    [200, 0],
    [304, 0],
    [400, 0],
    [408, 0],
    [429, FailureBit.TooManyRequests],
    [499, 0],
    [500, FailureBit.ServerError],
    [501, FailureBit.ServerError],
    [502, FailureBit.ServerError | FailureBit.GatewayError],
    [503, FailureBit.ServerError | FailureBit.GatewayError],
    [504, FailureBit.ServerError | FailureBit.GatewayError],
    [505, FailureBit.ServerError],
    [599, FailureBit.ServerError],
    [999, FailureBit.ServerError],
  ])('%i', (status, failures) => expect(statusFailures(status)).toBe(failures));
});
