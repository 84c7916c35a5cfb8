// What is fuzzed: a data path in a process of its own, which begins within a second (data-path.ts), or a whole sidecar as it is delivered.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from '../../harness/temporary-folder.ts';
import { Probe } from '../../soak/probe.ts';
import { until } from '../../standalone/harness.ts';
import { ConformanceSidecar } from '../sidecar.ts';
import type { Declared, Held, Ports, Told } from './data-path.ts';

export interface Target {
  readonly ports: Ports;
  /** How its process has ended; null: it lives. */
  readonly death: string | null;
  /**
   * Resolves when nothing is taken but so many connections of applications, and none to these ports; rejects with what is, after a time that is far
   * away, or when the process ends.
   */
  untilIdle(clientConnections: number, hostile: readonly number[]): Promise<void>;
  /** What may not grow from one look at it to another. */
  size(): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
}

export type StartTarget = (declared: readonly Declared[]) => Promise<Target>;

const WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 20;

export const startDataPath: StartTarget = async (declared) => {
  const child = fork(join(import.meta.dirname, 'data-path.ts'), {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  let errors = '';
  let death: string | null = null;
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-20_000);
  });
  const gone = once(child, 'close').then(([code, signal]) => {
    death = `it ended by ${signal ?? `exit code ${code}`}\n${errors}`;
  });
  const ask = async <Answer>(told: Told): Promise<Answer> => {
    if (!child.connected) {
      await gone;
      throw new Error(death ?? '');
    }
    const answered = once(child, 'message') as Promise<[Answer]>;
    child.send(told as object | null as object);
    const answer = await Promise.race([answered, gone]);
    if (answer === undefined) throw new Error(death ?? 'it ended');
    return answer[0];
  };
  const ports = await ask<Ports>(declared);
  return {
    ports,
    get death() {
      return death;
    },
    async untilIdle(clientConnections, hostile) {
      let left: Record<string, unknown> = {};
      for (const endMs = performance.now() + WITHIN_MS; performance.now() < endMs; await sleep(LOOK_EVERY_MS)) {
        left = takenOf(await ask<Held>(null), clientConnections, hostile);
        if (Object.keys(left).length === 0) return;
      }
      throw new Error(`it stays taken: ${JSON.stringify(left)}`);
    },
    size: () => Promise.resolve({ files: filesOf(child.pid ?? 0) }),
    stop: () => ended(child, gone),
  };
};

function takenOf(held: Held, clientConnections: number, hostile: readonly number[]): Record<string, unknown> {
  const upstream = held.upstream.filter((port) => hostile.includes(port));
  const counts = { ...held, clientConnections: held.clientConnections - clientConnections, upstream: upstream.length };
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

const filesOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

async function ended(child: ChildProcess, gone: Promise<void>): Promise<void> {
  child.kill('SIGKILL');
  await gone;
}

const HURRIED = {
  timeouts: { request: '400ms', attempt: '150ms', connect: '150ms', idle: '1s' },
  retries: { maxAttempts: 2, budget: { percent: 100, minPerSecond: 1_000 } },
  bulkhead: { maxConcurrent: 2, maxQueued: 1, queueTimeout: '40ms' },
};

export const startSidecar: StartTarget = async (declared) => {
  const folder = temporaryFolder('http2-fuzz');
  const probe = new Probe(folder);
  const sidecar = await ConformanceSidecar.start(
    Object.fromEntries(
      declared.map(({ name, port, hurried }) => [
        name,
        { ports: [port], appProtocol: 'kubernetes.io/h2c' as const, ...(hurried ? { policy: HURRIED } : {}) },
      ]),
    ),
    [],
    probe.environment,
  );
  const death = (): string | null => {
    try {
      process.kill(sidecar.pid, 0);
      return null;
    } catch {
      return `the sidecar has ended\n${sidecar.log.slice(-20_000)}`;
    }
  };
  return {
    ports: Object.fromEntries(declared.map(({ name }) => [name, sidecar.port(name)])),
    get death() {
      return death();
    },
    async untilIdle(clientConnections) {
      await sidecar.untilIdle();
      let connections = 0;
      await until(
        async () => (connections = await sidecar.metric('breakwater_client_connections')) === clientConnections,
        () => `${clientConnections} connections of applications are left, and not ${connections}`,
      );
    },
    async size() {
      const { objects, timers, handles } = await probe.ask(sidecar.pid);
      return { objects, timers, handles, files: filesOf(sidecar.pid) };
    },
    async stop() {
      await sidecar.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
