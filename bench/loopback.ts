// Ports and plain requests on 127.0.0.1.
import { connect } from 'node:http2';
import { createServer, type Server } from 'node:net';
import { request } from 'undici';
import { systemClock as clock } from '../runtime/clock.ts';

const LOOPBACK = '127.0.0.1';
const READY_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 50;
const ANSWER_WITHIN_MS = 5_000;

/** Ports that are free now, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listen()));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

function listen(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, LOOPBACK, () => resolve(server));
  });
}

export interface Answer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
}

export async function ask(port: number, path: string, method: 'GET' | 'POST' = 'GET', body?: string): Promise<Answer> {
  const response = await request(`http://${LOOPBACK}:${port}${path}`, {
    method,
    body: body ?? null,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  return { status: response.statusCode, headers: response.headers, body: await response.body.text() };
}

/** The same by HTTP/2 with prior knowledge, on a connection of its own. */
export function askByHttp2(port: number, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://${LOOPBACK}:${port}`);
    session.on('error', reject);
    session.setTimeout(ANSWER_WITHIN_MS, () => session.destroy(new Error('no answer in time')));
    const stream = session.request({ ':path': path });
    let status = 0;
    let headers: Answer['headers'] = {};
    let body = '';
    stream.setEncoding('utf8');
    stream.on('response', (fields) => {
      status = Number(fields[':status']);
      headers = fields;
    });
    stream.on('data', (text: string) => (body += text));
    stream.on('error', reject);
    stream.on('end', () => {
      resolve({ status, headers, body });
      session.close();
    });
  });
}

export type Ask = (port: number, path: string) => Promise<Answer>;

/** Resolves when GET `path` is answered with 200; rejects with the last failure when it takes too long. */
export async function untilServing(port: number, path: string, by: Ask = ask): Promise<void> {
  const deadlineMs = clock.monotonicMs() + READY_WITHIN_MS;
  for (;;) {
    const problem = await by(port, path).then(
      ({ status }) => (status === 200 ? undefined : new Error(`status ${status}`)),
      (error: unknown) => error,
    );
    if (problem === undefined) return;
    if (clock.monotonicMs() > deadlineMs) {
      throw new Error(`nobody serves http://${LOOPBACK}:${port}${path}`, { cause: problem });
    }
    await clock.sleep(LOOK_EVERY_MS);
  }
}
