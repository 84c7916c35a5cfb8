// Trailer sections: which of their fields may go on, and which may not. Trailers are forwarded as trailers and never merged into a head.
import { HeadDetail } from './errors.ts';
import { FieldCursor } from './fields.ts';

const cursor = new FieldCursor();

// RFC 9110, 6.5.1: framing, routing, request modifiers, authentication, response control and how content is read.
const FORBIDDEN: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'authentication-info',
  'cache-control',
  'connection',
  'cookie',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'http2-settings',
  'idempotency-key',
  'keep-alive',
  'location',
  'max-forwards',
  'pragma',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'retry-after',
  'set-cookie',
  'te',
  'trailer',
  'upgrade',
  'vary',
  'via',
  'www-authenticate',
  'x-correlation-id',
]);
/** Refused and not only dropped: another reader may take the content for one of another length. */
const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding']);
const FORBIDDEN_PREFIXES = ['breakwater-', 'content-', 'if-', 'x-breakwater-', 'x-forwarded-'];

export class TrailerSection {
  /** The lines that may be forwarded, of the last `read` that returned 0: like `fields` of a head. */
  fields = '';

  /** Reads a section, each line with CR LF before it. Returns 0, or a detail. */
  read(section: string): number {
    this.fields = '';
    let kept = '';
    cursor.open(section, 0);
    while (cursor.next()) {
      // Some servers make variables of names, and then "_" is as good as "-".
      const name = section.slice(cursor.nameStart, cursor.nameEnd).toLowerCase().replaceAll('_', '-');
      if (FRAMING.has(name)) {
        cursor.close();
        return HeadDetail.FramingTrailer;
      }
      if (!isForbidden(name)) kept += section.slice(cursor.lineStart, cursor.lineEnd);
    }
    cursor.close();
    if (cursor.detail === HeadDetail.None) this.fields = kept;
    return cursor.detail;
  }
}

/** Whether a field (lower-case name) may not be sent as a trailer. */
function isForbidden(name: string): boolean {
  return FORBIDDEN.has(name) || FORBIDDEN_PREFIXES.some((prefix) => name.startsWith(prefix));
}
