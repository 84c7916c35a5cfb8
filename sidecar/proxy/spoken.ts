// What the connections of a dependency turned out to speak, where the plan does not say it. People are told where it is not HTTP, for then only
// policies of connections can act; and what the last connection spoke says what the next one will most likely speak.
import { startsLikeTls } from './client-hello.ts';

/** Tls: it began with a handshake. ServerFirst: the server spoke before the application. Opaque: anything else that is no HTTP. */
export type OpaqueProtocol = 'Tls' | 'ServerFirst' | 'Opaque';

export class Spoken {
  /** What the last connection spoke that was no HTTP; null: none ever did. */
  opaque: OpaqueProtocol | null = null;
  /** Some connection spoke HTTP. */
  http = false;
  #lastWasOpaque = false;

  /** The next connection is most likely none of HTTP either, so that its server need not wait to be dialled. */
  get expectsOpaque(): boolean {
    return this.#lastWasOpaque;
  }

  noteHttp(): void {
    this.http = true;
    this.#lastWasOpaque = false;
  }

  /** `first`: what the application sent; null: nothing, the server spoke first. */
  noteOpaque(first: Buffer | null): void {
    this.opaque = first === null ? 'ServerFirst' : startsLikeTls(first) ? 'Tls' : 'Opaque';
    this.#lastWasOpaque = true;
  }

  /** The plan names another destination: nothing is known of it. */
  forget(): void {
    this.opaque = null;
    this.http = false;
    this.#lastWasOpaque = false;
  }
}
