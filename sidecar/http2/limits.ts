// Bounds of what one HTTP/2 connection may make us hold or do, on either side: the peer of each is another program than this one.
import { MAX_FIELDS, MAX_HEAD_BYTES } from '../http1/limits.ts';

/**
 * Streams of one connection of an application at a time; what comes beyond them is refused, and its caller knows that it was not executed.
 * Clients of gRPC put all their calls on one connection, streams that last for days among them, and wait in silence at the limit.
 */
export const MAX_CONCURRENT_STREAMS = 1_024;
/** Bytes that may be on their way in one stream of an application, which is on the same machine. */
export const CLIENT_WINDOW_BYTES = 65_535;
/** The same of a dependency, which is somewhere in the cluster. */
export const UPSTREAM_WINDOW_BYTES = 262_144;
/** All streams of a connection together. */
export const CONNECTION_WINDOW_BYTES = 1_048_576;
/** Content that came and waits for its readers, of all streams of a connection: the peer may send on in none of them where it is more. */
export const MAX_KEPT_BYTES = 16_777_216;
/** Content that waits for a peer which does not take it, of all streams of a connection: it may begin no other where it is more. */
export const MAX_WAITING_BYTES = 16_777_216;

/**
 * What is beyond our bounds of a head gets an answer that says so, what is far beyond them is not looked at: the stream is reset. The size is that
 * of RFC 9113, 6.5.2: with 32 bytes for each field.
 */
export const MAX_FIELD_SECTION_BYTES = 2 * (MAX_HEAD_BYTES + 32 * MAX_FIELDS);
export const MAX_FIELDS_OF_SECTION = 2 * MAX_FIELDS;
/** Of one field section, behind its HEADERS; a flood of them is CVE-2024-27316. */
export const MAX_CONTINUATION_FRAMES = 8;

/** Malformed requests and frames that mean nothing where they come, each of which costs us a reset (CVE-2025-8671), in the life of a connection. */
export const MAX_INVALID_FRAMES = 100;
/** Streams beyond those that it may have, in the life of a connection. */
export const MAX_REFUSED_STREAMS = 1_000;
/** Rapid reset (CVE-2023-44487): so many at once, and so many a second. Callers that hedge cancel a call in two. */
export const STREAM_RESETS = { requestsPerSecond: 500, burst: 2_000 } as const;

/**
 * PING, SETTINGS and other frames that a peer may send and that bring nobody anything (CVE-2019-9512, CVE-2019-9515, CVE-2019-9518): so many at
 * once, and so many a second. Whatever moves on the connection brings one back, since gRPC asks by PING how fast its data arrive.
 */
export const CONTROL_FRAMES = { requestsPerSecond: 10, burst: 1_000 } as const;
