// A real operator before a folder of manifests, as a process of its own that can be killed and begun anew: its authority is in its folder of
// state, and its port stays. Started with one argument, the JSON of `OperatorOptions`; says where it is when it is ready.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { startOperator } from '../../operator/main.ts';

export interface OperatorOptions {
  folder: string;
  stateFolder: string;
  /** 0: a free one. */
  port: number;
  /** Of the one sidecar that the folder asks for. */
  token: string;
}

interface Told {
  port: number;
  caBundle: string;
}

export class OperatorProcess {
  readonly #child: ChildProcess;
  readonly port: number;
  readonly caBundle: string;

  private constructor(child: ChildProcess, { port, caBundle }: Told) {
    this.#child = child;
    this.port = port;
    this.caBundle = caBundle;
  }

  static async start(options: OperatorOptions): Promise<OperatorProcess> {
    const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let log = '';
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
    const line = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text)),
      once(child, 'exit').then(() => ''),
    ]);
    if (line === '') throw new Error(`the operator ended:\n${log}`);
    return new OperatorProcess(child, JSON.parse(line) as Told);
  }

  get url(): URL {
    return new URL(`https://127.0.0.1:${this.port}`);
  }

  /** SIGKILL: it can tell nobody. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

async function main({ folder, stateFolder, port, token }: OperatorOptions): Promise<void> {
  const loopback = { host: '127.0.0.1', port: 0 };
  const operator = await startOperator({
    source: { kind: 'folder', folder, stateFolder },
    clusterDomain: 'cluster.local',
    https: { ...loopback, port },
    admin: loopback,
    logLevel: 'info',
  });
  while (operator.waitingFor().length > 0) await sleep(10);
  const sidecars = operator.folder?.sidecars() ?? [];
  operator.folder?.setTokens(sidecars.map(({ namespace, name, uid }) => ({ token, namespace, name, uid })));
  process.stdout.write(`${JSON.stringify({ port: operator.httpsPort, caBundle: operator.trustBundle() })}\n`);
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? '{}') as OperatorOptions);
