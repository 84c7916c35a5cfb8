// Toxiproxy, as far as the tests here use it: a process with an HTTP interface, in which each proxy may have toxics.

import { freePorts } from '../../bench/loopback.ts';
import { Processes } from '../../bench/processes.ts';
import { until } from '../standalone/harness.ts';
import { partPath } from './parts.ts';

export interface Toxic {
  type: 'latency' | 'bandwidth' | 'slow_close' | 'timeout' | 'reset_peer' | 'slicer' | 'limit_data';
  attributes: Readonly<Record<string, number>>;
}

export class Toxiproxy {
  readonly #processes = new Processes();
  readonly #api: string;

  private constructor(apiPort: number) {
    this.#api = `http://127.0.0.1:${apiPort}`;
    this.#processes.start(0, partPath('toxiproxy'), ['-host', '127.0.0.1', '-port', String(apiPort)]);
  }

  static async start(): Promise<Toxiproxy> {
    const [apiPort = 0] = await freePorts(1);
    const toxiproxy = new Toxiproxy(apiPort);
    await until(
      () =>
        toxiproxy.#ask('GET', '/version').then(
          () => true,
          () => false,
        ),
      'Toxiproxy answers',
    );
    return toxiproxy;
  }

  async proxy(name: string, port: number, upstreamPort: number): Promise<void> {
    await this.#ask('POST', '/proxies', {
      name,
      listen: `127.0.0.1:${port}`,
      upstream: `127.0.0.1:${upstreamPort}`,
      enabled: true,
    });
  }

  /** `stream`: on what comes from the client (`upstream`) or goes to it (`downstream`). */
  async poison(proxy: string, stream: 'upstream' | 'downstream', { type, attributes }: Toxic): Promise<void> {
    await this.#ask('POST', `/proxies/${proxy}/toxics`, { name: 'toxic', type, stream, toxicity: 1, attributes });
  }

  async cure(proxy: string): Promise<void> {
    await this.#ask('DELETE', `/proxies/${proxy}/toxics/toxic`);
  }

  stop(): Promise<void> {
    return this.#processes.endAll();
  }

  async #ask(method: string, path: string, body?: object): Promise<void> {
    const response = await fetch(`${this.#api}${path}`, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
    if (!response.ok) throw new Error(`Toxiproxy answers ${path} with ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
  }
}
