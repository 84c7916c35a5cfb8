// The bytes that the application sends over HTTP/1.1, as requests: where each head ends, and where the body that it frames does. What comes of
// it, and when there is more to read, is its connection's. One object per client connection.
import { ChunkedDecoder, ChunkedEvent } from '../../http1/chunked.ts';
import { MAX_HEAD_BYTES } from '../../http1/limits.ts';
import { parseRequestHead, RequestHead, unfinishedRequestHeadDetail } from '../../http1/request-head.ts';
import { hopelessHead } from '../intake/first-bytes.ts';

const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');

/** Whoever takes the bodies. */
export interface BodyReceiver {
  /** Bytes that are gone after the call. */
  requestData(buffer: Buffer, start: number, end: number): void;
}

export class RequestReader {
  readonly head = new RequestHead();
  /** Why what was read last is no request (a `HeadDetail`); 0: it is one, or may still be. */
  detail = 0;
  /** All of the request was read. */
  complete = true;
  /** Bytes of a body of known length that are still to come. */
  #remaining = 0;
  #decoder: ChunkedDecoder | null = null;
  #emptyLineSkipped = false;

  /** Another request begins. */
  begin(): void {
    this.#emptyLineSkipped = false;
  }

  /** At most one empty line before a request is read over (RFC 9112, 2.2). Position after it; -1: its end is to come. */
  skipEmptyLine(data: Buffer, start: number, end: number): number {
    if (this.#emptyLineSkipped || data[start] !== 0x0d) return start;
    if (start + 1 >= end) return -1;
    if (data[start + 1] !== 0x0a) return start;
    this.#emptyLineSkipped = true;
    return start + 2;
  }

  /** Position after the head; -1: it is not complete, or refused where `detail` says why. */
  readHead(data: Buffer, start: number, end: number): number {
    const headEnd = data.indexOf(HEAD_END, start);
    if (headEnd < 0 || headEnd + 4 > end || headEnd + 4 - start > MAX_HEAD_BYTES) {
      this.detail =
        end - start > MAX_HEAD_BYTES
          ? unfinishedRequestHeadDetail(data.latin1Slice(start, start + MAX_HEAD_BYTES))
          : hopelessHead(data, start, end, this.head);
      return -1;
    }
    this.detail = parseRequestHead(data.latin1Slice(start, headEnd), this.head);
    if (this.detail !== 0) return -1;
    this.#frameBody();
    return headEnd + 4;
  }

  #frameBody(): void {
    const { chunked, contentLength } = this.head;
    this.complete = !chunked && contentLength <= 0;
    this.#remaining = 0;
    if (chunked) {
      this.#decoder ??= new ChunkedDecoder();
      this.#decoder.reset();
    } else if (contentLength > 0) {
      this.#remaining = contentLength;
    }
  }

  /** Hands on what is there of the body. Position after it; -1: it is refused, `detail` says why. */
  readBody(data: Buffer, start: number, end: number, receiver: BodyReceiver): number {
    if (this.head.chunked) return this.#readChunks(data, start, end, receiver);
    const take = Math.min(this.#remaining, end - start);
    receiver.requestData(data, start, start + take);
    this.#remaining -= take;
    this.complete = this.#remaining === 0;
    return start + take;
  }

  #readChunks(data: Buffer, start: number, end: number, receiver: BodyReceiver): number {
    const decoder = this.#decoder;
    if (!decoder) return -1;
    decoder.input(data, start, end);
    for (;;) {
      const event = decoder.next();
      if (event === ChunkedEvent.Data) {
        receiver.requestData(data, decoder.dataStart, decoder.dataEnd);
        continue;
      }
      if (event === ChunkedEvent.NeedMore) return end;
      if (event === ChunkedEvent.End) {
        this.complete = true;
        return decoder.position;
      }
      this.detail = decoder.detail;
      return -1;
    }
  }

  /** Of a complete request: what follows its chunks, with CR LF before each line. */
  get trailers(): string {
    return this.head.chunked && this.#decoder !== null ? this.#decoder.trailers : '';
  }

  /** Of a body of known length more than so many bytes are still to come. */
  needsMoreThan(bytes: number): boolean {
    return !this.head.chunked && bytes < this.#remaining;
  }
}
