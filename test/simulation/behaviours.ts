// The ways in which pods of a dependency behave and misbehave.
import type { Dice } from './dice.ts';
import { conduct } from './http2-conduct.ts';
import type { Fate } from './network.ts';
import type { Answer, ServerBehaviour } from './pod.ts';
import type { SeenRequest } from './request-reader.ts';

export const MODES = [
  'Healthy',
  'Slow',
  'Failing',
  'Flaky',
  'Resetting',
  'Hanging',
  'Refusing',
  'Lost',
  'Nonsense',
  'Rude',
] as const;
/** What only who speaks HTTP/2 can do. */
const HTTP2_MODES = ['RefusingStreams', 'Leaving', 'Narrow'] as const;
export const ALL_MODES = [...MODES, ...HTTP2_MODES] as const;
export type Mode = (typeof ALL_MODES)[number];

/** What no response is, or none that may be believed. */
const NONSENSE = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
  'HTTP/1.1 2000 OK\r\n\r\n',
  'SSH-2.0-OpenSSH_9.9\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(80_000)}\r\n\r\n`,
  '\0\0\0\0',
] as const;

const FATES: Partial<Record<Mode, readonly Fate[]>> = {
  Refusing: ['Refused', 'Refused', 'Unreachable'],
  Lost: ['Lost'],
  Flaky: ['Accepted', 'Accepted', 'Refused'],
};

const HEALTHY: Answer = {
  workMs: 0,
  status: 200,
  fields: '',
  bodyBytes: 0,
  framing: 'Length',
  pieceMs: 0,
  nonsense: null,
  resetAfterBytes: Number.POSITIVE_INFINITY,
  early: false,
  closeAfter: false,
};

export function behaviour(mode: Mode, dice: Dice): ServerBehaviour {
  return {
    fate: () => dice.pick(FATES[mode] ?? (['Accepted'] as const)),
    answer: (request) => answer(mode, request, dice),
    keepAliveMs: dice.pick([Number.POSITIVE_INFINITY, 5_000, 1_000, 100]),
    http2: {
      settings: () => ({
        maxConcurrentStreams: dice.pick([1, 2, 10, 100]),
        initialWindowSize: dice.pick([65_535, 65_535, 1_000, 16]),
      }),
      conduct: (request) => conduct(mode, request, dice),
      lastStream: (begun, waiting) => dice.pick([begun, ...waiting]),
    },
  };
}

function answer(mode: Mode, request: SeenRequest, dice: Dice): Answer {
  const usual = usualAnswer(request, dice);
  switch (mode) {
    case 'Slow':
      return { ...usual, workMs: dice.skewed(100, 8_000), pieceMs: dice.skewed(1, 1_000) };
    case 'Failing':
      return { ...usual, status: dice.pick([500, 502, 503, 503, 504, 429]), fields: retryAfter(dice) };
    case 'Flaky':
      return dice.chance(0.5) ? usual : answer(dice.pick(['Failing', 'Resetting', 'Slow'] as const), request, dice);
    case 'Resetting':
      return { ...usual, resetAfterBytes: dice.skewed(0, 400) };
    case 'Hanging':
      return dice.chance(0.8) ? { ...usual, workMs: Number.POSITIVE_INFINITY } : usual;
    case 'Nonsense':
      return { ...usual, nonsense: dice.pick(NONSENSE) };
    case 'Rude':
      return { ...usual, early: dice.chance(0.5), closeAfter: dice.chance(0.5), status: dice.pick([200, 413, 503]) };
    case 'Healthy':
    case 'Refusing':
    case 'Lost':
    case 'RefusingStreams':
    case 'Leaving':
    case 'Narrow':
      break;
  }
  return usual;
}

function retryAfter(dice: Dice): string {
  return dice.chance(0.5) ? '' : `\r\nRetry-After: ${dice.pick(['0', '1', '30', 'soon', '-1'])}`;
}

function usualAnswer(request: SeenRequest, dice: Dice): Answer {
  const upgrade = request.headers.get('upgrade') !== undefined && dice.chance(0.7);
  const stream = !upgrade && dice.chance(0.03);
  const framing = upgrade
    ? 'Upgrade'
    : stream
      ? 'Stream'
      : dice.pick(['Length', 'Length', 'Chunked', 'UntilClose'] as const);
  return {
    ...HEALTHY,
    workMs: dice.skewed(0, 60),
    status: dice.chance(0.9) ? 200 : dice.pick([201, 204, 304, 400, 404, 409]),
    bodyBytes: dice.chance(0.1) ? dice.skewed(0, 60_000) : dice.skewed(0, 1_000),
    framing,
    pieceMs: stream ? dice.skewed(10, 2_000) : dice.skewed(0, 10),
    closeAfter: dice.chance(0.05),
  };
}
