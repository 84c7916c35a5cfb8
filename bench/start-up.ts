// How long a proxy takes from its start until it says that it is ready, and until it has answered its first request.
import { connect } from 'node:net';
import { systemClock as clock } from '../runtime/clock.ts';
import type { Program } from './processes.ts';
import { cpuNanoseconds, processTree } from './procfs.ts';

const LOOK_EVERY_MS = 1;
const READY_WITHIN_MS = 15_000;

export interface StartUp {
  /** From the start of the process until its readiness was answered with 200. */
  readyMs: number;
  /** CPU time of all its threads until then. */
  readyCpuMs: number;
  /** From the start of the process until the first request was answered with 200. */
  firstAnswerMs: number;
}

export interface StartUpSubject {
  name: string;
  port: number;
  /** Where and by which path it says that it is ready. */
  adminPort: number;
  readyPath: string;
  start: () => Program;
}

/** Starts it, measures, and ends it. */
export async function measureStartUp(
  { port, adminPort, readyPath, start }: StartUpSubject,
  path: string,
): Promise<StartUp> {
  const startedMs = clock.monotonicMs();
  const program = start();
  try {
    const deadlineMs = startedMs + READY_WITHIN_MS;
    await Promise.race([untilStatus200(adminPort, readyPath, deadlineMs), program.failed]);
    const readyMs = clock.monotonicMs() - startedMs;
    const readyCpuMs = cpuNanoseconds(processTree(program.pid)) / 1e6;
    await Promise.race([untilStatus200(port, path, deadlineMs), program.failed]);
    return { readyMs, readyCpuMs, firstAnswerMs: clock.monotonicMs() - startedMs };
  } finally {
    await program.end();
  }
}

/** Asks again every millisecond, by hand: a client that costs more than the answer would be measured instead. */
async function untilStatus200(port: number, path: string, deadlineMs: number): Promise<void> {
  for (;;) {
    const status = await statusOf(port, path).catch((error: unknown) => error);
    if (status === '200') return;
    if (clock.monotonicMs() > deadlineMs)
      throw new Error(`${path} of port ${port} is not answered with 200: ${String(status)}`);
    await clock.sleep(LOOK_EVERY_MS);
  }
}

function statusOf(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let head = '';
    socket.setEncoding('latin1');
    socket.on('connect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`));
    socket.on('data', (text: string) => {
      head += text;
      if (!head.includes('\r\n')) return;
      resolve(head.slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection was closed before an answer')));
  });
}
