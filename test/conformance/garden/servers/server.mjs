// A server of the garden on node:http, whose parser is llhttp in its strict mode. Arguments: a port of 127.0.0.1.
// Every request that it has seen is a line of JSON on standard output, and is answered with its target in X-Seen.

import { writeSync } from 'node:fs';
import { createServer } from 'node:http';

const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) => {
  let length = 0;
  let told = false;
  const tell = (complete) => {
    if (told) return;
    told = true;
    const { method, url: target, headers } = request;
    writeSync(1, `${JSON.stringify({ method, target, length, id: headers['x-correlation-id'] ?? '', complete })}\n`);
  };
  request.on('data', (chunk) => {
    length += chunk.length;
  });
  request.on('end', () => {
    tell(true);
    response.setHeader('X-Seen', request.url);
    response.end('seen\n');
  });
  request.on('error', () => tell(false));
  request.on('close', () => tell(request.complete));
});
server.on('clientError', (_error, socket) => {
  // What it reads as the beginning of a request, and cannot read further, is a request that it has seen as well.
  if (socket.writable && _error.code?.startsWith('HPE_')) {
    writeSync(1, `${JSON.stringify({ method: '', target: '', length: 0, id: '', complete: false })}\n`);
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  } else socket.destroy();
});
server.listen(Number(process.argv[2]), '127.0.0.1');
