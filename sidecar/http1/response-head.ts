// The head of a response, read as strictly as that of a request: an upstream that frames its answers in two ways at once could slip one
// response into another's place.
import { equalsIgnoringCase, isDigit, isTokenCharacter, isValueCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { FieldCursor, FieldId, fieldId, isBlank } from './fields.ts';
import { ConnectionOptions, decimalValue, isProtocolList } from './framing.ts';
import { MAX_HEAD_BYTES } from './limits.ts';

const SP = 0x20;

export class ResponseHead {
  /** 100–999; above 599 to be taken as 5xx. */
  status = 0;
  reason = '';
  minorVersion: 0 | 1 = 1;
  /** The end-to-end field lines, each with CR LF before it; no framing, nothing that ends at this hop. */
  fields = '';
  /** Bytes of content (of the response to GET, where this one answers HEAD or is a 304); -1: no Content-Length. */
  contentLength = -1;
  chunked = false;
  /** Whether the server leaves the connection open after the response; content that ends with the connection is the caller's to see. */
  keepAlive = true;
  /** How long the server keeps an idle connection (Keep-Alive: timeout=), milliseconds; -1: it does not say. */
  keepAliveTimeoutMs = -1;
  /** Protocols of a 101 or 426; empty: none, or not nominated by Connection. */
  upgrade = '';
  /** Content-Type is text/event-stream. */
  eventStream = false;
  /** Retry-After in seconds; -1: absent, or no number. */
  retryAfterSeconds = -1;
  /** Retry-After where it is no number, so perhaps a date; empty: absent. */
  retryAfterDate = '';
  /** The server says that the same request is not to be sent again (`isRetryRefusal`). */
  refusesRetry = false;
  // ---- of HTTP/2 alone: whoever reads that sets them, and no other reader touches them ----
  /** What was written on the wire, where `status` is what a status of gRPC is worth. */
  wireStatus = 0;
  /** A status of gRPC that is the whole answer; -1: there is none. */
  grpcStatus = -1;
  /** An answer of gRPC that has its status in the trailers. */
  grpcStream = false;
  /** When to try again (gRPC A6), milliseconds from now; -1: it does not say. */
  pushbackMs = -1;

  reset(): void {
    this.status = 0;
    this.reason = '';
    this.minorVersion = 1;
    this.fields = '';
    this.contentLength = -1;
    this.chunked = false;
    this.keepAlive = true;
    this.keepAliveTimeoutMs = -1;
    this.upgrade = '';
    this.eventStream = false;
    this.retryAfterSeconds = -1;
    this.retryAfterDate = '';
    this.refusesRetry = false;
  }
}

// Parsing is synchronous and never re-entered, so one of each serves all connections.
const cursor = new FieldCursor();
const connection = new ConnectionOptions();
let encodingSeen = false;

/**
 * Reads a head into `head`, which is reset first. `text` is latin1, from the first byte of the status line to before the empty line's
 * CR LF CR LF. Returns 0, or a detail. 1xx and 204 come out without framing; of HEAD and 304 the caller knows that no content follows.
 */
export function parseResponseHead(text: string, head: ResponseHead): number {
  head.reset();
  connection.reset();
  encodingSeen = false;
  if (text.length + 4 > MAX_HEAD_BYTES) return HeadDetail.HeadBytes;
  const carriageReturn = text.indexOf('\r');
  const lineEnd = carriageReturn === -1 ? text.length : carriageReturn;
  let detail = parseStatusLine(text, lineEnd, head);
  if (detail === HeadDetail.None) detail = parseFields(text, lineEnd, head);
  if (detail === HeadDetail.None) detail = conclude(head);
  cursor.close();
  return detail;
}

function parseStatusLine(text: string, lineEnd: number, head: ResponseHead): number {
  if (lineEnd === 0) return HeadDetail.EmptyHead;
  if (lineEnd < 12 || !text.startsWith('HTTP/') || text.charCodeAt(6) !== 0x2e) return HeadDetail.BadStatusLine;
  const minor = text.charCodeAt(7);
  if (!isDigit(text.charCodeAt(5)) || !isDigit(minor)) return HeadDetail.BadVersion;
  if (text.charCodeAt(5) !== 0x31 || minor > 0x31) return HeadDetail.UnsupportedVersion;
  if (text.charCodeAt(8) !== SP) return HeadDetail.BadStatusLine;
  const status = decimalValue(text, 9, 12);
  if (status < 100) return HeadDetail.BadStatus;
  // RFC 9112, 4: the space is required even before an empty reason; servers that leave both out are many, and nobody reads them differently.
  if (lineEnd > 12 && text.charCodeAt(12) !== SP)
    return isDigit(text.charCodeAt(12)) ? HeadDetail.BadStatus : HeadDetail.BadStatusLine;
  for (let index = 13; index < lineEnd; index += 1) {
    const code = text.charCodeAt(index);
    if (!isValueCharacter(code)) return code === 0x0a ? HeadDetail.BareLineFeed : HeadDetail.ValueCharacter;
  }
  head.minorVersion = minor === 0x31 ? 1 : 0;
  head.status = status;
  head.reason = lineEnd - 13 === 2 && text.startsWith('OK', 13) ? 'OK' : text.slice(13, lineEnd);
  return HeadDetail.None;
}

function parseFields(text: string, lineEnd: number, head: ResponseHead): number {
  cursor.open(text, lineEnd);
  let runStart = lineEnd;
  let runEnd = lineEnd;
  let fields = '';
  while (cursor.next()) {
    const id = fieldId(text, cursor.nameStart, cursor.nameEnd);
    if (id === FieldId.Other || forwardedAfterLook(text, id, head)) {
      runEnd = cursor.lineEnd;
      continue;
    }
    const detail = cursor.hasTabAroundValue() ? HeadDetail.TabAroundValue : endingField(text, id, head);
    if (detail !== HeadDetail.None) return detail;
    if (runEnd > runStart) fields += text.slice(runStart, runEnd);
    runStart = cursor.lineEnd;
    runEnd = runStart;
  }
  if (runEnd > runStart) fields += text.slice(runStart, runEnd);
  head.fields = fields;
  return cursor.detail;
}

/** Fields that are looked at and stay; false: the field ends here, or must be checked. */
function forwardedAfterLook(text: string, id: number, head: ResponseHead): boolean {
  const { valueStart, valueEnd } = cursor;
  switch (id) {
    case FieldId.ContentType:
      if (isEventStream(text, valueStart, valueEnd)) head.eventStream = true;
      return true;
    case FieldId.RetryAfter:
      head.retryAfterSeconds = delaySeconds(text, valueStart, valueEnd);
      if (head.retryAfterSeconds === -1) head.retryAfterDate = text.slice(valueStart, valueEnd);
      return true;
    case FieldId.RetryAdvice:
      if (isRetryRefusal(text, valueStart, valueEnd)) head.refusesRetry = true;
      return true;
    case FieldId.Accept:
    case FieldId.Traceparent:
    case FieldId.Tracestate:
    case FieldId.BreakwaterAttempt:
    case FieldId.BreakwaterDeadline:
    case FieldId.OwnTwin:
    case FieldId.Host:
    case FieldId.Expect:
    case FieldId.CorrelationId:
    case FieldId.IdempotencyKey:
      return true;
    default:
      return false;
  }
}

/**
 * delay-seconds of RFC 9110, 10.2.3: any digits, leading zeros among them; -1 where there is anything else. It frames nothing, so that what is
 * too large for a number is the largest: whoever asks for so long a pause must not get none.
 */
function delaySeconds(text: string, start: number, end: number): number {
  let seconds = start === end ? -1 : 0;
  for (let index = start; index < end; index += 1) {
    const code = text.charCodeAt(index);
    if (!isDigit(code)) return -1;
    seconds = Math.min(seconds * 10 + (code - 0x30), Number.MAX_SAFE_INTEGER);
  }
  return seconds;
}

/**
 * `x-breakwater-retry: never`, `x-should-retry: false` and `stripe-should-retry: false`, and a `grpc-retry-pushback-ms` below zero (gRPC
 * A6). What asks for a retry (`true`, a pause) asks in vain: whether a request may run twice is the policy's to say.
 */
function isRetryRefusal(text: string, start: number, end: number): boolean {
  return (
    text.charCodeAt(start) === 0x2d ||
    equalsIgnoringCase(text, start, end, 'never') ||
    equalsIgnoringCase(text, start, end, 'false')
  );
}

function isEventStream(text: string, start: number, end: number): boolean {
  let typeEnd = start;
  while (typeEnd < end && (isTokenCharacter(text.charCodeAt(typeEnd)) || text.charCodeAt(typeEnd) === 0x2f))
    typeEnd += 1;
  return equalsIgnoringCase(text, start, typeEnd, 'text/event-stream');
}

/** Takes in the field under the cursor, which is not forwarded as it is. */
function endingField(text: string, id: number, head: ResponseHead): number {
  const { valueStart, valueEnd } = cursor;
  switch (id) {
    case FieldId.ContentLength:
      if (head.contentLength !== -1) return HeadDetail.TwoContentLengths;
      head.contentLength = decimalValue(text, valueStart, valueEnd);
      return head.contentLength === -1 ? HeadDetail.BadContentLength : HeadDetail.None;
    case FieldId.TransferEncoding:
      if (encodingSeen) return HeadDetail.TwoTransferEncodings;
      encodingSeen = true;
      if (head.minorVersion === 0) return HeadDetail.TransferEncodingInHttp10;
      head.chunked = equalsIgnoringCase(text, valueStart, valueEnd, 'chunked');
      return head.chunked ? HeadDetail.None : HeadDetail.BadTransferEncoding;
    case FieldId.Connection:
      return connection.add(text, valueStart, valueEnd);
    case FieldId.KeepAlive:
      head.keepAliveTimeoutMs = keepAliveTimeoutMs(text, valueStart, valueEnd);
      return HeadDetail.None;
    case FieldId.Upgrade:
      if (!isProtocolList(text, valueStart, valueEnd)) return HeadDetail.BadUpgrade;
      head.upgrade =
        head.upgrade === '' ? text.slice(valueStart, valueEnd) : `${head.upgrade}, ${text.slice(valueStart, valueEnd)}`;
      return HeadDetail.None;
    case FieldId.Lookalike:
      return HeadDetail.LookalikeField;
    default:
      return HeadDetail.None;
  }
}

/** The `timeout` parameter of "timeout=5, max=100" in milliseconds, or -1. */
function keepAliveTimeoutMs(text: string, start: number, end: number): number {
  let index = start;
  while (index < end) {
    while (index < end && (text.charCodeAt(index) === 0x2c || isBlank(text.charCodeAt(index)))) index += 1;
    const elementStart = index;
    while (index < end && text.charCodeAt(index) !== 0x2c) index += 1;
    if (index - elementStart < 9 || !equalsIgnoringCase(text, elementStart, elementStart + 8, 'timeout=')) continue;
    let valueEnd = index;
    while (isBlank(text.charCodeAt(valueEnd - 1))) valueEnd -= 1;
    const seconds = decimalValue(text, elementStart + 8, valueEnd);
    return seconds >= 0 && seconds <= 86_400 ? seconds * 1000 : -1;
  }
  return -1;
}

/** What only the whole head shows. */
function conclude(head: ResponseHead): number {
  if (head.chunked && head.contentLength !== -1) return HeadDetail.LengthAndEncoding;
  if (head.status < 200 || head.status === 204) {
    // RFC 9112, 6.3: no content whatever the fields say. "Content-Length: 0" is common and harmless; anything else is meant for another reader.
    if (head.chunked || head.contentLength > 0) return HeadDetail.FramedNoContent;
    head.contentLength = -1;
  }
  head.keepAlive = !connection.close && (head.minorVersion === 1 || connection.keepAlive);
  if (!connection.upgrade) head.upgrade = '';
  if (connection.nominated !== '') head.fields = withoutNominated(head.fields);
  return HeadDetail.None;
}

/** Drops the nominated fields from lines that were validated before. */
function withoutNominated(fields: string): string {
  let kept = '';
  cursor.open(fields, 0);
  while (cursor.next()) {
    if (!connection.nominates(fields, cursor.nameStart, cursor.nameEnd))
      kept += fields.slice(cursor.lineStart, cursor.lineEnd);
  }
  return kept;
}
