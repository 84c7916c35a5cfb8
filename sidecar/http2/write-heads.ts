// Heads as they are written in HTTP/2: names and values in turn. Names are lower-case there (RFC 9113, 8.2).
import { grpcMessage } from '../grpc/status.ts';
import { withoutFields } from '../http1/field-value.ts';
import { isBlank } from '../http1/fields.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { OutgoingRequest } from '../proxy/exchange/current-request.ts';

export function requestFields(request: OutgoingRequest, scheme: 'http' | 'https'): string[] {
  const { head } = request;
  const list = [':method', head.method, ':scheme', scheme, ':authority', request.host, ':path', head.target];
  addLines(list, request.fields);
  if (head.correlationId === '') list.push('x-correlation-id', request.correlationId);
  if (request.attempt > 0) list.push('x-breakwater-attempt', String(request.attempt));
  if (request.deadline !== '') list.push('x-breakwater-deadline', request.deadline);
  if (request.grpcTimeout !== '') list.push('grpc-timeout', request.grpcTimeout);
  const previous = head.grpcPreviousAttempts + (head.grpc && request.attempt > 1 ? request.attempt - 1 : 0);
  if (previous > 0) list.push('grpc-previous-rpc-attempts', String(previous));
  if (head.contentLength >= 0) list.push('content-length', String(head.contentLength));
  if (head.acceptsTrailers) list.push('te', 'trailers');
  return list;
}

/** `marks`: field lines of ours, each with CR LF before it. */
export function responseFields(head: ResponseHead, marks: string): string[] {
  const list = [':status', String(head.wireStatus)];
  addLines(list, head.fields);
  addLines(list, marks);
  if (head.contentLength >= 0) list.push('content-length', String(head.contentLength));
  return list;
}

/** Of an answer of ours, or one that was kept: `lines` has CR LF before each of its fields. */
export function answerFields(status: number, lines: string, contentLength: number): string[] {
  const list = [':status', String(status)];
  addLines(list, lines);
  if (contentLength >= 0) list.push('content-length', String(contentLength));
  return list;
}

/** A local answer to a call of gRPC, which is nothing but a status. `lines`: the fields of the same answer in HTTP. */
export function grpcAnswerFields(grpcStatus: number, detail: string, lines: string): string[] {
  const list = [':status', '200', 'content-type', 'application/grpc', 'grpc-status', String(grpcStatus)];
  list.push('grpc-message', grpcMessage(detail));
  addLines(
    list,
    withoutFields(lines, (name) => name === 'content-type'),
  );
  return list;
}

/** Field lines, each with CR LF before it. */
export function fieldList(lines: string): string[] {
  const list: string[] = [];
  addLines(list, lines);
  return list;
}

/** Whether an answer to this request has no content, whatever its head says. */
export function isWithoutContent(request: RequestHead, status: number): boolean {
  return request.method === 'HEAD' || status === 204 || status === 304;
}

function addLines(list: string[], lines: string): void {
  for (let start = 0; start < lines.length; ) {
    const colon = lines.indexOf(':', start);
    const next = lines.indexOf('\r\n', colon);
    const end = next < 0 ? lines.length : next;
    list.push(lines.slice(start + 2, colon).toLowerCase(), withoutBlanksAround(lines, colon + 1, end));
    start = end;
  }
}

/** By hand: a regular expression looks at each run of blanks inside of a value once for each of its blanks, which of 16 KiB takes a second. */
function withoutBlanksAround(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
