// Heads of HTTP/2 as the rest of the sidecar knows them. A field section becomes the text of the same message in HTTP/1.1 and is read by the
// same strict parser, so that there is one place that says what is valid, and one form in which policies see requests and answers.
//
// What could mean one thing in the text and another in the section is refused before (RFC 9113, 8.2 and 8.3): a line end or a colon where a
// name or a value would become two, a field that belongs to a connection, a second pseudo-header, one behind the others.
import { httpStatusOf, isGrpcType, parseGrpcStatus, parsePushbackMs } from '../grpc/status.ts';
import { HeadDetail } from '../http1/errors.ts';
import { parseRequestHead, type RequestHead } from '../http1/request-head.ts';
import { parseResponseHead, type ResponseHead } from '../http1/response-head.ts';
import { TrailerSection } from '../http1/trailers.ts';

const COLON = 0x3a;

/** The fields of the section that is being read. Reading is synchronous and never re-entered. */
let lines = '';
/** A field that is no pseudo-header was there, whether or not it became a line. */
let fieldSeen = false;
let cookie = '';
let host: string | null = null;
let hasContentLength = false;
let contentType = '';
let grpcTimeout = '';
let grpcPreviousAttempts = '';
let grpcStatus: string | null = null;
let pushback: string | null = null;

/**
 * Reads the field section of a request (`raw`: names and values in turn) into `head`. `ended`: no content follows. Returns 0, or a detail
 * (`headErrorDetail`, `headErrorClass`). A request whose content has no length comes out as `chunked`.
 */
export function readRequestHead(raw: readonly string[], ended: boolean, head: RequestHead): number {
  head.reset();
  head.grpc = false;
  head.grpcTimeout = '';
  head.grpcPreviousAttempts = 0;
  begin();
  let method: string | null = null;
  let scheme: string | null = null;
  let authority: string | null = null;
  let path: string | null = null;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name.charCodeAt(0) !== COLON) {
      const detail = takeField(name, value);
      if (detail !== HeadDetail.None) return detail;
      continue;
    }
    if (fieldSeen) return HeadDetail.PseudoFieldOrder;
    if (name === ':method' && method === null) method = value;
    else if (name === ':scheme' && scheme === null) scheme = value;
    else if (name === ':authority' && authority === null) authority = value;
    else if (name === ':path' && path === null) path = value;
    else return HeadDetail.PseudoField;
  }
  if (method === 'CONNECT') return HeadDetail.ConnectRefused;
  if (method === null || !path || (scheme !== 'http' && scheme !== 'https')) return HeadDetail.PseudoField;
  const first = path.charCodeAt(0);
  if (first !== 0x2f && path !== '*') return HeadDetail.BadTarget;
  if (authority !== null && host !== null && authority.toLowerCase() !== host.toLowerCase())
    return HeadDetail.AuthorityAndHost;
  if (!ended && !hasContentLength) lines += '\r\ntransfer-encoding: chunked';
  if (cookie !== '') lines += `\r\ncookie: ${cookie}`;
  const named = authority ?? host ?? '';
  noteGrpc(head);
  const detail = parseRequestHead(`${method} ${path} HTTP/1.1\r\nhost: ${named}${lines}`, head);
  if (detail !== HeadDetail.None) return detail;
  // A method or a target that the text split elsewhere would not be what the section says.
  if (head.method !== method || head.target !== path || head.host !== named) return HeadDetail.PseudoField;
  return ended && head.contentLength > 0 ? HeadDetail.ContentLengthMismatch : HeadDetail.None;
}

/** Whether a request that `readRequestHead` refuses with this detail is an error of its stream (RFC 9113, 8.1.1), and not one to be answered. */
export function isStreamError(detail: number): boolean {
  switch (detail) {
    case HeadDetail.PseudoField:
    case HeadDetail.PseudoFieldOrder:
    case HeadDetail.ConnectionField:
    case HeadDetail.ContentLengthMismatch:
    case HeadDetail.FieldNameCase:
      return true;
    default:
      return false;
  }
}

/** Reads the field section of a response, or of a 1xx before it. */
export function readResponseHead(raw: readonly string[], head: ResponseHead): number {
  head.reset();
  begin();
  let status = '';
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === ':status' && status === '' && !fieldSeen) {
      status = value;
      continue;
    }
    const detail = takeField(name, value);
    if (detail !== HeadDetail.None) return detail;
  }
  if (host !== null) lines += `\r\nhost: ${host}`;
  if (grpcTimeout !== '') lines += `\r\ngrpc-timeout: ${grpcTimeout}`;
  if (grpcPreviousAttempts !== '') lines += `\r\ngrpc-previous-rpc-attempts: ${grpcPreviousAttempts}`;
  if (cookie !== '') lines += `\r\ncookie: ${cookie}`;
  const detail = parseResponseHead(`HTTP/1.1 ${status} ${lines}`, head);
  if (detail !== HeadDetail.None) return detail;
  // HTTP/2 has no switching of protocols (RFC 9113, 8.6), and what is above is no status at all.
  if (head.status === 101 || head.status > 599 || status.length !== 3) return HeadDetail.BadStatus;
  noteGrpcAnswer(head);
  return HeadDetail.None;
}

const trailerSection = new TrailerSection();

/** The trailers of a message, each with CR LF before it, without those that may not be trailers; null: they are malformed. */
export function readTrailers(raw: readonly string[]): string | null {
  begin();
  for (let index = 0; index + 1 < raw.length; index += 2) {
    if (takeField(raw[index] ?? '', raw[index + 1] ?? '') !== HeadDetail.None) return null;
  }
  return trailerSection.read(lines) === HeadDetail.None ? trailerSection.fields : null;
}

function begin(): void {
  lines = '';
  fieldSeen = false;
  cookie = '';
  host = null;
  hasContentLength = false;
  contentType = '';
  grpcTimeout = '';
  grpcPreviousAttempts = '';
  grpcStatus = null;
  pushback = null;
}

/** What is nothing to HTTP, and taken out of the fields where a call of gRPC has it. */
function noteGrpc(head: RequestHead): void {
  if (isGrpcType(contentType)) {
    head.grpc = true;
    head.grpcTimeout = grpcTimeout;
    if (/^\d{1,6}$/.test(grpcPreviousAttempts)) head.grpcPreviousAttempts = Number(grpcPreviousAttempts);
    return;
  }
  if (grpcTimeout !== '') lines += `\r\ngrpc-timeout: ${grpcTimeout}`;
  if (grpcPreviousAttempts !== '') lines += `\r\ngrpc-previous-rpc-attempts: ${grpcPreviousAttempts}`;
}

function noteGrpcAnswer(head: ResponseHead): void {
  const grpc = head.status === 200 && isGrpcType(contentType);
  head.wireStatus = head.status;
  head.grpcStatus = grpc && grpcStatus !== null ? parseGrpcStatus(grpcStatus) : -1;
  head.grpcStream = grpc && grpcStatus === null;
  head.pushbackMs = -1;
  if (head.grpcStatus >= 0) head.status = httpStatusOf(head.grpcStatus);
  if (pushback === null) return;
  head.pushbackMs = parsePushbackMs(pushback);
  head.refusesRetry ||= head.pushbackMs < 0;
}

function takeField(name: string, value: string): number {
  if (name.includes(':')) return HeadDetail.FieldNameCharacter;
  if (name !== name.toLowerCase()) return HeadDetail.FieldNameCase;
  if (value.includes('\r') || value.includes('\n')) return HeadDetail.ValueCharacter;
  fieldSeen = true;
  switch (name) {
    case 'connection':
    case 'keep-alive':
    case 'proxy-connection':
    case 'transfer-encoding':
    case 'upgrade':
    case 'http2-settings':
      return HeadDetail.ConnectionField;
    case 'te':
      if (value.toLowerCase() !== 'trailers') return HeadDetail.ConnectionField;
      break;
    case 'host':
      if (host !== null) return HeadDetail.TwoHosts;
      host = value;
      return HeadDetail.None;
    case 'cookie':
      // Parted for compression only (RFC 9113, 8.2.3).
      cookie = cookie === '' ? value : `${cookie}; ${value}`;
      return HeadDetail.None;
    case 'content-length':
      hasContentLength = true;
      break;
    case 'content-type':
      contentType = value;
      break;
    case 'grpc-timeout':
      grpcTimeout = value;
      return HeadDetail.None;
    case 'grpc-previous-rpc-attempts':
      grpcPreviousAttempts = value;
      return HeadDetail.None;
    case 'grpc-status':
      grpcStatus ??= value;
      break;
    case 'grpc-retry-pushback-ms':
      pushback ??= value;
      break;
    default:
      break;
  }
  lines += `\r\n${name}: ${value}`;
  return HeadDetail.None;
}
