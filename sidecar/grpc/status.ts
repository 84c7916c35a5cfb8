// Status codes of gRPC, as what they are worth to policies: each is taken for a status of HTTP, so that there is one vocabulary of failures.
//
// Sources: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md, and for the equivalents google/rpc/code.proto and Envoy's
// Grpc::Utility::grpcToHttpStatus. Where those say 501 for UNIMPLEMENTED, this says 404: nobody's failure but the caller's, as in Linkerd. The way back is
// https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md.
import type { GrpcStatusCode } from '../../plan/policies/values.ts';

export const GrpcStatus = {
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const satisfies Record<GrpcStatusCode, number>;

/** By code; 0 is OK. */
const HTTP_STATUSES = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 404, 500, 503, 500, 401];
const GRPC_STATUSES: Readonly<Record<number, number>> = {
  400: GrpcStatus.Internal,
  401: GrpcStatus.Unauthenticated,
  403: GrpcStatus.PermissionDenied,
  404: GrpcStatus.Unimplemented,
  429: GrpcStatus.Unavailable,
  502: GrpcStatus.Unavailable,
  503: GrpcStatus.Unavailable,
  504: GrpcStatus.Unavailable,
};

/** The status of HTTP that means the same; a code that nobody knows is UNKNOWN. */
export function httpStatusOf(code: number): number {
  return HTTP_STATUSES[code] ?? 500;
}

/** What a client of gRPC makes of an answer that has no status of gRPC. */
export function grpcStatusOf(httpStatus: number): number {
  return GRPC_STATUSES[httpStatus] ?? GrpcStatus.Unknown;
}

/** The code that a `grpc-status` says; UNKNOWN where it says none that can be read. */
export function parseGrpcStatus(text: string): number {
  return /^\d{1,3}$/.test(text) ? Number(text) : GrpcStatus.Unknown;
}

/** Marks codes by their number; null: there are none. */
export function grpcStatusTable(codes: readonly GrpcStatusCode[]): Uint8Array | null {
  if (codes.length === 0) return null;
  const table = new Uint8Array(256);
  for (const code of codes) table[GrpcStatus[code]] = 1;
  return table;
}

/** Whether a code is one of these. */
export function isAmong(code: number, codes: readonly GrpcStatusCode[]): boolean {
  return codes.some((name) => GrpcStatus[name] === code);
}

/** `grpc-message` of a text (PROTOCOL-HTTP2.md, "Percent-Encoded"). */
export function grpcMessage(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** A media type of gRPC; gRPC-Web, which has its status in the content, is none. */
export function isGrpcType(contentType: string): boolean {
  return /^application\/grpc(?:$|[+;\s])/i.test(contentType);
}

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 };

/** Milliseconds of a `grpc-timeout`; NaN: it says none. */
export function parseGrpcTimeout(text: string): number {
  if (!/^\d{1,8}[HMSmun]$/.test(text)) return Number.NaN;
  return Number.parseInt(text, 10) * (UNIT_MS[text.slice(-1)] ?? Number.NaN);
}

/** A `grpc-timeout` of no more than `ms` milliseconds, as exact as eight digits can be. */
export function grpcTimeoutText(ms: number): string {
  const atLeastMs = Math.max(0, ms);
  if (atLeastMs < 99_999) return `${Math.floor(atLeastMs * 1_000)}u`;
  if (atLeastMs < 99_999_999) return `${Math.floor(atLeastMs)}m`;
  return `${Math.min(99_999_999, Math.floor(atLeastMs / 1_000))}S`;
}

/** Milliseconds of a `grpc-retry-pushback-ms` (gRPC A6); -1: do not retry, and so it is where it cannot be read. */
export function parsePushbackMs(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : -1;
}
