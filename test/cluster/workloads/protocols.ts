// Servers of everything that is not plain HTTP/1.1 request and response, each on a port of its own:
//   8443 TLS   8081 h2c   8082 WebSocket   8083 server-sent events   8084 upload sink   8085 a server that speaks first   8086 TCP echo
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { createServer as createTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { serveControl } from './control.ts';

function selfSigned(): { key: Buffer; cert: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), 'tls-'));
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const subject = ['-subj', '/CN=protocols', '-addext', 'subjectAltName=DNS:protocols'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', ...subject],
    {
      stdio: 'ignore',
    },
  );
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

createHttps(selfSigned(), (request, response) => response.end(JSON.stringify({ tls: true, path: request.url }))).listen(
  8443,
);

createHttp2()
  .on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.respond({ ':status': 200, 'x-protocol': 'h2c' });
    stream.end(String(headers[':path']));
  })
  .listen(8081);

const webSockets = createHttp((_request, response) => response.writeHead(426).end());
new WebSocketServer({ server: webSockets }).on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
webSockets.listen(8082);

createHttp((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  let sent = 0;
  const timer = setInterval(() => {
    sent += 1;
    response.write(`id: ${sent}\ndata: ${Date.now()}\n\n`);
    if (sent === 20) {
      clearInterval(timer);
      response.end();
    }
  }, 200);
  response.on('close', () => clearInterval(timer));
}).listen(8083);

createHttp({ requestTimeout: 0 }, (request, response) => {
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  request.on('end', () => response.end(JSON.stringify({ bytes, sha256: hash.digest('hex') })));
}).listen(8084);

createTcp((socket) => {
  socket.on('error', () => undefined);
  socket.write('220 breakwater-test ready\r\n');
  socket.on('data', () => socket.end('221 bye\r\n'));
}).listen(8085);

// With allowHalfOpen the answer comes after the client's end of stream, which a tunnel must pass on by itself.
createTcp({ allowHalfOpen: true }, (socket) => {
  const received: Buffer[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.on('end', () => socket.end(createHash('sha256').update(Buffer.concat(received)).digest('hex')));
}).listen(8086);

serveControl({});
