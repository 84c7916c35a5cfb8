// A host outside the cluster that speaks TLS to those only whom an authority of its own vouches for, and says whose certificate it saw.
// Certificates are PEM in its environment. Each answer ends its connection, so that the next call shows the certificate of its time.
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { serveControl } from './control.ts';

const PORT = 8443;

createServer(
  {
    cert: process.env['TLS_CERT'],
    key: process.env['TLS_KEY'],
    ca: process.env['TLS_CLIENT_AUTHORITY'],
    requestCert: true,
    rejectUnauthorized: true,
  },
  (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    response.writeHead(200, { connection: 'close', 'x-served-by': String(subject.CN) }).end('ok');
  },
).listen(PORT);

serveControl({});
