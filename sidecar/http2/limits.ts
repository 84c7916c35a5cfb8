// Bounds of what one HTTP/2 connection may make us hold or do, on either side: the peer of each is another program than this one.
import type { Settings } from 'node:http2';
import { MAX_FIELDS, MAX_HEAD_BYTES } from '../http1/limits.ts';

/**
 * Streams of one connection of an application at a time; what comes beyond them is refused, and its caller knows that it was not executed.
 * Clients of gRPC put all their calls on one connection, streams that last for days among them, and wait in silence at the limit.
 */
export const MAX_CONCURRENT_STREAMS = 1_024;
/** Bytes that may be on their way in one stream of an application, which is on the same machine. */
const CLIENT_WINDOW_BYTES = 65_535;
/** The same of a dependency, which is somewhere in the cluster. */
const UPSTREAM_WINDOW_BYTES = 262_144;
/** All streams of a connection together. */
export const CONNECTION_WINDOW_BYTES = 1_048_576;

/**
 * What is beyond our bounds of a head gets an answer that says so, what is far beyond them is not read: the stream is reset. The size is that
 * of RFC 9113, 6.5.2: with 32 bytes for each field.
 */
const HEADER_LIST_BYTES = 2 * (MAX_HEAD_BYTES + 32 * MAX_FIELDS);

/** What both sides of the proxy hold their peers to. Whoever is beyond it loses the connection (GOAWAY). */
const GUARDS = {
  maxHeaderListPairs: 2 * MAX_FIELDS,
  // Frames that mean nothing where they come, and streams that were refused.
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 1_000,
  maxSettings: 32,
  maxOutstandingPings: 4,
  // Rapid reset (CVE-2023-44487): so many at once, and so many a second. Callers that hedge cancel a call in two.
  streamResetBurst: 2_000,
  streamResetRate: 500,
  // Megabytes.
  maxSessionMemory: 16,
  strictSingleValueFields: false,
} as const;

/**
 * PING and SETTINGS that a peer may send, for each of which an answer is due (CVE-2019-9512, CVE-2019-9515): so many at once, and so many
 * a second. Whatever moves on the connection brings one back, since gRPC asks by PING how fast its data arrive. Of a dependency GOAWAY,
 * ALTSVC and ORIGIN are among them: nothing is due for these, but Node makes events of them.
 */
export const CONTROL_FRAMES = { requestsPerSecond: 10, burst: 1_000 } as const;

const SHARED_SETTINGS: Settings = {
  enablePush: false,
  maxHeaderListSize: HEADER_LIST_BYTES,
};

export const CLIENT_OPTIONS = {
  ...GUARDS,
  settings: {
    ...SHARED_SETTINGS,
    initialWindowSize: CLIENT_WINDOW_BYTES,
    maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
  },
} as const;

export const UPSTREAM_OPTIONS = {
  ...GUARDS,
  settings: { ...SHARED_SETTINGS, initialWindowSize: UPSTREAM_WINDOW_BYTES },
} as const;
