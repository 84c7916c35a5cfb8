// A sidecar as a process of its own, beside whichever operator is at a port: either may be killed and begun anew.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseMetrics, type Sample, sumOf } from '../../cli/prometheus-text.ts';
import type { ReadyMessage } from '../../sidecar/control/announcer.ts';
import { SIDECAR_NODE_ENVIRONMENT, SIDECAR_NODE_FLAGS } from '../../sidecar/node-flags.ts';

const MAIN = resolve(import.meta.dirname, '../../sidecar/main.ts');

export interface WholeSidecarOptions {
  /** Of its token and its state; it survives a restart. */
  folder: string;
  token: string;
  operatorUrl: URL;
  /** PEM. */
  caBundle: string;
  /** Added to that of the process. */
  environment?: Readonly<Record<string, string>>;
}

export class WholeSidecar {
  readonly child: ChildProcess;
  /** What it wrote to standard error. */
  log = '';
  readonly #told: ReadyMessage[] = [];
  #last: ReadyMessage | undefined;

  constructor({ folder, token, operatorUrl, caBundle, environment }: WholeSidecarOptions) {
    mkdirSync(join(folder, 'state'), { recursive: true });
    writeFileSync(join(folder, 'token'), token);
    this.child = spawn(process.execPath, [...SIDECAR_NODE_FLAGS, MAIN], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
        ...SIDECAR_NODE_ENVIRONMENT,
        BREAKWATER_CAPTURE: 'explicit',
        BREAKWATER_OPERATOR_URL: operatorUrl.href,
        BREAKWATER_TOKEN_FILE: join(folder, 'token'),
        BREAKWATER_CA_BUNDLE: caBundle,
        BREAKWATER_STATE_DIRECTORY: join(folder, 'state'),
        BREAKWATER_ADMIN_HOST: '127.0.0.1',
        BREAKWATER_ADMIN_PORT: '0',
        BREAKWATER_CONTROL_PORT: '0',
        // Whoever started it may die without taking it along.
        BREAKWATER_PARENT_WATCH: '0',
        ...environment,
      },
    });
    const { stdout, stderr } = this.child;
    if (stdout === null || stderr === null) throw new Error('no pipes');
    createInterface({ input: stdout }).on('line', (line) => {
      this.#last = JSON.parse(line) as ReadyMessage;
      this.#told.push(this.#last);
    });
    stderr.on('data', (chunk: Buffer) => {
      this.log += chunk.toString();
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the sidecar could not be started');
    return this.child.pid;
  }

  /** It said where it listens. */
  get isReady(): boolean {
    if (this.child.exitCode !== null) throw new Error(`the sidecar ended:\n${this.log}`);
    return this.#last !== undefined;
  }

  /** Where the application finds a dependency: "127.0.0.1:PORT". */
  address(dependency: string): string {
    const address = this.#last?.dependencies[dependency];
    if (address === undefined) throw new Error(`no dependency ${dependency}`);
    return address;
  }

  async metrics(): Promise<Sample[]> {
    return parseMetrics(await (await fetch(`${this.#last?.admin}/metrics`)).text());
  }

  async metric(name: string): Promise<number> {
    return sumOf(await this.metrics(), name, () => true);
  }

  /** Version of the plan that is in force. */
  async planVersion(): Promise<string> {
    const samples = await this.metrics();
    return samples.find(({ name }) => name === 'breakwater_plan_info')?.labels['version'] ?? '';
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}
