// Where a redirected connection was going before the kernel sent it to us.
//
// REDIRECT rewrites the destination, so the accepted socket shows our own address; the original is kept by connection tracking and
// answered by getsockopt(SO_ORIGINAL_DST), which Node does not offer. koffi calls libc on the socket's descriptor, in about 1 µs. The
// descriptor (`socket._handle.fd`) and the layout of sockaddr are not Node's promise to us: both are tried once at start.
import { createRequire } from 'node:module';
import { connect, createServer, type Socket } from 'node:net';
import { endianness } from 'node:os';

export interface Destination {
  address: string;
  port: number;
}

/**
 * `family` is the one of the accepted socket (6 for an IPv4 peer on a dual-stack listener, too). Null: the connection was not redirected
 * and the kernel does not track it. A connection made straight to the listener may yield the listener's own address: compare before dialling.
 */
export type OriginalDestination = (fd: number, family: 4 | 6) => Destination | null;

export class OriginalDestinationError extends Error {
  override name = 'OriginalDestinationError';
}

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SOCK_STREAM = 1;
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
/** IP6T_SO_ORIGINAL_DST has the same number. */
const SO_ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCKADDR_IN6_BYTES = 28;

type GetSocketOption = (fd: number, level: number, option: number, value: Buffer, length: Uint32Array) => number;

/** Loads koffi, checks that it works on this system, and returns the reader; throws OriginalDestinationError that says what is missing. */
export async function loadOriginalDestination(): Promise<OriginalDestination> {
  if (process.platform !== 'linux')
    throw new OriginalDestinationError(`capture by iptables needs Linux, this is ${process.platform}`);
  const getSocketOption = loadGetSocketOption();
  const read = createReader(getSocketOption);
  await selfTest(getSocketOption, read);
  return read;
}

function loadGetSocketOption(): GetSocketOption {
  try {
    // A native module stays outside a bundle, and is not loaded at all where nothing is captured.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const signature = 'int getsockopt(int fd, int level, int option, _Out_ uint8_t *value, _Inout_ uint32_t *length)';
    return koffi.load(null).func(signature);
  } catch (error) {
    throw new OriginalDestinationError(
      'koffi, which reads the original destination of captured connections, cannot be loaded',
      {
        cause: error,
      },
    );
  }
}

function createReader(getSocketOption: GetSocketOption): OriginalDestination {
  // One thread, no await between the call and the reading: shared buffers are safe.
  const value = Buffer.alloc(SOCKADDR_IN6_BYTES);
  const length = new Uint32Array(1);
  const ask = (fd: number, level: number): Destination | null => {
    length[0] = SOCKADDR_IN6_BYTES;
    if (getSocketOption(fd, level, SO_ORIGINAL_DST, value, length) !== 0) return null;
    return decodeSocketAddress(value);
  };
  return (fd, family) => (family === 4 ? ask(fd, IPPROTO_IP) : (ask(fd, IPPROTO_IPV6) ?? ask(fd, IPPROTO_IP)));
}

/** Decodes a sockaddr_in or sockaddr_in6 as the kernel writes it; null for any other family. */
export function decodeSocketAddress(bytes: Buffer): Destination | null {
  const family = endianness() === 'LE' ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port };
  if (family === AF_INET6) return { address: formatIpv6(bytes.subarray(8, 24)), port };
  return null;
}

/** The canonical text of RFC 5952; an IPv4-mapped address becomes the IPv4 address. */
export function formatIpv6(bytes: Buffer): string {
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(bytes.readUInt16BE(at));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.subarray(12).join('.');

  let zerosAt = -1;
  let zeros = 1;
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (groups[end] === 0) end++;
    if (end - at > zeros) {
      zerosAt = at;
      zeros = end - at;
    }
  }
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  return zerosAt < 0 ? text(groups) : `${text(groups.slice(0, zerosAt))}::${text(groups.slice(zerosAt + zeros))}`;
}

/** The descriptor of an accepted socket, or -1 where this Node does not show it. */
export function descriptorOf(socket: Socket): number {
  const handle = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle;
  return typeof handle?.fd === 'number' ? handle.fd : -1;
}

async function selfTest(getSocketOption: GetSocketOption, read: OriginalDestination): Promise<void> {
  const { accepted, close } = await acceptOne();
  try {
    const fd = descriptorOf(accepted);
    if (fd < 0) throw new OriginalDestinationError('this Node does not show the descriptor of a socket');
    const value = Buffer.alloc(SOCKADDR_IN6_BYTES);
    const length = new Uint32Array([SOCKADDR_IN6_BYTES]);
    if (getSocketOption(fd, SOL_SOCKET, SO_TYPE, value, length) !== 0 || value[0] !== SOCK_STREAM || length[0] !== 4) {
      throw new OriginalDestinationError('getsockopt, called through koffi, does not answer what a TCP socket is');
    }
    // Nothing redirects this connection: the kernel either does not know it or says where it really went.
    const destination = read(fd, 4);
    if (
      destination !== null &&
      (destination.address !== accepted.localAddress || destination.port !== accepted.localPort)
    ) {
      throw new OriginalDestinationError(
        `SO_ORIGINAL_DST says ${destination.address}:${destination.port} for a connection to ${accepted.localAddress}:${accepted.localPort}`,
      );
    }
  } finally {
    close();
  }
}

function acceptOne(): Promise<{ accepted: Socket; close: () => void }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const client = connect(address !== null && typeof address === 'object' ? address.port : 0, '127.0.0.1');
      client.once('error', reject);
      server.once('connection', (accepted) => {
        accepted.on('error', () => {});
        resolve({
          accepted,
          close: () => {
            client.destroy();
            accepted.destroy();
            server.close();
          },
        });
      });
    });
  });
}
