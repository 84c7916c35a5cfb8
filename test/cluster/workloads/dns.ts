// A DNS server as a company has one in front of the cluster's: it knows one name of its own, and asks the cluster about all others. It can
// be told to fail.
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { serveControl } from './control.ts';

const PORT = 5353;
const HEADER_BYTES = 12;
const SERVFAIL = 2;
const TTL_SECONDS = 5;
const NAME = process.env['DNS_NAME'] ?? '';
const ADDRESS = process.env['DNS_ADDRESS'] ?? '';
const cluster = /^nameserver\s+(\S+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8'))?.[1] ?? '127.0.0.1';

let failing = false;
const asked: Record<string, number> = {};

function questionOf(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function answerTo(message: Buffer, end: number, code: number, address: string | null): Buffer {
  const header = Buffer.from(message.subarray(0, HEADER_BYTES));
  header.writeUInt16BE(0x8180 | code, 2);
  header.writeUInt16BE(address === null ? 0 : 1, 6);
  header.writeUInt32BE(0, 8);
  const record = Buffer.alloc(address === null ? 0 : 16);
  if (address !== null) {
    record.writeUInt16BE(0xc00c, 0);
    record.writeUInt16BE(1, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(TTL_SECONDS, 6);
    record.writeUInt16BE(4, 10);
    Buffer.from(address.split('.').map(Number)).copy(record, 12);
  }
  return Buffer.concat([header, message.subarray(HEADER_BYTES, end), record]);
}

const server = createSocket('udp4');
server.on('message', (message, peer) => {
  const { name, type, end } = questionOf(message);
  asked[name] = (asked[name] ?? 0) + 1;
  const reply = (answer: Buffer) => server.send(answer, peer.port, peer.address);
  if (name === NAME) {
    reply(failing ? answerTo(message, end, SERVFAIL, null) : answerTo(message, end, 0, type === 1 ? ADDRESS : null));
    return;
  }
  const forwarder = createSocket('udp4');
  const timer = setTimeout(() => forwarder.close(), 5_000);
  forwarder.on('message', (answer) => {
    clearTimeout(timer);
    forwarder.close();
    reply(answer);
  });
  forwarder.on('error', () => undefined);
  forwarder.send(message, 53, cluster);
});
server.bind(PORT, '0.0.0.0');

serveControl({
  fail: (on: boolean) => {
    failing = on;
  },
  asked: () => asked,
});
