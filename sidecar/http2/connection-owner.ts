// Whose a connection of HTTP/2 is, and what that is told.
import type { Http2Stream } from './stream.ts';

export interface ConnectionOwner {
  /** Of a server: the peer has begun a stream with this field section, and sends nothing more where it `ended`. */
  streamBegan(stream: Http2Stream, fields: readonly string[], ended: boolean): void;
  /** A stream is over, or all that is left of it is its reader's. */
  streamOver(): void;
  /** Each time that the peer says how many streams it takes. */
  settingsCame(maxConcurrentStreams: number): void;
  goAwayCame(lastStream: number): void;
  pongCame(): void;
  /** A frame came that brings nobody anything, and may cost us an answer. False: there were too many. */
  takesControlFrame(): boolean;
  /** Of a server: the peer has reset a stream. False: it does so too often. */
  takesReset(): boolean;
  /** The connection is over by an error, of the peer or of ours: what is written is still to leave. Its streams were told. */
  failed(code: number): void;
}
