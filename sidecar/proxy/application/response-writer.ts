// Writes answers to the application in HTTP/1.1: heads, the framing of bodies, and whether the connection goes on behind them.
import type { LocalAnswer } from '../../errors.ts';
import { encodeChunkHead } from '../../http1/chunked.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { Framing, lastChunk, responseFraming, responseText } from '../exchange/forwarded-heads.ts';
import { type GivenAnswer, givenHead } from '../exchange/given-answer.ts';
import { type AnswerContext, renderLocalAnswer } from '../exchange/local-answer.ts';
import type { Outbox } from '../sockets/outbox.ts';

export class ResponseWriter {
  readonly out: Outbox;
  /** The connection serves another request behind the present answer. */
  keepAlive = true;
  /** The end of the connection is the end of the present answer's body: an end before it must look different. */
  endsBody = false;
  #chunkOut = false;
  /** Of the outbox, when the present answer began. */
  #writesBefore = 0;

  constructor(out: Outbox) {
    this.out = out;
  }

  informational(head: ResponseHead, request: RequestHead): void {
    if (request.minorVersion === 0) return;
    this.out.text(`HTTP/1.1 ${head.status} ${head.reason}${head.fields}\r\n\r\n`);
    this.out.flush();
  }

  begin(head: ResponseHead, request: RequestHead, marks: string): void {
    const framing = responseFraming(head, request);
    if (framing === Framing.UntilClose) {
      this.keepAlive = false;
      this.endsBody = true;
    }
    this.#chunkOut = framing === Framing.Chunked;
    this.#writesBefore = this.out.writes;
    this.out.text(responseText(head, request, this.keepAlive, marks));
  }

  /** True: nothing of the answer was written yet, and it is forgotten. */
  takeBack(): boolean {
    if (this.out.writes !== this.#writesBefore) return false;
    this.out.discard();
    this.endsBody = false;
    return true;
  }

  data(buffer: Buffer, start: number, end: number): void {
    if (this.#chunkOut) this.out.text(encodeChunkHead(end - start));
    this.out.bytes(buffer, start, end);
    if (this.#chunkOut) this.out.text('\r\n');
  }

  end(trailers: string): void {
    if (this.#chunkOut) this.out.text(lastChunk(trailers));
    this.out.flush();
  }

  switchProtocols(head: ResponseHead, marks: string): void {
    this.endsBody = true;
    this.out.text(
      `HTTP/1.1 101 ${head.reason}\r\nConnection: Upgrade\r\nUpgrade: ${head.upgrade}${head.fields}${marks}\r\n\r\n`,
    );
    this.out.flush();
  }

  give(answer: GivenAnswer, marks: string, withBody: boolean): void {
    this.out.text(givenHead(answer, marks, !this.keepAlive));
    if (withBody) this.out.lasting(answer.body);
    this.out.flush();
  }

  local(answer: LocalAnswer, context: AnswerContext, withBody: boolean): void {
    this.out.text(renderLocalAnswer(answer, context, !this.keepAlive, withBody));
    this.out.flush();
  }
}
