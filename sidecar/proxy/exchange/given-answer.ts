// Answers that take the place of a failure: what of them is the same for every request is written when the plan comes.
import type { FixedResponsePlan } from '../../../plan/policies/fallback.ts';
import { nodeHttp } from '../../../runtime/node-http.ts';
import type { GoodAnswer } from '../../policies/last-good.ts';

export interface GivenAnswer {
  readonly status: number;
  /** The status line and fields, without framing and what belongs to the connection. */
  readonly head: string;
  readonly body: Buffer;
}

export function fixedAnswer({ statusCode, contentType, body }: FixedResponsePlan): GivenAnswer {
  const statusLine = `HTTP/1.1 ${statusCode} ${nodeHttp.STATUS_CODES[statusCode] ?? ''}`;
  // Without content there is no type of it; what says that none follows may not say one.
  const type = body === '' ? '' : `\r\nContent-Type: ${contentType}`;
  return { status: statusCode, head: statusLine + type, body: Buffer.from(bodiless(statusCode) ? '' : body) };
}

export function lastGoodAnswer({ fields, body, bornMs }: GoodAnswer, nowMs: number): GivenAnswer {
  const ageSeconds = Math.max(0, Math.floor((nowMs - bornMs) / 1000));
  return { status: 200, head: `HTTP/1.1 200 OK${fields}\r\nAge: ${ageSeconds}`, body };
}

/** The whole response but its body. `marks`: field lines that say what it is. */
export function givenHead({ status, head, body }: GivenAnswer, marks: string, close: boolean): string {
  const length = bodiless(status) ? '' : `\r\nContent-Length: ${body.length}`;
  return `${head}${marks}${close ? '\r\nConnection: close' : ''}${length}\r\n\r\n`;
}

const bodiless = (status: number): boolean => status === 204 || status === 304;
