// The head of a request: read strictly, and taken apart into what is decided on, what ends at this hop, and what is forwarded as it is.
//
// The start line, Host, Content-Length, Transfer-Encoding, Connection, TE and Upgrade are always written anew by whoever forwards, from
// the members of RequestHead; all other field lines are in `fields`, byte for byte. A head that two readers could read differently is
// refused and never repaired (RFC 9112, 11.2): that is the whole defence against request smuggling.
import { equalsIgnoringCase, isTargetCharacter, isTokenCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { FieldCursor, FieldId, fieldId } from './fields.ts';
import { ConnectionOptions, decimalValue, isProtocolList, listHas } from './framing.ts';
import { MAX_HEAD_BYTES, MAX_METHOD_BYTES, MAX_TARGET_BYTES } from './limits.ts';
import { isAuthority, methodName, parseVersion } from './request-line.ts';

const CR = 0x0d;
const SP = 0x20;
const HASH = 0x23;
const ASTERISK = 0x2a;
const SLASH = 0x2f;
const QUESTION = 0x3f;
const EVENT_STREAM = 'text/event-stream';

export class RequestHead {
  method = '';
  /** What to forward: origin-form ("/a?b"), or "*". An absolute-form target has become its origin-form. */
  target = '';
  /** The target without its query, raw: nothing is decoded or normalised. */
  path = '';
  minorVersion: 0 | 1 = 1;
  /** The end-to-end field lines, each with CR LF before it; no Host, no framing, nothing that ends at this hop. */
  fields = '';
  /** Empty only in HTTP/1.0. */
  host = '';
  /** Bytes of content; -1: no Content-Length. Without it and `chunked` there is no content. */
  contentLength = -1;
  chunked = false;
  /** Whether the client leaves the connection open after the response. */
  keepAlive = true;
  /** The client waits for 100 before it sends content; its Expect field is then in `fields`. */
  expectsContinue = false;
  /** Protocols the client offers to change to; empty: none. h2c is never offered on (RFC 9113 took it back), nor is any together with content. */
  upgrade = '';
  /** The client reads trailers (TE: trailers). */
  acceptsTrailers = false;
  /** Value of X-Correlation-ID, or empty; the field is in `fields`. */
  correlationId = '';
  hasIdempotencyKey = false;
  /** The client asks for a stream of events (Accept: text/event-stream). */
  acceptsEventStream = false;
  hasTraceparent = false;
  /** Where the line of `tracestate` lies in `fields`, from its CR LF to its end; both zero: there is none. */
  tracestateStart = 0;
  tracestateEnd = 0;
  /** There are several lines of `tracestate`, which are one list (W3C Trace Context, 3.3.1.1); the bounds are those of the first. */
  tracestateParted = false;
  /** Value of X-Breakwater-Deadline, which ends here; empty: absent. */
  deadline = '';
  // ---- of HTTP/2 alone: whoever reads that sets them, and no other reader touches them ----
  /** A call of gRPC. */
  grpc = false;
  /** Value of grpc-timeout, which is written anew; empty: absent. */
  grpcTimeout = '';
  /** Attempts that the application says it has made before (grpc-previous-rpc-attempts, written anew). */
  grpcPreviousAttempts = 0;

  reset(): void {
    this.method = '';
    this.target = '';
    this.path = '';
    this.minorVersion = 1;
    this.fields = '';
    this.host = '';
    this.contentLength = -1;
    this.chunked = false;
    this.keepAlive = true;
    this.expectsContinue = false;
    this.upgrade = '';
    this.acceptsTrailers = false;
    this.correlationId = '';
    this.hasIdempotencyKey = false;
    this.acceptsEventStream = false;
    this.hasTraceparent = false;
    this.tracestateStart = 0;
    this.tracestateEnd = 0;
    this.tracestateParted = false;
    this.deadline = '';
  }
}

// Parsing is synchronous and never re-entered, so one of each serves all connections.
const cursor = new FieldCursor();
const connection = new ConnectionOptions();

let hostSeen = false;
let expectSeen = false;
let encodingSeen = false;
/** Where the authority of an absolute-form target lies; equal: there is none. */
let authorityStart = 0;
let authorityEnd = 0;

/**
 * Reads a head into `head`, which is reset first. `text` is latin1, from the first byte of the request line to before the empty line's
 * CR LF CR LF; empty lines before the request line are the caller's to skip. Returns 0, or a detail (`headErrorDetail`, `headErrorClass`).
 */
export function parseRequestHead(text: string, head: RequestHead): number {
  head.reset();
  connection.reset();
  hostSeen = false;
  expectSeen = false;
  encodingSeen = false;
  const lineEnd = requestLineEnd(text);
  let detail = parseRequestLine(text, lineEnd, head);
  if (detail === HeadDetail.None && text.length + 4 > MAX_HEAD_BYTES) detail = HeadDetail.HeadBytes;
  if (detail === HeadDetail.None) detail = parseFields(text, lineEnd, head);
  if (detail === HeadDetail.None) detail = conclude(text, head);
  cursor.close();
  return detail;
}

/**
 * What is wrong with a head of which more than MAX_HEAD_BYTES have come without its end; `text` is what came. A target too long is told
 * apart from fields too large, for they get different answers.
 */
export function unfinishedRequestHeadDetail(text: string): number {
  const lineEnd = requestLineEnd(text);
  const targetStart = text.indexOf(' ') + 1;
  const tooLong = targetStart > 0 && targetStart < lineEnd && lineEnd - targetStart > MAX_TARGET_BYTES;
  return tooLong ? HeadDetail.TargetBytes : HeadDetail.HeadBytes;
}

function requestLineEnd(text: string): number {
  const end = text.indexOf('\r');
  return end === -1 ? text.length : end;
}

function parseRequestLine(text: string, lineEnd: number, head: RequestHead): number {
  if (lineEnd === 0) return HeadDetail.EmptyHead;
  let methodEnd = 0;
  while (methodEnd < lineEnd && isTokenCharacter(text.charCodeAt(methodEnd))) methodEnd += 1;
  if (methodEnd === 0 || methodEnd > MAX_METHOD_BYTES) return HeadDetail.BadMethod;
  if (text.charCodeAt(methodEnd) !== SP)
    return methodEnd === lineEnd ? HeadDetail.BadRequestLine : HeadDetail.BadMethod;
  const targetStart = methodEnd + 1;
  let targetEnd = targetStart;
  let query = -1;
  while (targetEnd < lineEnd) {
    const code = text.charCodeAt(targetEnd);
    if (!isTargetCharacter(code)) break;
    if (code === HASH) return HeadDetail.Fragment;
    if (code === QUESTION && query === -1) query = targetEnd;
    targetEnd += 1;
  }
  if (targetEnd - targetStart > MAX_TARGET_BYTES) return HeadDetail.TargetBytes;
  if (targetEnd === targetStart || targetEnd === lineEnd) return HeadDetail.BadRequestLine;
  if (text.charCodeAt(targetEnd) !== SP) return HeadDetail.TargetCharacter;
  const detail = parseVersion(text, targetEnd + 1, lineEnd, head);
  if (detail !== HeadDetail.None) return detail;
  head.method = methodName(text, methodEnd);
  if (head.method === 'CONNECT') return HeadDetail.ConnectRefused;
  return parseTarget(text, targetStart, targetEnd, query, head);
}

function parseTarget(text: string, start: number, end: number, query: number, head: RequestHead): number {
  authorityStart = 0;
  authorityEnd = 0;
  const first = text.charCodeAt(start);
  if (first === SLASH) {
    head.target = text.slice(start, end);
    head.path = query === -1 ? head.target : text.slice(start, query);
    return HeadDetail.None;
  }
  if (first === ASTERISK && end - start === 1) {
    if (head.method !== 'OPTIONS') return HeadDetail.AsteriskMethod;
    head.target = '*';
    head.path = '*';
    return HeadDetail.None;
  }
  return parseAbsoluteTarget(text, start, end, query, head);
}

function parseAbsoluteTarget(text: string, start: number, end: number, query: number, head: RequestHead): number {
  const schemeEnd = text.indexOf('://', start);
  if (schemeEnd === -1 || schemeEnd >= end) return HeadDetail.BadTarget;
  if (!equalsIgnoringCase(text, start, schemeEnd, 'http')) return HeadDetail.AbsoluteScheme;
  authorityStart = schemeEnd + 3;
  authorityEnd = authorityStart;
  while (authorityEnd < end) {
    const code = text.charCodeAt(authorityEnd);
    if (code === SLASH || code === QUESTION) break;
    authorityEnd += 1;
  }
  if (!isAuthority(text, authorityStart, authorityEnd)) return HeadDetail.AbsoluteAuthority;
  if (text.charCodeAt(authorityEnd) === SLASH) {
    head.target = text.slice(authorityEnd, end);
    head.path = query === -1 ? head.target : text.slice(authorityEnd, query);
  } else if (authorityEnd === end && head.method === 'OPTIONS') {
    // RFC 9112, 3.2.4: OPTIONS for the server as a whole.
    head.target = '*';
    head.path = '*';
  } else {
    head.target = `/${text.slice(authorityEnd, end)}`;
    head.path = '/';
  }
  return HeadDetail.None;
}

function parseFields(text: string, lineEnd: number, head: RequestHead): number {
  if (lineEnd < text.length && text.charCodeAt(lineEnd) !== CR) return HeadDetail.BareLineFeed;
  cursor.open(text, lineEnd);
  let runStart = lineEnd;
  let runEnd = lineEnd;
  let fields = '';
  while (cursor.next()) {
    const id = fieldId(text, cursor.nameStart, cursor.nameEnd);
    if (id === FieldId.Other || forwardedAfterLook(text, id, head)) {
      if (id === FieldId.Tracestate) noteTracestate(head, fields.length + cursor.lineStart - runStart);
      runEnd = cursor.lineEnd;
      continue;
    }
    // Our own two decide nothing that another reader could read differently.
    const tabbed = id <= FieldId.Lookalike && cursor.hasTabAroundValue();
    const detail = tabbed ? HeadDetail.TabAroundValue : endingField(text, id, head);
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
function forwardedAfterLook(text: string, id: number, head: RequestHead): boolean {
  switch (id) {
    case FieldId.CorrelationId:
      if (head.correlationId === '') head.correlationId = text.slice(cursor.valueStart, cursor.valueEnd);
      return true;
    case FieldId.IdempotencyKey:
      if (cursor.valueEnd > cursor.valueStart) head.hasIdempotencyKey = true;
      return true;
    case FieldId.Accept:
      if (cursor.valueEnd - cursor.valueStart >= EVENT_STREAM.length && hasEventStream(text))
        head.acceptsEventStream = true;
      return true;
    case FieldId.Traceparent:
      head.hasTraceparent = true;
      return true;
    case FieldId.Tracestate:
    case FieldId.ContentType:
    case FieldId.RetryAfter:
    case FieldId.RetryAdvice:
      return true;
    default:
      return false;
  }
}

/** The value under the cursor names the media type of a stream of events, among others perhaps. */
function hasEventStream(text: string): boolean {
  return text.slice(cursor.valueStart, cursor.valueEnd).toLowerCase().includes(EVENT_STREAM);
}

/** The line under the cursor will begin at `start` of the forwarded fields. */
function noteTracestate(head: RequestHead, start: number): void {
  if (head.tracestateEnd > 0) {
    head.tracestateParted = true;
    return;
  }
  head.tracestateStart = start;
  head.tracestateEnd = start + cursor.lineEnd - cursor.lineStart;
}

/** Takes in the field under the cursor, which is not forwarded as it is. */
function endingField(text: string, id: number, head: RequestHead): number {
  const { valueStart, valueEnd } = cursor;
  switch (id) {
    case FieldId.Host:
      if (hostSeen) return HeadDetail.TwoHosts;
      hostSeen = true;
      if (!isAuthority(text, valueStart, valueEnd)) return HeadDetail.BadHost;
      head.host = text.slice(valueStart, valueEnd);
      return HeadDetail.None;
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
    case FieldId.Te:
      if (listHas(text, valueStart, valueEnd, 'trailers')) head.acceptsTrailers = true;
      return HeadDetail.None;
    case FieldId.Upgrade:
      if (!isProtocolList(text, valueStart, valueEnd)) return HeadDetail.BadUpgrade;
      head.upgrade =
        head.upgrade === '' ? text.slice(valueStart, valueEnd) : `${head.upgrade}, ${text.slice(valueStart, valueEnd)}`;
      return HeadDetail.None;
    case FieldId.Expect:
      if (expectSeen || !equalsIgnoringCase(text, valueStart, valueEnd, '100-continue')) return HeadDetail.BadExpect;
      expectSeen = true;
      return HeadDetail.None;
    case FieldId.BreakwaterDeadline:
      if (head.deadline === '') head.deadline = text.slice(valueStart, valueEnd);
      return HeadDetail.None;
    case FieldId.Lookalike:
      return HeadDetail.LookalikeField;
    default:
      return HeadDetail.None;
  }
}

/** What only the whole head shows. */
function conclude(text: string, head: RequestHead): number {
  if (head.chunked && head.contentLength !== -1) return HeadDetail.LengthAndEncoding;
  if (authorityEnd > authorityStart) {
    const authority = text.slice(authorityStart, authorityEnd).toLowerCase();
    if (!hostSeen && head.minorVersion === 0) head.host = authority;
    else if (hostSeen && head.host.toLowerCase() !== authority) return HeadDetail.AbsoluteAuthority;
  }
  if (!hostSeen && head.minorVersion === 1) return HeadDetail.MissingHost;
  const hasContent = head.chunked || head.contentLength > 0;
  if (hasContent && head.method === 'TRACE') return HeadDetail.TraceContent;
  head.keepAlive = !connection.close && (head.minorVersion === 1 || connection.keepAlive);
  // An expectation without content, or from an HTTP/1.0 client, asks for nothing (RFC 9110, 10.1.1): it ends here.
  if (expectSeen && hasContent && head.minorVersion === 1) {
    head.expectsContinue = true;
    head.fields += '\r\nExpect: 100-continue';
  }
  if (head.upgrade !== '') keepOrDropUpgrade(head, hasContent);
  if (connection.nominated !== '') dropNominated(head);
  return HeadDetail.None;
}

/** An upgrade is an offer that a recipient may ignore (RFC 9110, 7.8). */
function keepOrDropUpgrade(head: RequestHead, hasContent: boolean): void {
  const { upgrade } = head;
  if (!connection.upgrade || hasContent || head.minorVersion === 0 || listHas(upgrade, 0, upgrade.length, 'h2c'))
    head.upgrade = '';
}

/** Drops the nominated fields from lines that were validated before. */
function dropNominated(head: RequestHead): void {
  const { fields } = head;
  let kept = '';
  head.tracestateStart = 0;
  head.tracestateEnd = 0;
  head.tracestateParted = false;
  cursor.open(fields, 0);
  while (cursor.next()) {
    if (connection.nominates(fields, cursor.nameStart, cursor.nameEnd)) continue;
    if (fieldId(fields, cursor.nameStart, cursor.nameEnd) === FieldId.Tracestate) noteTracestate(head, kept.length);
    kept += fields.slice(cursor.lineStart, cursor.lineEnd);
  }
  head.fields = kept;
}
