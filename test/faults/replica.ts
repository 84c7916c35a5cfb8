// A replica of the operator as the kubelet runs it: at the same address each time, begun anew when it loses the lead. A proxy of its own
// stands between it and the API server.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OperatorConfig } from '../../operator/config.ts';
import { type RunningOperator, startOperator } from '../../operator/main.ts';
import { TIMINGS, type Timings } from '../../operator/platform.ts';
import { installedConfig } from '../../operator/testing/installed.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { ControlPlane } from '../harness/control-plane.ts';
import { FaultProxy } from '../harness/fault-proxy.ts';

/** The waits of an operator, a hundred times shorter; its time limits, ten times; a fifth of the times of its election. */
export const HASTY: Timings = {
  election: { leaseDurationMs: 3_000, renewWithinMs: 2_000, retryMs: 400 },
  reflector: {
    ...TIMINGS.reflector,
    backoff: { initialMs: 20, maxMs: 250, resetAfterMs: 2_000 },
    notThereYetMaxMs: 200,
    listTimeoutMs: 2_000,
    watchHeadTimeoutMs: 2_000,
    watchSilenceMs: 2_000,
    veryShortMs: 50,
  },
  // Nobody comes by a Service.
  drainMs: 0,
};

/** Keeps who leads, by what the replicas say of themselves, and when that was more than one. */
export class Leads {
  readonly now = new Set<string>();
  /** Two that led at the same time, or one that wrote while the other one led. */
  readonly violations: string[] = [];

  logger(replica: string): Logger {
    const told = (_fields: unknown, message?: string) => this.#told(replica, message ?? '');
    return {
      debug: () => undefined,
      info: told,
      warn: told,
      error: told,
      fatal: told,
      child: () => this.logger(replica),
    };
  }

  wroteStatus(replica: string): void {
    if (this.now.size > 0 && !this.now.has(replica)) this.violations.push(`${replica} wrote while another one led`);
  }

  #told(replica: string, message: string): void {
    if (message === 'this replica leads') this.now.add(replica);
    else if (/could not be renewed in time|was lost to another|given back/.test(message)) this.now.delete(replica);
    if (this.now.size > 1) this.violations.push(`${[...this.now].join(' and ')} led`);
  }
}

export class Replica {
  readonly name: string;
  readonly proxy: FaultProxy;
  readonly leads: Leads;
  restarts = 0;
  /** Answers of /readyz other than 200 after the first 200 of this process. */
  readonly unready: string[] = [];
  #config: OperatorConfig;
  #operator: RunningOperator | undefined;
  #hasBeenReady = false;
  #starting: Promise<void> | undefined;
  readonly #stopping = new AbortController();

  constructor(name: string, proxy: FaultProxy, leads: Leads, kubeconfig: string) {
    this.name = name;
    this.proxy = proxy;
    this.leads = leads;
    this.#config = installedConfig(kubeconfig, name);
  }

  static async create(
    name: string,
    { plane, folder, leads, random }: { plane: ControlPlane; folder: string; leads: Leads; random: Random },
  ): Promise<Replica> {
    const { serverUrl, caFile, keyFile, kubeconfigPath } = plane;
    const proxy = new FaultProxy({ upstreamUrl: serverUrl, certificateFile: caFile, keyFile, random });
    await proxy.start();
    const kubeconfig = join(folder, `${name}.kubeconfig`);
    await writeFile(kubeconfig, (await readFile(kubeconfigPath, 'utf8')).replaceAll(serverUrl, proxy.url));
    return new Replica(name, proxy, leads, kubeconfig);
  }

  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  get httpsPort(): number {
    return this.#config.https.port;
  }

  trustBundle(): string {
    return this.#operator?.trustBundle() ?? '';
  }

  /** What /readyz says: "200 ok". Empty while there is nobody to ask. */
  async readiness(): Promise<string> {
    const operator = this.#operator;
    if (operator === undefined) return '';
    const response = await fetch(`http://127.0.0.1:${operator.adminPort}/readyz`);
    const said = `${response.status} ${(await response.text()).trim()}`;
    // Another process by now, or one that ends.
    if (operator !== this.#operator) return '';
    if (response.ok) this.#hasBeenReady = true;
    else if (this.#hasBeenReady) this.unready.push(said);
    return said;
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the test is over'));
    await this.#starting?.catch(() => undefined);
    await this.#operator?.stop();
    await this.proxy.stop();
  }

  async #start(): Promise<void> {
    const operator = await startOperator(this.#config, this.#stopping.signal, this.leads.logger(this.name), HASTY);
    this.#operator = operator;
    const { httpsPort: port } = operator;
    this.#config = { ...this.#config, https: { ...this.#config.https, port } };
    void operator.leadLost.then(() => {
      if (this.#stopping.signal.aborted) return;
      this.#starting = this.#restart(operator);
      this.#starting.catch(() => undefined);
    });
  }

  async #restart(before: RunningOperator): Promise<void> {
    this.#operator = undefined;
    this.#hasBeenReady = false;
    this.restarts += 1;
    await before.stop();
    await this.#start();
  }
}
