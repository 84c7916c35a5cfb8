// What the connections of a dependency turned out to speak, where the plan does not say it. People are told where it is not HTTP, for then only
// policies of connections can act; and what the last connection spoke says what the next one will most likely speak.
import type { OpaqueProtocol } from '../../../plan/wire.ts';
import { startsLikeTls } from '../intake/client-hello.ts';

export class Spoken {
  /** What they spoke that was no HTTP, Opaque where they differ; null: nothing. */
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

  /** `first`: what the application sent before anybody else did; null: nothing, the server spoke first. */
  noteOpaque(first: Buffer | null): void {
    const protocol = first === null ? 'ServerFirst' : startsLikeTls(first) ? 'Tls' : 'Opaque';
    // Once it is mixed it stays so: what is told of it does not go to and fro.
    this.opaque = this.opaque === null || this.opaque === protocol ? protocol : 'Opaque';
    this.#lastWasOpaque = true;
  }

  /** The plan names another destination: nothing is known of it. */
  forget(): void {
    this.opaque = null;
    this.http = false;
    this.#lastWasOpaque = false;
  }
}
