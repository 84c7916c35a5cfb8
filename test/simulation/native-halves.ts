// Sessions and streams of node:http2 have a native half each, and Node ends the process where that of a session is collected before that of a
// stream which still holds fields (~Http2Session asserts that nothing of nghttp2's memory is left). A stream holds them where a field section
// came in part, or was refused; and its native half waits for the collector where it was ended while a write of it was outstanding. So a peer
// that takes no more, sends half of a field section and is gone could end the sidecar, from either side.
//
// Both halves are let go of when the connection ends, and are collected in any order. Here the session's is held until the stream's is gone. It may not be
// held by anything that the session itself leads to: that of which SETTINGS were not acknowledged holds the session, as if it were in use. The
// halves are no public API: where they are not as expected, nothing is held.

export interface WithHalves {
  /** Of the stream; null: not known, or let go of. */
  ownHalf: object | null;
  /** Of its session. */
  sessionHalf: object | null;
}

/** Holds what it was given until that of which it was given is collected; there is nothing to be done then. */
const held = new FinalizationRegistry<object>(() => {});

/** Under what node:http2 keeps a native half; undefined: not found yet. */
let key: symbol | undefined;

/** Of a session or a stream that is in use; null: it has none, or none is known of in this Node. */
export function nativeHalf(of: object): object | null {
  key ??= Object.getOwnPropertySymbols(of).find(({ description }) => description === 'kHandle');
  const half = key === undefined ? undefined : (of as Record<symbol, unknown>)[key];
  return typeof half === 'object' ? half : null;
}

/** To be called when a stream is over. What it has written to its end is outstanding no more: its half goes at once. */
export function holdSessionBehind(stream: WithHalves & { readonly writableFinished: boolean }): void {
  const { ownHalf, sessionHalf } = stream;
  stream.ownHalf = null;
  stream.sessionHalf = null;
  if (ownHalf !== null && sessionHalf !== null && !stream.writableFinished) held.register(ownHalf, sessionHalf);
}
