// Talks to the operator's streams with a token of one's own, as somebody might who is not a sidecar; prints one JSON line.
//   node stream-client.ts PATH TOKEN_FILE|- [MS] [slow]     MS: how long to listen; slow: reads nothing at all meanwhile
import { readFileSync } from 'node:fs';
import { request } from 'node:https';

const [, , path = '/v1/plan', tokenFile = '-', listenMs = '2000', pace = ''] = process.argv;
const authorization = tokenFile === '-' ? undefined : `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`;
const host = process.env['OPERATOR_HOST'] ?? 'breakwater-operator.breakwater-system.svc';

let printed = false;
const finish = (result: unknown) => {
  if (printed) return;
  printed = true;
  console.log(JSON.stringify(result));
  process.exit(0);
};

const call = request(
  // Whom the operator takes us for is what is tested, not whom we take it for.
  { host, port: 8443, path, rejectUnauthorized: false, headers: authorization === undefined ? {} : { authorization } },
  (response) => {
    let body = '';
    const done = () => finish({ status: response.statusCode, body: body.slice(0, 200_000) });
    if (pace === 'slow') response.pause();
    else {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
    }
    response.on('end', done);
    setTimeout(done, Number(listenMs));
  },
);
call.on('error', (error: NodeJS.ErrnoException) => finish({ status: 0, body: '', error: error.code ?? error.message }));
call.end();
