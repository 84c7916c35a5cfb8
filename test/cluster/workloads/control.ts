// The control port of every workload: how a test tells it what to do and asks what it saw. It is called through the API server's proxy,
// and as an incoming connection it is never captured.
import { createServer, type IncomingMessage } from 'node:http';

export const CONTROL_PORT = 9000;

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
  return text === '' ? undefined : JSON.parse(text);
}

/** Serves `POST /<name>` with a JSON body by the function of that name; GET /healthz answers 200. */
export function serveControl(actions: Record<string, (body: never) => unknown>): void {
  const act = async (request: IncomingMessage): Promise<[status: number, body: unknown]> => {
    const name = (request.url ?? '/').slice(1).split('?')[0] ?? '';
    if (name === 'healthz') return [200, 'ok'];
    const action = actions[name];
    if (!action) return [404, `no action ${name}: ${Object.keys(actions).join(', ')}`];
    try {
      return [200, await action((await readJson(request)) as never)];
    } catch (error) {
      return [500, error instanceof Error ? error.stack : String(error)];
    }
  };
  createServer((request, response) => {
    void act(request).then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? null));
    });
  }).listen(CONTROL_PORT, '0.0.0.0');
}
