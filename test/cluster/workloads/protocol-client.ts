// One conversation with `protocols.ts`, as an ordinary client of that protocol has it; prints one JSON line with what it saw.
//   node protocol-client.ts tls|h2c|websocket|events|upload|speaks-first|half-close HOST [BYTES]
import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { WebSocket } from 'ws';

const [, , protocol = '', host = '', size = '1048576'] = process.argv;

const text = async (stream: AsyncIterable<unknown>): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString('utf8');
};

const conversations: Record<string, () => Promise<unknown>> = {
  tls: () =>
    new Promise((resolve, reject) => {
      // The certificate is checked by its own fingerprint: what matters here is that TLS is spoken with the server itself.
      const call = httpsRequest({ host, port: 8443, path: '/hello', rejectUnauthorized: false }, (response) => {
        const socket = response.socket as import('node:tls').TLSSocket;
        const commonName = socket.getPeerCertificate().subject.CN;
        const protocol = socket.getProtocol();
        void text(response).then(
          (body) => resolve({ body: JSON.parse(body) as unknown, commonName, protocol }),
          reject,
        );
      });
      call.on('error', reject).end();
    }),

  h2c: () =>
    new Promise((resolve, reject) => {
      const session = http2Connect(`http://${host}:8081`);
      session.on('error', reject);
      const paths = Array.from({ length: 20 }, (_, index) => `/stream/${index}`);
      const one = (path: string) =>
        new Promise<string>((answered, failed) => {
          const stream = session.request({ ':path': path });
          stream.on('response', (headers) => {
            text(stream).then((body) => answered(`${String(headers['x-protocol'])} ${body}`), failed);
          });
        });
      void Promise.all(paths.map(one)).then((answers) => {
        session.close();
        resolve({
          streams: answers.length,
          correct: answers.every((answer, index) => answer === `h2c ${paths[index]}`),
        });
      });
    }),

  websocket: () =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${host}:8082/`);
      let received = 0;
      const big = Buffer.alloc(300_000, 'b');
      socket.on('error', reject);
      socket.on('open', () => {
        for (let index = 0; index < 100; index++) socket.send(`message ${index}`);
        socket.send(big);
      });
      socket.on('message', (data, isBinary) => {
        if (isBinary) {
          socket.close(1000);
          socket.on('close', (code) => resolve({ received, bigIsEqual: big.equals(data as Buffer), code }));
        } else if ((data as Buffer).toString('utf8') === `message ${received}`) received += 1;
      });
    }),

  events: () =>
    new Promise((resolve, reject) => {
      const call = httpRequest(
        { host, port: 8083, path: '/events', headers: { accept: 'text/event-stream' } },
        (response) => {
          const delays: number[] = [];
          let rest = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            rest += chunk;
            for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
              delays.push(Date.now() - Number(/data: (\d+)/.exec(rest.slice(0, end))?.[1]));
              rest = rest.slice(end + 2);
            }
          });
          response.on('end', () => resolve({ events: delays.length, maxDelayMs: Math.max(...delays) }));
          response.on('error', reject);
        },
      );
      call.on('error', reject).end();
    }),

  upload: () =>
    new Promise((resolve, reject) => {
      const bytes = Number(size);
      const hash = createHash('sha256');
      const call = httpRequest(
        { host, port: 8084, method: 'PUT', path: '/upload', headers: { 'content-length': bytes } },
        (response) => {
          void text(response).then((answer) => {
            const received = JSON.parse(answer) as { bytes: number; sha256: string };
            resolve({
              status: response.statusCode,
              bytes: received.bytes,
              equal: received.sha256 === hash.digest('hex'),
            });
          }, reject);
        },
      );
      call.on('error', reject);
      const chunk = Buffer.alloc(1 << 20);
      let left = bytes;
      const send = () => {
        while (left > 0) {
          chunk.writeUInt32LE(left >>> 0, 0);
          const part = chunk.subarray(0, Math.min(chunk.length, left));
          hash.update(part);
          left -= part.length;
          // A copy: the buffer is filled again before it has been written.
          if (!call.write(Buffer.from(part))) {
            call.once('drain', send);
            return;
          }
        }
        call.end();
      };
      send();
    }),

  'speaks-first': () =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      let greetingMs = 0;
      let received = '';
      const socket = connect(8085, host);
      socket.on('error', reject);
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        received += chunk;
        if (greetingMs === 0) {
          greetingMs = performance.now() - started;
          socket.write('QUIT\r\n');
        }
      });
      socket.on('close', () => resolve({ received, greetingMs }));
    }),

  'half-close': async () => {
    const sent = Buffer.alloc(500_000, 'x');
    const socket = connect({ host, port: 8086, allowHalfOpen: true });
    socket.end(sent);
    const answer = await text(socket);
    return { equal: answer === createHash('sha256').update(sent).digest('hex') };
  },
};

const conversation = conversations[protocol];
if (!conversation) throw new Error(`unknown protocol "${protocol}": ${Object.keys(conversations).join(', ')}`);
// Without await at the top, which a CommonJS bundle cannot have.
void conversation().then((result) => {
  console.log(JSON.stringify(result));
  process.exit(0);
});
