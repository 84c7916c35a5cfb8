// What a pod that speaks HTTP/2 does beside giving an answer: how it ends streams and connections, and what it allows at a time. Drawn by the
// mode that it is in, as its answers are (behaviours.ts).
import { constants } from 'node:http2';
import type { Mode } from './behaviours.ts';
import type { Dice } from './dice.ts';
import type { SeenRequest } from './request-reader.ts';

export interface Http2Conduct {
  /** The stream is refused at its head: it is not executed. */
  refuses: boolean;
  /** The stream ends with this code in the place of its end, after `Answer.resetAfterBytes` of its content; below zero: before the head. */
  resetCode: number;
  resetsBeforeHead: boolean;
  /** Says at this request that it leaves: with this code; -1: it stays. What it has not begun may be refused with it. */
  leavesWith: number;
  /** Streams that it takes at a time from now on; -1: as many as before. */
  maxConcurrentStreams: number;
  /** Written beside the frames of the session: what no peer may send; null: nothing. */
  nonsense: Buffer | null;
  /** The head says another length than comes. */
  liesAboutLength: boolean;
  /** Between two parts of a request that it reads. */
  readsEveryMs: number;
  /** Before the head. */
  informational: boolean;
  /** Fields behind the content; null: none. */
  trailers: Readonly<Record<string, string>> | null;
  /** Of an answer of gRPC: its status is all of it. */
  trailersOnly: boolean;
}

const RESET_CODES = [
  constants.NGHTTP2_NO_ERROR,
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_INTERNAL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_STREAM_CLOSED,
  constants.NGHTTP2_REFUSED_STREAM,
  constants.NGHTTP2_CANCEL,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
  constants.NGHTTP2_HTTP_1_1_REQUIRED,
] as const;

/** Frames that end a connection: of a size beyond all bounds, content of no stream, a field of no table, no frame at all. */
const NONSENSE = [
  Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
  Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 0, 65]),
  Buffer.from([0, 0, 2, 1, 4, 0, 0, 0, 1, 0xff, 0xff]),
  Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', 'latin1'),
] as const;

const PLAIN: Http2Conduct = {
  refuses: false,
  resetCode: -1,
  resetsBeforeHead: false,
  leavesWith: -1,
  maxConcurrentStreams: -1,
  nonsense: null,
  liesAboutLength: false,
  readsEveryMs: 0,
  informational: false,
  trailers: null,
  trailersOnly: false,
};

/** Behind the content, so that whoever reads the answer sees that nothing of its end was lost. */
export const LAST_FIELD = 'x-after';

export const isGrpc = ({ headers }: SeenRequest) => headers.get('content-type') === 'application/grpc';

function grpcTrailers(mode: Mode, dice: Dice): Record<string, string> {
  const fails = mode === 'Failing' || dice.chance(0.05);
  const status = fails ? dice.pick([14, 14, 8, 4, 13, 2, 9]) : 0;
  const pushback = fails && dice.chance(0.2) ? { 'grpc-retry-pushback-ms': dice.pick(['0', '100', '-1', 'soon']) } : {};
  return { 'grpc-status': String(status), ...pushback };
}

export function conduct(mode: Mode, request: SeenRequest, dice: Dice): Http2Conduct {
  const takesTrailers = request.headers.get('te') === 'trailers';
  const grpc = isGrpc(request) ? grpcTrailers(mode, dice) : null;
  const usual: Http2Conduct = {
    ...PLAIN,
    informational: dice.chance(0.05),
    leavesWith: dice.chance(0.02) ? constants.NGHTTP2_NO_ERROR : -1,
    trailers: takesTrailers && (grpc !== null || dice.chance(0.5)) ? { ...grpc, [LAST_FIELD]: 'all' } : null,
    trailersOnly: grpc !== null && dice.chance(grpc['grpc-status'] === '0' ? 0.05 : 0.5),
  };
  switch (mode) {
    case 'Slow':
      return { ...usual, readsEveryMs: dice.skewed(1, 500) };
    case 'Flaky':
      return conduct(dice.pick(['Healthy', 'Resetting', 'RefusingStreams', 'Leaving'] as const), request, dice);
    case 'Resetting':
      return resetting(usual, dice);
    case 'Nonsense':
      return dice.chance(0.5)
        ? { ...usual, nonsense: dice.pick(NONSENSE) }
        : { ...usual, liesAboutLength: dice.chance(0.7) };
    case 'RefusingStreams':
      return { ...usual, refuses: dice.chance(0.6) };
    case 'Leaving':
      return { ...usual, leavesWith: dice.chance(0.4) ? dice.pick(LEAVING_CODES) : -1 };
    case 'Narrow':
      return { ...usual, maxConcurrentStreams: dice.chance(0.3) ? dice.pick([0, 1, 1, 2, 5, 100]) : -1 };
    case 'Healthy':
    case 'Failing':
    case 'Hanging':
    case 'Refusing':
    case 'Lost':
    case 'Rude':
      break;
  }
  return usual;
}

/** Without an error it comes in the place of the end of what is whole: so end servers of node:http2 (http2-leg.ts). */
function resetting(usual: Http2Conduct, dice: Dice): Http2Conduct {
  const resetsBeforeHead = dice.chance(0.4);
  const resetCode = dice.pick(RESET_CODES);
  if (resetsBeforeHead || resetCode !== constants.NGHTTP2_NO_ERROR) return { ...usual, resetCode, resetsBeforeHead };
  return usual.trailers === null ? { ...usual, resetCode } : usual;
}

const LEAVING_CODES = [
  constants.NGHTTP2_NO_ERROR,
  constants.NGHTTP2_NO_ERROR,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
] as const;
