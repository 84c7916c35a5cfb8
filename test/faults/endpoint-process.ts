// One endpoint of a dependency as a pod runs it: a process that says its port, answers by `echo` (open-load.ts), and at SIGTERM goes on for what
// its grace is before it closes. Each answer of one that ends closes its connection, as those of most servers do.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { echo } from './open-load.ts';

export class EndpointProcess {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(graceMs: number): Promise<EndpointProcess> {
    const child = spawn(process.execPath, [import.meta.filename, String(graceMs)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    return new EndpointProcess(child, Number(line));
  }

  /** Resolves when the process is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await once(this.#child, 'exit');
  }
}

async function main(graceMs: number): Promise<void> {
  let isEnding = false;
  const server = createServer((incoming, response) => {
    if (isEnding) response.setHeader('connection', 'close');
    echo(incoming, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  await once(process, 'SIGTERM');
  isEnding = true;
  await sleep(graceMs);
  server.close();
}

if (import.meta.main) await main(Number(process.argv[2]));
