import { Socket } from 'node:net';

/**
 * A socket whose failed writes do not end it: what the peer sent before it stopped reading can still be read. Its answer (a 413 to an
 * upload, say) may already be on the way.
 */
export class UpstreamSocket extends Socket {
  /** A body is being sent, so an answer may come before its end. Without one there is nothing to save, and writes stay plain. */
  tolerant = false;
  writesFailed = false;

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (!this.tolerant) {
      super._write(chunk, encoding, callback);
      return;
    }
    if (this.writesFailed) {
      callback();
      return;
    }
    super._write(chunk, encoding, (error?: Error | null) => {
      if (error) this.writesFailed = true;
      callback();
    });
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    if (!this.tolerant) {
      super._writev?.(chunks, callback);
      return;
    }
    if (this.writesFailed) {
      callback();
      return;
    }
    super._writev?.(chunks, (error?: Error | null) => {
      if (error) this.writesFailed = true;
      callback();
    });
  }
}
