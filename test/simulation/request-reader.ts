// Reads requests off the wire as a simple server does, and apart from the sidecar's own codec: what two readers see must agree.

export interface SeenRequest {
  method: string;
  path: string;
  headers: ReadonlyMap<string, string>;
}

type State = 'Head' | 'Length' | 'ChunkSize' | 'ChunkData' | 'ChunkEnd' | 'Trailer' | 'Broken';

const HEAD_END = Buffer.from('\r\n\r\n');
/** Fields that no request may have twice. */
const DECISIVE: ReadonlySet<string> = new Set(['content-length', 'host', 'transfer-encoding']);

export class RequestReader {
  readonly #onHead: (request: SeenRequest) => void;
  readonly #onBody: (bytes: Buffer) => void;
  readonly #onEnd: () => void;
  #pending: Buffer = Buffer.alloc(0);
  #state: State = 'Head';
  #remaining = 0;

  constructor(onHead: (request: SeenRequest) => void, onBody: (bytes: Buffer) => void, onEnd: () => void) {
    this.#onHead = onHead;
    this.#onBody = onBody;
    this.#onEnd = onEnd;
  }

  /** Nothing of a further request has come. */
  get between(): boolean {
    return this.#state === 'Head' && this.#pending.length === 0;
  }

  /** False: what came is no request. */
  push(bytes: Buffer): boolean {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    while (this.#step());
    return this.#state !== 'Broken';
  }

  #step(): boolean {
    switch (this.#state) {
      case 'Head':
        return this.#head();
      case 'Length':
        return this.#content('Head');
      case 'ChunkData':
        return this.#content('ChunkEnd');
      case 'ChunkEnd':
        return this.#chunkEnd();
      case 'ChunkSize':
        return this.#chunkSize();
      case 'Trailer':
        return this.#trailer();
      case 'Broken':
        break;
    }
    return false;
  }

  #head(): boolean {
    const end = this.#pending.indexOf(HEAD_END);
    if (end < 0) return false;
    const lines = this.#pending.toString('latin1', 0, end).split('\r\n');
    this.#pending = this.#pending.subarray(end + 4);
    const [, method, path] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) HTTP\/1\.1$/.exec(lines[0] ?? '') ?? [];
    if (method === undefined || path === undefined) {
      this.#state = 'Broken';
      return false;
    }
    const headers = new Map<string, string>();
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      if (DECISIVE.has(name) && headers.has(name)) {
        this.#state = 'Broken';
        return false;
      }
      headers.set(name, line.slice(colon + 1).trim());
    }
    const length = Number(headers.get('content-length') ?? 0);
    const chunked = headers.get('transfer-encoding') === 'chunked';
    this.#state = chunked ? 'ChunkSize' : 'Length';
    this.#remaining = length;
    this.#onHead({ method, path, headers });
    if (!chunked && length === 0) this.#finish();
    return true;
  }

  #content(next: 'Head' | 'ChunkEnd'): boolean {
    if (this.#pending.length === 0 && this.#remaining > 0) return false;
    const take = Math.min(this.#remaining, this.#pending.length);
    if (take > 0) this.#onBody(this.#pending.subarray(0, take));
    this.#pending = this.#pending.subarray(take);
    this.#remaining -= take;
    if (this.#remaining > 0) return false;
    if (next === 'Head') this.#finish();
    else this.#state = 'ChunkEnd';
    return true;
  }

  #chunkEnd(): boolean {
    if (this.#pending.length < 2) return false;
    this.#state = this.#pending.toString('latin1', 0, 2) === '\r\n' ? 'ChunkSize' : 'Broken';
    this.#pending = this.#pending.subarray(2);
    return true;
  }

  #chunkSize(): boolean {
    const end = this.#pending.indexOf('\r\n');
    if (end < 0) return false;
    const digits = this.#pending.toString('latin1', 0, end);
    const size = Number.parseInt(digits, 16);
    this.#pending = this.#pending.subarray(end + 2);
    if (!/^[0-9a-f]+$/.test(digits)) this.#state = 'Broken';
    else if (size === 0) this.#state = 'Trailer';
    else {
      this.#state = 'ChunkData';
      this.#remaining = size;
    }
    return true;
  }

  #trailer(): boolean {
    const end = this.#pending.indexOf('\r\n');
    if (end < 0) return false;
    this.#pending = this.#pending.subarray(end + 2);
    if (end === 0) this.#finish();
    return true;
  }

  #finish(): void {
    this.#state = 'Head';
    this.#onEnd();
  }
}
