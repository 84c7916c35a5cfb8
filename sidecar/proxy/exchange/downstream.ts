// What an exchange needs of the connection of the application, in whatever protocol that speaks; client-connection.ts is HTTP/1.1,
// http2-call.ts is HTTP/2.
import type { LocalAnswer } from '../../errors.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import type { GivenAnswer } from './given-answer.ts';
import type { AnswerContext } from './local-answer.ts';

export interface Downstream {
  /** It speaks HTTP/2, and so does the leg to the dependency. */
  readonly http2: boolean;
  /** Where a captured connection was made to; null in capture `explicit`. */
  readonly originalDestination: { address: string; port: number } | null;
  /** The application has not read what was written to it before. */
  readonly blocked: boolean;
  /** The upstream takes body bytes (again). */
  resumeBody(): void;
  /** What was read of it is handed on just now, and flushed at the end: a head and the body behind it are one write. */
  readonly handsOn: boolean;
  /** Passes a 1xx on, where the application can take one. */
  informational(head: ResponseHead, request: RequestHead): void;
  /** The head of the response, as far as it is ours to write. `marks`: field lines of ours, each with CR LF before it. */
  beginResponse(head: ResponseHead, request: RequestHead, requestDone: boolean, marks: string): void;
  /** Bytes of its body. The buffer is read into again after the call. */
  responseData(buffer: Buffer, start: number, end: number): void;
  /** Writes out what was gathered. False: the application reads more slowly than the dependency writes; `clientDrained` follows. */
  flush(): boolean;
  /** The end of the body, written out. `trailers` has CR LF before each line. */
  endResponse(trailers: string): void;
  /** The answer is written; on to the next request, or the end of the connection. */
  responseDone(requestDone: boolean): void;
  answerLocally(answer: LocalAnswer, context: AnswerContext, requestDone: boolean): void;
  /** An answer that takes the place of a failure. `marks`: as in `beginResponse`. */
  give(answer: GivenAnswer, marks: string, requestDone: boolean): void;
  /** Passes a 101 on. */
  switchProtocols(head: ResponseHead, marks: string): void;
  becomeTunnel(): void;
  /** Bytes of a tunnel; as `responseData`. */
  tunnelData(buffer: Buffer, start: number, end: number): void;
  endWriting(): void;
  destroyAfterFlush(): void;
  /** Takes back an answer that was begun, to give another one; false: part of it is written. */
  takeBack(): boolean;
  /** Ends an answer in its middle, so that nobody takes it for whole. `reason`: slot of why, as a local answer would say it. */
  breakOff(reason: number): void;
}
