import { describe, expect, it } from 'vitest';
import { fallbackReason } from '../../plan/policies/fallback.ts';
import { LOCAL_ANSWER_NAMES, LOCAL_ANSWERS } from '../errors.ts';
import { answerBits, FallbackBit, fallbackMask, isSafe, statusBits } from './fallback.ts';

describe('what a fallback takes the place of', () => {
  it('has a bit of its own for every reason', () => {
    const bits = fallbackReason.options.map((reason) => FallbackBit[reason]);
    expect(bits.reduce((sum, bit) => sum + bit, 0)).toBe(2 ** bits.length - 1);
    expect(fallbackMask(fallbackReason.options)).toBe(2 ** bits.length - 1);
    expect(fallbackMask([])).toBe(0);
  });

  it('is every answer that tells of the dependency, and none that tells of the request or of the sidecar', () => {
    const without = LOCAL_ANSWER_NAMES.filter((name) => answerBits(LOCAL_ANSWERS[name]) === 0);
    expect(without).toEqual(['shed', 'undeclared', 'noPlan', 'malformed', 'headTooLarge', 'targetTooLong']);
  });

  it('knows failures by their status', () => {
    const { GatewayError, ServerError, TooManyRequests } = FallbackBit;
    expect([200, 304, 404, 429, 500, 501, 502, 503, 504, 505, 599, 700].map(statusBits)).toEqual([
      0,
      0,
      0,
      TooManyRequests,
      ServerError,
      ServerError,
      GatewayError | ServerError,
      GatewayError | ServerError,
      GatewayError | ServerError,
      ServerError,
      ServerError,
      ServerError,
    ]);
  });

  it('takes an injected fault for what its status is', () => {
    const fault = (status: number) => answerBits({ ...LOCAL_ANSWERS.faultInjected, status });
    expect([404, 429, 503].map(fault)).toEqual([0, FallbackBit.TooManyRequests, statusBits(503)]);
  });
});

it('only what changes nothing is safe', () => {
  expect(['GET', 'HEAD', 'OPTIONS', 'PUT', 'POST', 'DELETE', 'PATCH', 'TRACE', 'get'].filter(isSafe)).toEqual([
    'GET',
    'HEAD',
    'OPTIONS',
  ]);
});
