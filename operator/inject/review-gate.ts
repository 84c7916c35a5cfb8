// How many large reviews are read at a time. Whoever reaches the port may send them, for the API server shows nothing that proves it is one; so
// what they cost is bounded. The review of an ordinary pod is a few kilobytes and is never counted.
import type { FastifyReply, FastifyRequest } from 'fastify';

const LARGE_BYTES = 256 * 1024;
const MAX_LARGE = 8;

export class ReviewGate {
  readonly #held = new Map<FastifyRequest, { isWorkedOn: boolean }>();

  /** Before the body is read; false: it is not to be. */
  enter(request: FastifyRequest, reply: FastifyReply): boolean {
    const length = Number(request.headers['content-length'] ?? Number.POSITIVE_INFINITY);
    if (length <= LARGE_BYTES) return true;
    if (this.#held.size >= MAX_LARGE) return false;
    const hold = { isWorkedOn: false };
    this.#held.set(request, hold);
    // Where it is being worked on, its body is there until that ends, whoever hears of it.
    reply.raw.once('close', () => {
      if (!hold.isWorkedOn) this.#held.delete(request);
    });
    return true;
  }

  async whileWorkedOn<T>(request: FastifyRequest, work: () => Promise<T>): Promise<T> {
    const hold = this.#held.get(request);
    if (hold !== undefined) hold.isWorkedOn = true;
    try {
      return await work();
    } finally {
      this.#held.delete(request);
    }
  }
}
