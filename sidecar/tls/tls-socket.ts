// A socket of TLS in the place of one of TCP, for the legs of the data path: the same reads into a buffer of the leg, the same writes whose
// failure does not end it, and one thing that TCP has not: whether the peer said that it has sent all (close_notify).
//
// Node tells the end of a TLS stream alike whether close_notify came or only the end of TCP, which anybody on the way can forge: an answer
// that ends with its connection could be cut short unseen. The two differ in one thing at the moment when Node tells of the end: after
// close_notify its TCP handle still reads, after the end of TCP it does not. `readStart` of that handle answers EALREADY in the one case and
// 0 in the other. The handle is no public API; where it is not as expected, the end counts as a cut, and an answer that needs to know is
// refused and not believed.
import type { OnReadOpts } from 'node:net';
import { constants } from 'node:os';
import type { ConnectionOptions, SecureContext, TLSSocket } from 'node:tls';
import type { UpstreamSocket } from '../proxy/upstream/upstream-socket.ts';
import { tolerateFailedWrites } from '../proxy/upstream/upstream-socket.ts';

const ALREADY_READING = -constants.errno.EALREADY;

export interface TlsConnectOptions {
  address: string;
  port: number;
  context: SecureContext;
  serverName: string;
  alpn: 'http/1.1' | 'h2';
  /** Of a connection before; undefined: a full handshake. */
  session: Buffer | undefined;
  /** Undefined: it is read as a stream. */
  onread: OnReadOpts | undefined;
}

export type TlsUpstreamSocket = TLSSocket & UpstreamSocket;

interface TcpHandle {
  readStart?(): number;
  readStop?(): number;
}

interface TlsHandle {
  /** False: paused. */
  reading?: boolean;
  _parent?: TcpHandle;
}

/** It is being made; `secureConnect` or `error` follows. The certificate of the peer is verified, always, and so is its name. */
export function connectTls(options: TlsConnectOptions): TlsUpstreamSocket {
  const { address, port, context, serverName, alpn, session, onread } = options;
  const wanted: ConnectionOptions & { allowHalfOpen: boolean; onread?: OnReadOpts } = {
    host: address,
    port,
    secureContext: context,
    servername: serverName,
    ALPNProtocols: [alpn],
    rejectUnauthorized: true,
    allowHalfOpen: true,
    ...(session === undefined ? {} : { session }),
    ...(onread === undefined ? {} : { onread }),
  };
  // Loaded by the first connection that speaks it.
  const socket = process.getBuiltinModule('node:tls').connect(wanted) as TlsUpstreamSocket;
  socket.setNoDelay(true);
  socket.tolerant = false;
  socket.writesFailed = false;
  socket.endedWhole = false;
  tolerateFailedWrites(socket);
  watchEnd(socket);
  // Node resets only what is plain TCP; without close_notify the peer does not take it for a whole either.
  socket.resetAndDestroy = () => socket.destroy();
  return socket;
}

function watchEnd(socket: TlsUpstreamSocket): void {
  const push = socket.push.bind(socket);
  let ended = false;
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null && !ended) {
      ended = true;
      socket.endedWhole = peerSaidAll(socket);
    }
    return push(chunk, encoding);
  };
}

function peerSaidAll(socket: TlsUpstreamSocket): boolean {
  const handle = (socket as unknown as { _handle: TlsHandle | null })._handle;
  const tcp = handle?._parent;
  if (typeof tcp?.readStart !== 'function' || typeof tcp.readStop !== 'function') return false;
  // Nothing of TCP is read while it is paused, its end neither: what was read before held close_notify.
  if (handle?.reading === false) return true;
  if (tcp.readStart() === ALREADY_READING) return true;
  tcp.readStop();
  return false;
}
