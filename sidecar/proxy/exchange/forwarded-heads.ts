// The heads and trailers that go on to the other side: what belongs to a connection is written anew for that connection, all else stands as
// it came.
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import type { OutgoingRequest } from './current-request.ts';

/** How the application finds the end of a body. UntilClose: by the end of its connection, for HTTP/1.0 has no chunks. */
export const Framing = { None: 0, Length: 1, Chunked: 2, UntilClose: 3 } as const;

/** Whether a response has no body, whatever its head says. */
function isBodyless(head: ResponseHead, request: RequestHead): boolean {
  return request.method === 'HEAD' || head.status === 204 || head.status === 304;
}

/** Attempts are told by their number; by a table, since the numbers are few. */
const ATTEMPT_LINES = Array.from({ length: 16 }, (_, attempt) =>
  attempt === 0 ? '' : `\r\nX-Breakwater-Attempt: ${attempt}`,
);

export function requestText(request: OutgoingRequest): string {
  const { head } = request;
  let text = `${head.method} ${head.target} HTTP/1.1\r\nHost: ${request.host}${request.fields}`;
  if (head.correlationId === '') text += `\r\nX-Correlation-ID: ${request.correlationId}`;
  if (request.attempt > 0) text += ATTEMPT_LINES[request.attempt];
  if (request.deadline !== '') text += `\r\nX-Breakwater-Deadline: ${request.deadline}`;
  if (head.chunked) text += '\r\nTransfer-Encoding: chunked';
  else if (head.contentLength >= 0) text += `\r\nContent-Length: ${head.contentLength}`;
  if (head.upgrade !== '')
    text += `\r\nConnection: ${head.acceptsTrailers ? 'Upgrade, TE' : 'Upgrade'}\r\nUpgrade: ${head.upgrade}`;
  else if (head.acceptsTrailers) text += '\r\nConnection: TE';
  if (head.acceptsTrailers) text += '\r\nTE: trailers';
  return `${text}\r\n\r\n`;
}

/** A `Framing`, of the body that really follows. */
export function responseFraming(head: ResponseHead, request: RequestHead): number {
  if (isBodyless(head, request)) return Framing.None;
  if (head.contentLength >= 0) return Framing.Length;
  return request.minorVersion === 0 ? Framing.UntilClose : Framing.Chunked;
}

/** `marks`: field lines of ours, each with CR LF before it. */
export function responseText(head: ResponseHead, request: RequestHead, keepAlive: boolean, marks: string): string {
  let text = `HTTP/1.1 ${head.status} ${head.reason}${head.fields}${marks}`;
  if (head.contentLength >= 0) text += `\r\nContent-Length: ${head.contentLength}`;
  else if (request.minorVersion === 1 && (head.chunked || !isBodyless(head, request)))
    text += '\r\nTransfer-Encoding: chunked';
  if (head.upgrade !== '') text += `\r\nUpgrade: ${head.upgrade}`;
  if (!keepAlive) text += head.upgrade === '' ? '\r\nConnection: close' : '\r\nConnection: close, upgrade';
  else if (request.minorVersion === 0) text += '\r\nConnection: keep-alive';
  else if (head.upgrade !== '') text += '\r\nConnection: upgrade';
  return `${text}\r\n\r\n`;
}

/** The end of a chunked body. `trailers` has CR LF before each line. */
export function lastChunk(trailers: string): string {
  return trailers === '' ? '0\r\n\r\n' : `0\r\n${trailers.slice(2)}\r\n\r\n`;
}

/** A Host that an application writes when all it knows is a local port: an IP address or localhost. */
export function namesNoService(host: string): boolean {
  const first = host.charCodeAt(0);
  if (first === 0x5b) return true;
  const colon = host.lastIndexOf(':');
  const name = colon < 0 ? host : host.slice(0, colon);
  if (name.length === 9 && name.toLowerCase() === 'localhost') return true;
  if (first < 0x30 || first > 0x39) return host === '';
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code !== 0x2e && (code < 0x30 || code > 0x39)) return false;
  }
  return true;
}
