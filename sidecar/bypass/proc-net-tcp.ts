// The kernel's table of TCP sockets of a network namespace, /proc/net/tcp and tcp6 (proc(5)). PURE.
import { endianness } from 'node:os';
import { formatIpv6 } from '../capture/original-destination.ts';

export interface TcpSocket {
  /** Its number while it exists. */
  inode: number;
  uid: number;
  remoteAddress: string;
  remotePort: number;
}

const ESTABLISHED = 1;
const SYN_SENT = 2;
const FIN_WAIT_1 = 4;
const FIN_WAIT_2 = 5;
const CLOSE_WAIT = 8;
const LAST_ACK = 9;
/** Those of a connection that somebody has; what only waits for its end has neither a user nor a number any more. */
const OPEN_STATES: ReadonlySet<number> = new Set([ESTABLISHED, SYN_SENT, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, LAST_ACK]);

//              sl    local               remote             state            queues      timer       retransmits uid     timeout inode
const LINE =
  /^\s*\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+\s+(\d+)\s+\d+ (\d+)(?: |$)/;

/** The open ones; lines of any other form, the heading among them, are left out. */
export function readTcpSockets(text: string): TcpSocket[] {
  const sockets: TcpSocket[] = [];
  for (const line of text.split('\n')) {
    const [, address = '', port = '', state = '', uid, inode] = LINE.exec(line) ?? [];
    if (!OPEN_STATES.has(Number.parseInt(state, 16)) || Number(inode) === 0) continue;
    sockets.push({
      inode: Number(inode),
      uid: Number(uid),
      remoteAddress: addressOf(address),
      remotePort: Number.parseInt(port, 16),
    });
  }
  return sockets;
}

/** Words of 32 bits, each as this machine keeps it in memory. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  return bytes.length === 4 ? bytes.join('.') : formatIpv6(bytes);
}
