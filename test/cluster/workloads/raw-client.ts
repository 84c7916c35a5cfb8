// Sends bytes as they are and prints one JSON line with what came back: for requests that no HTTP client would make.
//   node raw-client.ts HOST PORT BASE64 [HOLD_MS]      HOLD_MS: how long to wait for the server to close, 3000 by default
import { connect } from 'node:net';

const [, , host = '', port = '', base64 = '', holdMs = '3000'] = process.argv;
const socket = connect(Number(port), host);
let received = '';
let error = '';
const timer = setTimeout(() => socket.destroy(), Number(holdMs));
socket.setEncoding('latin1');
socket.on('connect', () => socket.write(Buffer.from(base64, 'base64')));
socket.on('data', (chunk: string) => {
  received += chunk;
});
socket.on('error', (problem: NodeJS.ErrnoException) => {
  error = problem.code ?? problem.message;
});
socket.on('close', () => {
  clearTimeout(timer);
  console.log(JSON.stringify({ received: received.slice(0, 20_000), error }));
});
