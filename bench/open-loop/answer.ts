// Reads the answers of one connection, as little as it takes to know that each is whole and right.

const END_OF_HEAD = '\r\n\r\n';
const MAX_HEAD_BYTES = 16_384;

export class AnswerReader {
  /** Of the last answer. */
  status = 0;
  /** It said that its connection is not kept. */
  closes = false;
  #head = '';
  #bodyBytesLeft = 0;

  /**
   * Takes what was read; true where it ends an answer. Only answers with Content-Length are understood, one at a time: throws for others, and
   * for bytes that nobody asked for.
   */
  read(bytes: Buffer): boolean {
    if (this.#bodyBytesLeft > 0) return this.#readBody(bytes.length);
    this.#head += bytes.toString('latin1');
    const end = this.#head.indexOf(END_OF_HEAD);
    if (end === -1) {
      if (this.#head.length > MAX_HEAD_BYTES) throw new Error('the head of an answer does not end');
      return false;
    }
    const head = this.#head.slice(0, end);
    const bodyBytes = this.#head.length - end - END_OF_HEAD.length;
    this.#head = '';
    const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
    const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? [];
    if (status === undefined || length === undefined) throw new Error(`this answer cannot be read:\n${head}`);
    this.status = Number(status);
    this.closes = /\r\nconnection: *close\s*(\r|$)/i.test(head);
    this.#bodyBytesLeft = Number(length);
    return this.#readBody(bodyBytes);
  }

  #readBody(bytes: number): boolean {
    this.#bodyBytesLeft -= bytes;
    if (this.#bodyBytesLeft < 0) throw new Error('an answer is longer than it said');
    return this.#bodyBytesLeft === 0;
  }
}
