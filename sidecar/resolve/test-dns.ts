// A DNS server for tests: A and AAAA over UDP on loopback, from a table that the test may change at any time.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

export type Zone = Record<string, readonly string[] | 'servfail' | 'silent'>;

const TYPE_A = 1;
const TYPE_AAAA = 28;
const NOERROR = 0;
const SERVFAIL = 2;
const NXDOMAIN = 3;
const HEADER_BYTES = 12;

export class TestDns {
  /** Names in lower case; one with an empty list exists and has no address. Absent: it does not exist. */
  zone: Zone;
  ttlSeconds = 5;
  /** "name TYPE" of every query, in order. */
  readonly asked: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket, zone: Zone) {
    this.#socket = socket;
    this.zone = zone;
    socket.on('message', (message, peer) => {
      const answer = this.#answer(message);
      if (answer) socket.send(answer, peer.port, peer.address);
    });
  }

  static async start(zone: Zone, address = '127.0.0.1', port = 0): Promise<TestDns> {
    const socket = createSocket('udp4');
    socket.bind(port, address);
    await once(socket, 'listening');
    return new TestDns(socket, zone);
  }

  get server(): string {
    const { address, port } = this.#socket.address();
    return `${address}:${port}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(message: Buffer): Buffer | null {
    const labels: string[] = [];
    let at = HEADER_BYTES;
    for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
      labels.push(message.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = labels.join('.').toLowerCase();
    const type = message.readUInt16BE(at + 1);
    this.asked.push(`${name} ${type === TYPE_A ? 'A' : type === TYPE_AAAA ? 'AAAA' : type}`);
    const entry = this.zone[name];
    if (entry === 'silent') return null;
    const addresses = typeof entry === 'object' ? entry.filter((each) => isIPv6(each) === (type === TYPE_AAAA)) : [];
    const header = Buffer.from(message.subarray(0, HEADER_BYTES));
    header.writeUInt16BE(0x8180 | (entry === 'servfail' ? SERVFAIL : entry === undefined ? NXDOMAIN : NOERROR), 2);
    header.writeUInt16BE(addresses.length, 6);
    header.writeUInt16BE(0, 8);
    header.writeUInt16BE(0, 10);
    const question = message.subarray(HEADER_BYTES, at + 5);
    return Buffer.concat([header, question, ...addresses.map((each) => this.#record(type, each))]);
  }

  #record(type: number, address: string): Buffer {
    const bytes = type === TYPE_A ? Buffer.from(address.split('.').map(Number)) : ipv6Bytes(address);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(this.ttlSeconds, 6);
    record.writeUInt16BE(bytes.length, 10);
    return Buffer.concat([record, bytes]);
  }
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = groups(tail ?? '');
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(group, index * 2);
  return bytes;
}
