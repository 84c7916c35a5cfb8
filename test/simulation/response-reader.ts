// Reads responses as an application's client library does, and apart from the sidecar's own codec.

export interface SeenResponse {
  status: number;
  headers: ReadonlyMap<string, string>;
}

export interface ResponseListener {
  onHead(response: SeenResponse): void;
  onBody(bytes: Buffer): void;
  onEnd(): void;
  /** Bytes that no response may consist of. */
  onNonsense(what: string): void;
}

type State = 'Head' | 'Length' | 'ChunkSize' | 'ChunkData' | 'ChunkEnd' | 'Trailer' | 'UntilClose' | 'Tunnel';

const HEAD_END = Buffer.from('\r\n\r\n');

export class ResponseReader {
  readonly #listener: ResponseListener;
  #pending: Buffer = Buffer.alloc(0);
  #state: State = 'Head';
  #remaining = 0;
  #asked = '';

  constructor(listener: ResponseListener) {
    this.#listener = listener;
  }

  /** A request with this method was sent; its response is the next that is read. */
  expect(method: string): void {
    this.#asked = method;
    this.#state = 'Head';
  }

  push(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#pending, bytes]);
    while (this.#pending.length > 0 && this.#step());
  }

  /** The connection has ended on the side of the sidecar. True: that is where the response ends. */
  end(): boolean {
    if (this.#state !== 'UntilClose') return false;
    this.#finish();
    return true;
  }

  #step(): boolean {
    switch (this.#state) {
      case 'Head':
        return this.#head();
      case 'Length':
      case 'ChunkData':
      case 'UntilClose':
      case 'Tunnel':
        return this.#content();
      case 'ChunkEnd':
        return this.#line((line) => {
          if (line !== '') this.#listener.onNonsense(`"${line}" behind a chunk`);
          this.#state = 'ChunkSize';
        });
      case 'ChunkSize':
        return this.#line((line) => {
          if (!/^[0-9a-fA-F]+$/.test(line)) this.#listener.onNonsense(`"${line}" for the size of a chunk`);
          this.#remaining = Number.parseInt(line, 16);
          this.#state = this.#remaining === 0 ? 'Trailer' : 'ChunkData';
        });
      case 'Trailer':
        break;
    }
    return this.#line((line) => {
      if (line === '') this.#finish();
    });
  }

  #head(): boolean {
    const end = this.#pending.indexOf(HEAD_END);
    if (end < 0) return false;
    const lines = this.#pending.toString('latin1', 0, end).split('\r\n');
    this.#pending = this.#pending.subarray(end + 4);
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(lines[0] ?? '')?.[1] ?? 0);
    if (status === 0) this.#listener.onNonsense(`"${lines[0]}" for a status line`);
    const headers = new Map<string, string>();
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    if (status >= 100 && status < 200 && status !== 101) return true;
    if (this.#asked === '') this.#listener.onNonsense(`a response with status ${status} that nobody asked for`);
    this.#enterBody(status, headers);
    this.#listener.onHead({ status, headers });
    if (this.#state === 'Length' && this.#remaining === 0) this.#finish();
    return true;
  }

  #enterBody(status: number, headers: ReadonlyMap<string, string>): void {
    const length = headers.get('content-length');
    if (status === 101) this.#state = 'Tunnel';
    else if (this.#asked === 'HEAD' || status === 204 || status === 304) {
      this.#state = 'Length';
      this.#remaining = 0;
    } else if (headers.get('transfer-encoding') === 'chunked') this.#state = 'ChunkSize';
    else if (length === undefined) this.#state = 'UntilClose';
    else {
      this.#state = 'Length';
      this.#remaining = Number(length);
    }
  }

  #content(): boolean {
    const endless = this.#state === 'UntilClose' || this.#state === 'Tunnel';
    const take = endless ? this.#pending.length : Math.min(this.#remaining, this.#pending.length);
    this.#listener.onBody(this.#pending.subarray(0, take));
    this.#pending = this.#pending.subarray(take);
    if (endless) return true;
    this.#remaining -= take;
    if (this.#remaining > 0) return false;
    if (this.#state === 'ChunkData') this.#state = 'ChunkEnd';
    else this.#finish();
    return true;
  }

  #line(take: (line: string) => void): boolean {
    const end = this.#pending.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#pending.toString('latin1', 0, end);
    this.#pending = this.#pending.subarray(end + 2);
    take(line);
    return true;
  }

  #finish(): void {
    this.#asked = '';
    this.#state = 'Head';
    this.#listener.onEnd();
  }
}
