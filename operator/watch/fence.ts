// Keeps the writes of a replica that leads within the time in which it leads. To look before the call is not enough: credentials are read
// and a connection is made in between, and a process that the kernel stops at this point goes on minutes later as if nothing had been.
// So it is looked again in the moment when the bytes go out, and the API server is told by when it must have done what they ask.
//
// A fence on this side cannot be closed: the look and the system call that sends are two steps, and a process that is stopped between them sends
// one request late, as a network does that held one back. Whoever writes therefore also names the version of the object that it decided
// from (resourceVersion), so that what comes late is refused once anybody has written since.
import type { Dispatcher } from 'undici';

/** The right to write, for as long as it lasts. */
export interface Fence {
  /** Milliseconds for which nobody else may write; 0 or less: not now. Reads the clock anew each time. */
  leftMs(): number;
  /** Aborts when the right ends. Another one after it was won again. */
  readonly signal: AbortSignal;
}

export class NotLeadingError extends Error {
  override name = 'NotLeadingError';
}

/** A call that waited longer than this for its connection is not sent: what it told the API server is no longer so. */
const MAX_WAIT_MS = 1_000;

export function leftOf(fence: Fence): number {
  const leftMs = Math.floor(fence.leftMs());
  if (leftMs > 0) return leftMs;
  throw new NotLeadingError('this replica does not lead: another one may write now');
}

/** Lets a request through only while `fence` still gives it, but for a little, the time that it was promised. */
export function fenced(dispatcher: Dispatcher, fence: Fence, promisedMs: number): Dispatcher {
  return dispatcher.compose((dispatch) => (options, handler) => dispatch(options, guard(handler, fence, promisedMs)));
}

function guard(handler: Dispatcher.DispatchHandler, fence: Fence, promisedMs: number): Dispatcher.DispatchHandler {
  return {
    /** Called when a connection is there, right before the request is written to it. */
    onRequestStart(controller, context) {
      handler.onRequestStart?.(controller, context);
      if (fence.leftMs() >= Math.max(1, promisedMs - MAX_WAIT_MS)) return;
      controller.abort(new NotLeadingError('this replica led when the call began, and may not any more'));
    },
    onRequestUpgrade: (...given) => handler.onRequestUpgrade?.(...given),
    onResponseStart: (...given) => handler.onResponseStart?.(...given),
    onResponseData: (...given) => handler.onResponseData?.(...given),
    onResponseEnd: (...given) => handler.onResponseEnd?.(...given),
    onResponseError: (...given) => handler.onResponseError?.(...given),
  };
}
