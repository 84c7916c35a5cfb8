// For tests: one side of a connection of HTTP/2 without a socket, with all that it was told and all that it has written.
import { Http2Connection } from '../connection.ts';
import type { ConnectionOwner } from '../connection-owner.ts';
import type { Output } from '../frame-writer.ts';
import type { Http2Stream, StreamOwner } from '../stream.ts';

/** Whoever owns a stream, and what that was told. */
export class Recorder implements StreamOwner {
  readonly sections: { fields: readonly string[]; ended: boolean }[] = [];
  content = '';
  ends = 0;
  drains = 0;
  readonly resets: number[] = [];

  fieldsCame(fields: readonly string[], ended: boolean): void {
    this.sections.push({ fields, ended });
    if (ended) this.ends++;
  }

  dataCame(buffer: Buffer, start: number, end: number): void {
    this.content += buffer.latin1Slice(start, end);
  }

  endCame(): void {
    this.ends++;
  }

  drained(): void {
    this.drains++;
  }

  resetCame(code: number): void {
    this.resets.push(code);
  }
}

export class OneSide implements Output, ConnectionOwner {
  readonly connection: Http2Connection;
  /** What it wrote and nobody has taken yet. */
  written = '';
  blocked = false;
  readonly began: { stream: Http2Stream; fields: readonly string[]; ended: boolean; owner: Recorder }[] = [];
  over = 0;
  readonly goAways: number[] = [];
  readonly limits: number[] = [];
  pongs = 0;
  readonly failures: number[] = [];
  controlFrames = Number.POSITIVE_INFINITY;
  resetsTaken = Number.POSITIVE_INFINITY;
  /** Called for a stream that the peer began, in place of the recorder alone. */
  onStream: (stream: Http2Stream, fields: readonly string[], ended: boolean) => void = () => {};

  constructor(isServer: boolean, streamWindow = 65_535) {
    this.connection = new Http2Connection(isServer, streamWindow, this, this);
  }

  /** All that it has to say. */
  take(): Buffer {
    this.connection.writer.finishWriting();
    const bytes = Buffer.from(this.written, 'latin1');
    this.written = '';
    return bytes;
  }

  receive(...parts: Buffer[]): void {
    for (const part of parts) this.connection.receive(part, 0, part.length);
  }

  text(text: string): void {
    this.written += text;
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    this.written += buffer.latin1Slice(start, end);
  }

  wrote(): void {}

  streamBegan(stream: Http2Stream, fields: readonly string[], ended: boolean): void {
    const owner = new Recorder();
    stream.owner = owner;
    this.began.push({ stream, fields, ended, owner });
    this.onStream(stream, fields, ended);
  }

  streamOver(): void {
    this.over++;
  }

  settingsCame(maxConcurrentStreams: number): void {
    this.limits.push(maxConcurrentStreams);
  }

  goAwayCame(lastStream: number): void {
    this.goAways.push(lastStream);
  }

  pongCame(): void {
    this.pongs++;
  }

  takesControlFrame(): boolean {
    return this.controlFrames-- > 0;
  }

  takesReset(): boolean {
    return this.resetsTaken-- > 0;
  }

  failed(code: number): void {
    this.failures.push(code);
  }
}

/** Both sides, with the SETTINGS of both said and acknowledged. */
export function connected(): { client: OneSide; server: OneSide; pass: () => void } {
  const client = new OneSide(false);
  const server = new OneSide(true);
  const pass = () => passAll(client, server);
  pass();
  return { client, server, pass };
}

/** Until neither has anything to say. */
export function passAll(client: OneSide, server: OneSide): void {
  for (;;) {
    const [toServer, toClient] = [client.take(), server.take()];
    if (toServer.length === 0 && toClient.length === 0) return;
    server.receive(toServer);
    client.receive(toClient);
  }
}
