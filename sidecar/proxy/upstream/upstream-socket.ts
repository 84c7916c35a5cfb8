import { Socket } from 'node:net';

/** What a leg needs of its connection beside what every socket has. */
export interface UpstreamSocket extends Socket {
  /** A body is being sent, so an answer may come before its end. Without one there is nothing to save, and writes stay plain. */
  tolerant: boolean;
  writesFailed: boolean;
  /** What ended was all that the peer had to send. TCP knows no other end than this; TLS does. */
  endedWhole: boolean;
}

type Written = (error?: Error | null) => void;

/**
 * A socket whose failed writes do not end it: what the peer sent before it stopped reading can still be read. Its answer (a 413 to an
 * upload, say) may already be on the way.
 */
export class TcpUpstreamSocket extends Socket implements UpstreamSocket {
  tolerant = false;
  writesFailed = false;
  endedWhole = true;

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Written): void {
    if (!this.tolerant) super._write(chunk, encoding, callback);
    else if (this.writesFailed) callback();
    else super._write(chunk, encoding, tolerance(this, callback));
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], callback: Written): void {
    if (!this.tolerant) super._writev?.(chunks, callback);
    else if (this.writesFailed) callback();
    else super._writev?.(chunks, tolerance(this, callback));
  }
}

/** The same for a socket that is of another class. */
export function tolerateFailedWrites(socket: UpstreamSocket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  socket._write = (chunk: unknown, encoding: BufferEncoding, callback: Written) => {
    if (!socket.tolerant) write(chunk, encoding, callback);
    else if (socket.writesFailed) callback();
    else write(chunk, encoding, tolerance(socket, callback));
  };
  if (writev === undefined) return;
  socket._writev = (chunks: { chunk: unknown; encoding: BufferEncoding }[], callback: Written) => {
    if (!socket.tolerant) writev(chunks, callback);
    else if (socket.writesFailed) callback();
    else writev(chunks, tolerance(socket, callback));
  };
}

function tolerance(socket: UpstreamSocket, callback: Written): Written {
  return (error) => {
    if (error) socket.writesFailed = true;
    callback();
  };
}
