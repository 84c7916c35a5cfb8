// What an exchange needs of the connection of the application; client-connection.ts is the one that is real.
import type { LocalAnswer } from '../errors.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { AnswerContext } from './local-answer.ts';
import type { Outbox } from './outbox.ts';

export interface Downstream {
  readonly out: Outbox;
  /** Where a captured connection was made to; null in capture `explicit`. */
  readonly originalDestination: { address: string; port: number } | null;
  /** The upstream takes body bytes (again). */
  resumeBody(): void;
  /** A write still needs bytes that were read: see ReadBuffer. */
  keepRead(buffer: Buffer): void;
  /** Writes the head of the response as far as it is ours to write. Returns whether its body has to be framed in chunks. */
  beginResponse(head: ResponseHead, request: RequestHead, requestDone: boolean): boolean;
  /** The answer is written; on to the next request, or the end of the connection. */
  responseDone(requestDone: boolean): void;
  answerLocally(answer: LocalAnswer, context: AnswerContext, requestDone: boolean): void;
  becomeTunnel(): void;
  endWriting(): void;
  destroy(): void;
  destroyAfterFlush(): void;
  /** Ends the connection in the middle of an answer, so that nobody takes it for whole. */
  breakOff(): void;
}
