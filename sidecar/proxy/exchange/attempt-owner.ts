// What an attempt asks of the layers above it (attempt-layers.ts), and tells them at its end.
import type { LocalAnswer } from '../../errors.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import type { Attempt } from './attempt.ts';
import type { UpstreamEndpoint } from './upstream.ts';

export interface AttemptOwner {
  /** Nothing of an answer was passed on, and the attempt is still in the books. `unsent`: no byte of the request was handed over. */
  attemptFailed(
    attempt: Attempt,
    failureBits: number,
    result: number,
    unsent: boolean,
    answer: LocalAnswer,
    nowMs: number,
  ): void;
  /** As `attemptFailed`, but it is ended, and no other attempt makes sense. */
  attemptGivenUp(attempt: Attempt, endpoint: UpstreamEndpoint | null, answer: LocalAnswer, nowMs: number): void;
  /** The status of an answer may be worth another one. True: another attempt or a fallback takes its place, and this one has been ended. */
  replaces(attempt: Attempt, failureBits: number, head: ResponseHead, nowMs: number): boolean;
  /** The application gets its answer, whose status may be a failure; told on routes with hedging. */
  taken(attempt: Attempt, failed: boolean, nowMs: number): void;
  /** The connection that failed leads elsewhere from now on. */
  rerouted(attempt: Attempt): boolean;
  /** The whole answer was passed on. `stream`: it was one, which has no duration of its own. */
  answered(status: number, nowMs: number, stream: boolean): void;
  /** A stream or upgraded connection is over. */
  streamEnded(status: number, reason: number): void;
  /** The answer had begun and cannot be finished: the application must see that it is cut. */
  answerCut(status: number, reason: number): void;
}
