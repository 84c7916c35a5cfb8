import { execFile } from 'node:child_process';
import net, { type AddressInfo } from 'node:net';
import tls, { type ConnectionOptions } from 'node:tls';
import { array, assert, constant, constantFrom, integer, nat, oneof, property, record, uint8Array } from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type ClientHello, MAX_CLIENT_HELLO_BYTES, readClientHello } from './client-hello.ts';

/** The first bytes of a real client, up to its ClientHello. */
async function firstBytes(call: (port: number) => void): Promise<Buffer> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const bytes = new Promise<Buffer>((resolve) => {
    server.once('connection', (socket) => {
      let all = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        all = Buffer.concat([all, chunk]);
        if (readClientHello(all).kind === 'need-more') return;
        socket.destroy();
        server.close();
        resolve(all);
      });
    });
  });
  call((server.address() as AddressInfo).port);
  return bytes;
}

const byNode = (options: ConnectionOptions): Promise<Buffer> =>
  firstBytes((port) => tls.connect({ port, host: '127.0.0.1', ...options }).on('error', () => {}));

const byOpenssl = (...options: string[]): Promise<Buffer> =>
  firstBytes((port) => {
    execFile('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...options], () => {});
  });

let hello: Buffer;
beforeAll(async () => {
  hello = await byNode({ servername: 'API.Example.com' });
});

describe('real clients', () => {
  it.each([
    ['TLS 1.3', { minVersion: 'TLSv1.3' }],
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
    ['with ALPN', { ALPNProtocols: ['h2', 'http/1.1'] }],
  ] as const)('node, %s', async (_name, options) => {
    const bytes = await byNode({ servername: 'api.example.com', ...(options as ConnectionOptions) });
    expect(readClientHello(bytes)).toEqual({ kind: 'hello', serverName: 'api.example.com' });
  });

  it('node without a server name', async () => {
    expect(readClientHello(await byNode({}))).toEqual({ kind: 'hello', serverName: null });
  });

  it.each([
    ['TLS 1.3', ['-tls1_3', '-servername', 'a.example'], 'a.example'],
    ['TLS 1.2', ['-tls1_2', '-servername', 'a.example'], 'a.example'],
    ['without a server name', ['-noservername'], null],
  ] as const)('openssl, %s', async (_name, options, serverName) => {
    expect(readClientHello(await byOpenssl(...options))).toEqual({ kind: 'hello', serverName });
  });
});

/** The handshake message in records of this size. */
function inRecords(bytes: Buffer, size: number): Buffer {
  const message = bytes.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

describe('fragments', () => {
  it('of any size of segment and record say the same, and nothing before the end', () => {
    assert(
      property(integer({ min: 1, max: 3_000 }), (size) => {
        const bytes = inRecords(hello, size);
        expect(readClientHello(bytes)).toEqual({ kind: 'hello', serverName: 'api.example.com' });
        for (let end = 0; end < bytes.length; end += 1 + Math.floor(bytes.length / 37)) {
          expect(readClientHello(bytes.subarray(0, end))).toEqual({ kind: 'need-more' });
        }
      }),
    );
  });

  it('with more behind them say the same', () => {
    const bytes = Buffer.concat([hello, Buffer.from([20, 3, 3, 0, 1, 1])]);
    expect(readClientHello(bytes)).toEqual({ kind: 'hello', serverName: 'api.example.com' });
  });
});

/** A ClientHello of TLS 1.2 with these extensions. */
function withExtensions(...extensions: [type: number, content: Buffer][]): Buffer {
  const vector = (size: 1 | 2, content: Buffer) => {
    const length = Buffer.alloc(size);
    length.writeUIntBE(content.length, 0, size);
    return Buffer.concat([length, content]);
  };
  const encoded = extensions.map(([type, content]) =>
    Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, content)]),
  );
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(0)),
    vector(2, Buffer.from([0x13, 0x01])),
    vector(1, Buffer.from([0])),
    extensions.length > 0 ? vector(2, Buffer.concat(encoded)) : Buffer.alloc(0),
  ]);
  const message = Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body]);
  return Buffer.concat([Buffer.from([22, 3, 1, message.length >> 8, message.length & 255]), message]);
}

const name = (text: string, type = 0): Buffer => {
  const list = Buffer.concat([Buffer.from([type, 0, text.length]), Buffer.from(text, 'latin1')]);
  return Buffer.concat([Buffer.from([0, list.length]), list]);
};
const GREASE = 0x0a0a;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;

describe('extensions', () => {
  it.each([
    ['none', withExtensions(), null],
    [
      'GREASE and ECH around the name',
      withExtensions(
        [GREASE, Buffer.alloc(1)],
        [ENCRYPTED_CLIENT_HELLO, Buffer.alloc(200)],
        [0, name('outer.example')],
        [0x3a3a, Buffer.alloc(0)],
      ),
      'outer.example',
    ],
    ['an empty one, as a server sends it', withExtensions([0, Buffer.alloc(0)]), null],
    ['a name that is none', withExtensions([0, name('a b')]), null],
    ['another type of name', withExtensions([0, name('a', 1)]), null],
    ['two of them', withExtensions([0, name('a')], [0, name('b')]), null],
    ['two names in one', withExtensions([0, Buffer.from([0, 8, 0, 0, 1, 0x61, 0, 0, 1, 0x62])]), null],
    ['a length beyond the end', withExtensions([0, Buffer.from([0, 9, 0, 0, 9, 0x61])]), null],
  ])('%s', (_name, bytes, serverName) => {
    expect(readClientHello(bytes)).toEqual({ kind: 'hello', serverName });
  });
});

describe('what is no ClientHello', () => {
  it.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
    ['an alert', Buffer.from([21, 3, 1, 0, 2, 1, 0])],
    ['another version', Buffer.from([22, 2])],
    ['a ServerHello', Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0])],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['one that is too large', Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0x40, 0])],
    ['another record in its middle', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 9, 23, 3])],
  ])('%s', (_name, bytes) => {
    expect(readClientHello(bytes)).toEqual({ kind: 'other' });
  });

  it('is never waited for beyond the bound', () => {
    const endless = inRecords(
      Buffer.concat([hello.subarray(0, 5), Buffer.from([1, 0, 0x3f, 0xf0]), Buffer.alloc(16_000)]),
      1,
    );
    expect(readClientHello(endless.subarray(0, MAX_CLIENT_HELLO_BYTES))).toEqual({ kind: 'other' });
  });
});

describe('any bytes end in an answer, and one that holds whatever follows:', () => {
  /** The answer to every beginning: after `need-more` one, which stays. */
  function answerOf(bytes: Buffer): ClientHello {
    let answer: ClientHello = { kind: 'need-more' };
    for (let end = 0; end <= bytes.length; end += 1) {
      const next = readClientHello(bytes.subarray(0, end));
      if (answer.kind !== 'need-more') expect(next).toEqual(answer);
      answer = next;
    }
    return answer;
  }

  it('noise that says that it is one', () => {
    const noise = uint8Array({ maxLength: 100, size: 'max' });
    assert(
      property(noise, integer({ min: 1, max: 50 }), (content, size) => {
        const message = Buffer.concat([Buffer.alloc(5), Buffer.from([1, 0, 0, content.length]), content]);
        expect(answerOf(inRecords(message, size)).kind).toBe('hello');
      }),
      { numRuns: 50 },
    );
  });

  it('a ClientHello of which some bytes are others', () => {
    const hosts = constantFrom('a.example', 'a', 'api.example.com');
    const extension = oneof(
      hosts.map((text): [number, Buffer] => [0, name(text)]),
      constant<[number, Buffer]>([GREASE, Buffer.alloc(1)]),
      constant<[number, Buffer]>([ENCRYPTED_CLIENT_HELLO, Buffer.alloc(20)]),
    );
    const change = record({ at: nat(), value: oneof(constantFrom(0, 1, 2, 255), nat(255)) });
    const answers = { named: 0, unnamed: 0 };
    assert(
      property(
        array(extension, { maxLength: 4 }),
        array(change, { maxLength: 3 }),
        integer({ min: 1, max: 200 }),
        (extensions, changes, size) => {
          const message = withExtensions(...extensions);
          // Behind the random of the client lie the lengths.
          for (const { at, value } of changes) message[43 + (at % (message.length - 43))] = value;
          const answer = answerOf(inRecords(message, size));
          if (answer.kind === 'hello') answers[answer.serverName === null ? 'unnamed' : 'named'] += 1;
        },
      ),
      { numRuns: 200 },
    );
    expect(Math.min(answers.named, answers.unnamed)).toBeGreaterThan(5);
  });

  it('a ClientHello with its headers', () => {
    const change = record({ at: nat(8), value: nat(255) });
    assert(
      property(array(change, { minLength: 1, maxLength: 2 }), (changes) => {
        const bytes = withExtensions([0, name('a.example')]);
        for (const { at, value } of changes) bytes[at] = value;
        answerOf(bytes);
      }),
    );
  });

  it('one about as large as is looked at', () => {
    assert(
      property(integer({ min: 16_300, max: 16_400 }), integer({ min: 1_000, max: 20_000 }), (length, recordSize) => {
        const body = Buffer.alloc(length);
        const message = Buffer.concat([Buffer.from([1, 0, length >> 8, length & 255]), body]);
        const bytes = inRecords(Buffer.concat([Buffer.alloc(5), message]), recordSize);
        const kindOf = (end: number) => readClientHello(bytes.subarray(0, end)).kind;
        expect(kindOf(bytes.length)).toBe(bytes.length <= MAX_CLIENT_HELLO_BYTES ? 'hello' : 'other');
        // However it arrives: nobody waits for more than the bound, and what lies behind it changes nothing.
        expect(kindOf(MAX_CLIENT_HELLO_BYTES)).toBe(kindOf(bytes.length));
      }),
    );
  });
});

it('CVE-2026-21637: a server name is an answer, whatever it holds, and nothing throws', () => {
  const name = Buffer.from('api.example.com');
  const at = hello.toString('latin1').toLowerCase().indexOf(name.toString());
  const replaced = (by: string) => {
    const bytes = Buffer.from(hello);
    bytes.write(by.padEnd(name.length, 'a').slice(0, name.length), at, 'latin1');
    return readClientHello(bytes).kind;
  };
  expect(at).toBeGreaterThan(0);
  for (const odd of [
    '__proto__',
    '\0',
    'a\0.test',
    '..',
    '*.example',
    '[::1]',
    '\xff\xfe',
    'xn--',
    ' ',
    'a/../b',
    '\r\n',
  ])
    expect(replaced(odd), odd).toBe('hello');
});
