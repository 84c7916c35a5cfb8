/** How the bytes of one direction travel. */
export interface Wire {
  /** Time until a segment arrives, milliseconds. */
  latencyMs(): number;
  /** How many of `bytes` the next segment carries: at least one. */
  segment(bytes: number): number;
  /** Changes what was sent, in place; false: it stays as it is. */
  corrupt: ((bytes: Buffer) => boolean) | null;
  /** After so many bytes the connection is reset, for both. */
  resetAfterBytes: number;
  /** After so many bytes nothing arrives any more, and nobody says so. */
  silentAfterBytes: number;
}
