// For the tests of this folder: whole calls, and an upstream that does what the path of each request says.
import type { Socket } from 'node:net';
import { systemClock } from '../../../runtime/clock.ts';
import { type Bench, connect, get } from './fixtures.ts';
import { OK, startUpstream, type Upstream } from './upstreams.ts';

export interface Answer {
  status: number;
  /** The reason of a local answer; empty: it is the dependency's own. */
  reason: string;
  text: string;
  tookMs: number;
}

/** One request on a connection of its own, to the end of its answer. Rejects where none comes. */
export async function call(port: number, request = get('/answer'), withinMs = 5_000): Promise<Answer> {
  const startedMs = systemClock.monotonicMs();
  const client = connect(port);
  client.send(request);
  const text = await client.until(isWhole, withinMs).finally(() => client.socket.destroy());
  return {
    status: Number(text.split(' ')[1]),
    reason: /breakwater-reason: (\S+)/i.exec(text)?.[1] ?? '',
    text,
    tookMs: systemClock.monotonicMs() - startedMs,
  };
}

/** The first answer in it has all its content. */
export function isWhole(received: string): boolean {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /content-length: (\d+)/i.exec(received)?.[1];
  return length !== undefined && received.length >= end + 4 + Number(length);
}

/** What shadows would have done, by "block decision"; without what happened at no time. */
export async function shadowDecisions({ metrics }: Bench): Promise<Record<string, number>> {
  const all = metrics.registry.getMetricsAsJSON();
  const { values } = all.find(({ name }) => name === 'breakwater_shadow_decisions_total') ?? { values: [] };
  return Object.fromEntries(
    values
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => [`${labels['policy']} ${labels['decision']}`, value]),
  );
}

export const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
export const HALF = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf-';

/** What a request to each path meets. */
const SCRIPTS: Readonly<Record<string, (socket: Socket) => void>> = {
  '/answer': (socket) => socket.write(OK),
  '/fail': (socket) => socket.write(UNAVAILABLE),
  '/hang': () => {},
  '/half': (socket) => socket.write(HALF),
  '/half-reset': (socket) => {
    socket.write(HALF);
    setImmediate(() => socket.resetAndDestroy());
  },
  '/reset': (socket) => socket.resetAndDestroy(),
  '/events': (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n'),
  '/upgrade': (socket) =>
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'),
  '/nonsense': (socket) => socket.write('nonsense\r\n\r\n'),
};

export interface ScriptedUpstream extends Upstream {
  /** Heads of requests that it has read. */
  heads: number;
}

/** `wrap`: see startUpstream. */
export async function startScripted(wrap?: (accepted: Socket) => Socket): Promise<ScriptedUpstream> {
  const seen = new WeakMap<Socket, number>();
  let heads = 0;
  const onData = (received: string, socket: Socket): void => {
    const paths = [...received.matchAll(/(?:^|\r\n\r\n|body)[A-Z]+ (\S+) HTTP\/1\.1\r\n/g)].map(
      ([, path]) => path ?? '',
    );
    // A body is four bytes, and awaited: the paths say what comes after it.
    if (!received.includes('\r\n\r\n') || (/content-length: 4\r\n/i.test(received) && !received.endsWith('body')))
      return;
    for (const path of paths.slice(seen.get(socket) ?? 0)) {
      heads += 1;
      seen.set(socket, (seen.get(socket) ?? 0) + 1);
      SCRIPTS[path]?.(socket);
    }
  };
  const upstream = await startUpstream(onData, undefined, wrap);
  return Object.defineProperty(upstream, 'heads', { get: () => heads }) as ScriptedUpstream;
}
