// node:http2, loaded by the first connection that speaks it: 5 MB of memory beside every application, most of which speak HTTP/1.1 alone.
import type * as Http2 from 'node:http2';

export function nodeHttp2(): typeof Http2 {
  return process.getBuiltinModule('node:http2');
}

// Error codes of RFC 9113, 7.
export const NO_ERROR = 0x0;
export const INTERNAL_ERROR = 0x2;
export const REFUSED_STREAM = 0x7;
export const CANCEL = 0x8;
export const ENHANCE_YOUR_CALM = 0xb;
