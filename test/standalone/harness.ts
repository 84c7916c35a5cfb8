// Runs `breakwater standalone` as a user does, in a process group and with temporary files of its own, so that what it leaves behind is seen.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ReadyLine, readyLine } from '../../cli/standalone/ready-line.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';

const command = resolve(import.meta.dirname, '../../cli/bin/breakwater.js');
/** Generous: these tests run beside others on few cores. */
const WAIT_MS = 30_000;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What stands before the arguments, where nobody says otherwise. */
export const LAUNCHER: readonly string[] = [process.execPath, command];

export class Standalone {
  /** The manifests. */
  readonly folder: string;
  readonly child: ChildProcess;
  readonly output: string[] = [];
  readonly exit: Promise<Exit>;
  errors = '';
  readonly #base: string;

  /** `launcher`: what stands before the arguments; breakwater.js run by this Node where absent. */
  constructor(
    files: Record<string, string>,
    launcher: readonly string[] = LAUNCHER,
    environment: Record<string, string> = {},
  ) {
    this.#base = temporaryFolder('test-standalone');
    this.folder = join(this.#base, 'manifests');
    mkdirSync(this.folder);
    mkdirSync(this.temporary);
    for (const [name, text] of Object.entries(files)) this.write(name, text);
    const [program = '', ...first] = launcher;
    this.child = spawn(program, [...first, 'standalone', this.folder], {
      // A session, and so a process group, of its own.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: this.temporary, ...environment },
    });
    createInterface({ input: this.#stream('stdout') }).on('line', (line) => this.output.push(line));
    this.#stream('stderr').on('data', (chunk: Buffer) => {
      this.errors += chunk.toString();
    });
    this.exit = new Promise((done) => this.child.once('exit', (code, signal) => done({ code, signal })));
  }

  /** What it may leave files in. */
  get temporary(): string {
    return join(this.#base, 'tmp');
  }

  /** At once, so that nobody reads half of it. */
  write(name: string, text: string): void {
    const beside = join(this.temporary, `${name}.new`);
    writeFileSync(beside, text);
    renameSync(beside, join(this.folder, name));
  }

  remove(name: string): void {
    rmSync(join(this.folder, name));
  }

  async ready(): Promise<ReadyLine> {
    await until(
      () => this.output.length > 0 || this.child.exitCode !== null,
      () => `it is ready; it said\n${this.errors}`,
    );
    return readyLine.parse(JSON.parse(this.output[0] ?? ''));
  }

  /** Lines of its log with this message, parsed. */
  logged(message: string): Record<string, unknown>[] {
    return this.errors
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((entry) => entry['msg'] === message);
  }

  /** Process ids of its group, its first process included. */
  group(): number[] {
    return processesOfGroup(this.child.pid ?? 0);
  }

  /** Those of its group that run a sidecar. */
  sidecars(): number[] {
    return this.group().filter((pid) => commandOf(pid).includes('sidecar/main.ts'));
  }

  /** Ends whatever is left; to be called by every test. */
  async cleanUp(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    await Promise.race([this.exit, sleep(WAIT_MS)]);
    for (const pid of this.group()) process.kill(pid, 'SIGKILL');
    rmSync(this.#base, { recursive: true, force: true });
  }

  #stream(name: 'stdout' | 'stderr') {
    const stream = this.child[name];
    if (stream === null) throw new Error(`no ${name}`);
    return stream;
  }
}

function commandOf(pid: number): string {
  const file = `/proc/${pid}/cmdline`;
  if (existsSync(file)) return readFileSync(file, 'utf8');
  return execFileSync('ps', ['-p', String(pid), '-o', 'args=']).toString();
}

/** Those that still run; what has ended and only waits to be collected does not count. */
function processesOfGroup(group: number): number[] {
  if (!existsSync('/proc/self/stat')) {
    const rows = execFileSync('ps', ['-A', '-o', 'pid=,pgid=,stat=']).toString().trim().split('\n');
    return rows.flatMap((row) => {
      const [pid, its, state = ''] = row.trim().split(/\s+/);
      return Number(its) === group && !state.startsWith('Z') ? [Number(pid)] : [];
    });
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [state, , its] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return Number(its) === group && state !== 'Z' && state !== 'X' ? [Number(pid)] : [];
      } catch {
        return [];
      }
    });
}

/** Looks again and again; throws with what was waited for after some seconds. */
export async function until(condition: () => boolean | Promise<boolean>, what: string | (() => string)): Promise<void> {
  for (const endMs = performance.now() + WAIT_MS; ; await sleep(20)) {
    if (await condition()) return;
    if (performance.now() > endMs) throw new Error(`waited in vain until ${typeof what === 'string' ? what : what()}`);
  }
}

export interface Upstream {
  port: number;
  /** Requests that arrived. */
  seen: { method: string; url: string; host: string }[];
  server: Server;
  close(): Promise<void>;
}

/** A real HTTP server on 127.0.0.1. */
export async function startUpstream(
  answer: (incoming: IncomingMessage, response: ServerResponse) => void,
): Promise<Upstream> {
  const seen: Upstream['seen'] = [];
  const server = createServer((incoming, response) => {
    seen.push({ method: incoming.method ?? '', url: incoming.url ?? '', host: incoming.headers.host ?? '' });
    answer(incoming, response);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const close = () =>
    new Promise<void>((closed) => {
      server.close(() => closed());
      server.closeAllConnections();
    });
  return { port: (server.address() as AddressInfo).port, seen, server, close };
}

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: string;
  durationMs: number;
}

/** `address`: "HOST:PORT" of the ready line. Rejects where the connection breaks. */
export function call(address: string | undefined, path = '/', method = 'GET'): Promise<Answer> {
  const begunMs = performance.now();
  return new Promise((answered, failed) => {
    const outgoing = request(`http://${address ?? 'missing:1'}${path}`, { method, agent: false }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        body += chunk;
      });
      incoming.on('end', () =>
        answered({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body,
          durationMs: performance.now() - begunMs,
        }),
      );
      incoming.on('error', failed);
    });
    outgoing.on('error', failed);
    outgoing.end();
  });
}

// Manifests, each as one YAML document.

export const pod = (name: string, labels: Record<string, string> = { app: name }, namespace = 'shop'): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { containers: [{ name: 'app', image: 'app' }] },
  });

export const service = (name: string, namespace = 'shop'): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    // An address that leads nowhere: nothing may ever be dialled there.
    spec: { clusterIP: '198.51.100.7', ports: [{ name: 'http', port: 80 }] },
  });

export const endpoints = (name: string, ports: readonly number[], namespace = 'shop'): string =>
  ports
    .map((port, index) =>
      JSON.stringify({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${name}-${index}`, namespace, labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port }],
        endpoints: [{ addresses: ['127.0.0.1'] }],
      }),
    )
    .join('\n---\n');

export const dependency = (name: string, app: string, services: readonly string[], namespace = 'shop'): string =>
  JSON.stringify({
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name, namespace },
    spec: {
      consumer: { selector: { matchLabels: { app } } },
      dependsOn: services.map((one) => ({ name: one, service: { name: one, port: 80 } })),
    },
  });

export const policy = (name: string, target: string, blocks: object, namespace = 'shop'): string =>
  JSON.stringify({
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: { name, namespace },
    spec: { targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: target }], ...blocks },
  });

export const documents = (...texts: readonly string[]): string => texts.join('\n---\n');
