// Deadlines on their way through the sidecar: what a request came with shortens its time (policies/deadline.ts says how far it is trusted),
// and every attempt tells its dependency when it ends. They travel in a field of their own and, for applications that pass trace context on
// and nothing else, in an entry of `tracestate`.
//
// The absolute time is what is told, so that waiting in line and pauses between attempts need no arithmetic: they are gone from it by
// themselves. An upgrade and a stream of events are told nothing: their deadline ends at the head, and whoever serves them for hours would
// take it for the end of the stream, and every call of theirs for too late.
import { grpcTimeoutText, parseGrpcTimeout } from '../../grpc/status.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import { traceStateDeadline, withoutTraceStateDeadline, withTraceStateDeadline } from '../../http1/trace-state.ts';
import {
  DeadlineEffect,
  deadlineEffect,
  deadlineText,
  earlierDeadline,
  effectiveDeadlineMs,
  parseDeadline,
  toldDeadlineUnixMs,
} from '../../policies/deadline.ts';
import { DeadlineRule } from '../dependency/route-policies.ts';
import type { CurrentRequest } from './current-request.ts';
import type { RequestTimer } from './request-timer.ts';

/** What a request with nothing of it, nearly every one, costs is the comparison of two strings and two numbers. */
export function takeDeadline(request: CurrentRequest, timer: RequestTimer, nowMs: number): void {
  const { head, policy } = request;
  request.fields = head.fields;
  request.deadline = '';
  request.receivedDeadlineUnixMs = -1;
  request.shortened = false;
  request.grpcTimeout = head.grpcTimeout;
  if (head.grpc) takeGrpcTimeout(request, timer);
  if (head.deadline === '' && head.tracestateEnd === 0) return;
  if (policy.deadlineRule === DeadlineRule.Untouched) {
    request.deadline = head.deadline;
    return;
  }
  const list = traceState(head);
  const inTraceState = traceStateDeadline(list);
  if (inTraceState !== -1) request.fields = withTraceState(head, withoutTraceStateDeadline(list));
  if (policy.deadlineRule === DeadlineRule.Ended) return;
  const received = earlierDeadline(head.deadline === '' ? -1 : parseDeadline(head.deadline), inTraceState);
  if (received === -1) return;
  const unixMs = request.context.ticker.unixMs();
  const effect = deadlineEffect(received, timer.deadlineMs, unixMs, nowMs);
  policy.metrics.deadlines[effect] = (policy.metrics.deadlines[effect] ?? 0) + 1;
  if (effect === DeadlineEffect.invalid || effect === DeadlineEffect.stale) return;
  request.receivedDeadlineUnixMs = received;
  if (effect !== DeadlineEffect.shortened) return;
  request.shortened = true;
  timer.shorten(effectiveDeadlineMs(received, unixMs, nowMs));
}

/** The deadline of gRPC is a time from now on, and holds for a call however long its stream: it shortens as a received one does. */
function takeGrpcTimeout(request: CurrentRequest, timer: RequestTimer): void {
  const { head, policy } = request;
  request.grpcDeadlineMs = Number.POSITIVE_INFINITY;
  if (head.grpcTimeout === '' || policy.deadlineRule < DeadlineRule.Taken) return;
  const timeoutMs = parseGrpcTimeout(head.grpcTimeout);
  let effect: number = DeadlineEffect.invalid;
  if (!Number.isNaN(timeoutMs)) {
    // From its arrival on: a fallback to another dependency begins later.
    request.grpcDeadlineMs = request.startMs + timeoutMs;
    effect = request.grpcDeadlineMs < timer.deadlineMs ? DeadlineEffect.shortened : DeadlineEffect.later;
  }
  policy.metrics.deadlines[effect] = (policy.metrics.deadlines[effect] ?? 0) + 1;
  if (effect !== DeadlineEffect.shortened) return;
  request.shortened = true;
  timer.shorten(request.grpcDeadlineMs);
}

/** What is left of it, as an attempt is about to be sent. */
export function tellGrpcTimeout(request: CurrentRequest): void {
  const { context, grpcDeadlineMs } = request;
  if (grpcDeadlineMs !== Number.POSITIVE_INFINITY)
    request.grpcTimeout = grpcTimeoutText(grpcDeadlineMs - context.ticker.nowMs());
}

/** An attempt that ends at `endMs` is about to be sent. */
export function tellDeadline(request: CurrentRequest, endMs: number): void {
  const { head, context, receivedDeadlineUnixMs } = request;
  // A call of gRPC may be a stream, for all that can be seen of it: it is told what its own caller said.
  if (head.upgrade !== '' || head.acceptsEventStream || head.grpc) return;
  const { ticker } = context;
  const told = toldDeadlineUnixMs(endMs, receivedDeadlineUnixMs, ticker.unixMs(), ticker.nowMs());
  if (told < 0) return;
  request.deadline = deadlineText(told);
  // Without a traceparent there is no trace, and a tracestate would mean nothing (W3C Trace Context, 3.3).
  if (head.hasTraceparent)
    request.fields = withTraceState(head, withTraceStateDeadline(traceState(head), request.deadline));
}

/** Whose deadline it was that passed; empty: our own. */
export function deadlineDetail(request: CurrentRequest): string {
  return request.shortened
    ? 'The deadline that the request came with (x-breakwater-deadline, tracestate or grpc-timeout) passed: its caller does not wait any more.'
    : '';
}

/** The list of all lines of `tracestate`; empty where there is none. */
function traceState(head: RequestHead): string {
  if (head.tracestateEnd === 0) return '';
  if (!head.tracestateParted) return valueOf(head.fields.slice(head.tracestateStart + 2, head.tracestateEnd));
  const lines = head.fields.split('\r\n').filter(isTraceState);
  return lines.map(valueOf).join(',');
}

/** The fields with `list` as their only `tracestate`, where the first one was or at the end; without one where it is empty. */
function withTraceState(head: RequestHead, list: string): string {
  const { fields, tracestateStart: start, tracestateEnd: end } = head;
  const line = list === '' ? '' : `\r\ntracestate: ${list}`;
  if (end === 0) return fields + line;
  const behind = fields.slice(end);
  if (!head.tracestateParted) return fields.slice(0, start) + line + behind;
  const others = behind.split('\r\n').filter((one) => !isTraceState(one));
  return fields.slice(0, start) + line + others.join('\r\n');
}

function isTraceState(line: string): boolean {
  return /^tracestate:/i.test(line);
}

function valueOf(line: string): string {
  return line.slice(line.indexOf(':') + 1).trim();
}
