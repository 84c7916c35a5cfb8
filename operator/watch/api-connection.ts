// The connections to the API server, as the kubeconfig says. client-node reads credentials; the connections are ours, because it makes a new
// dispatcher, and so a new TLS handshake, for every call. One undici Agent is shared by all calls and watches, and is made anew only when
// what it was made of (CA, client certificate, server name) has changed on disk.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';

export interface Connection {
  /** What `dispatcher` was made of. */
  fingerprint: string;
  dispatcher: Dispatcher;
  headers: Record<string, string>;
  readAtMs: MonotonicMs;
}

/** Files of credentials are read again this often, and at once after a 401. */
const CREDENTIALS_MAX_AGE_MS = 10_000;

export class ApiConnection {
  readonly #kubeConfig: KubeConfig;
  readonly #clock: Clock;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;

  constructor(kubeConfig: KubeConfig, clock: Clock) {
    this.#kubeConfig = kubeConfig;
    this.#clock = clock;
  }

  /** `fresh`: what is known is not believed. */
  async connect(fresh: boolean): Promise<Connection> {
    const known = this.#connection;
    const nowMs = this.#clock.monotonicMs();
    if (!fresh && known !== undefined && nowMs - known.readAtMs < CREDENTIALS_MAX_AGE_MS) return known;
    this.#connecting ??= this.#readCredentials().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #readCredentials(): Promise<Connection> {
    const kubeConfig = this.#kubeConfig;
    const https: RequestOptions = {};
    await kubeConfig.applyToHTTPSOptions(https);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(https.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
    if (typeof https.auth === 'string')
      headers['authorization'] = `Basic ${Buffer.from(https.auth).toString('base64')}`;
    // client-node keeps the token of a file for a minute, whatever the server says of it.
    const tokenFile: unknown = kubeConfig.getCurrentUser()?.authProvider?.config?.tokenFile;
    if (typeof tokenFile === 'string') {
      headers['authorization'] = `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
    }
    const fingerprint = fingerprintOf(https);
    const known = this.#connection;
    const readAtMs = this.#clock.monotonicMs();
    if (known?.fingerprint === fingerprint) {
      this.#connection = { ...known, headers, readAtMs };
      return this.#connection;
    }
    const dispatcher = createDispatcher(kubeConfig, https);
    this.#connection = { fingerprint, dispatcher, headers, readAtMs };
    // Not destroyed: calls and watches under way finish on the old connections, which then close by themselves.
    void known?.dispatcher.close().catch(() => undefined);
    return this.#connection;
  }

  /** Calls and watches under way fail. */
  async close(): Promise<void> {
    await this.#connection?.dispatcher.destroy();
    this.#connection = undefined;
  }
}

function fingerprintOf(https: RequestOptions): string {
  const hash = createHash('sha256');
  for (const part of [https.ca, https.cert, https.key]) {
    hash.update(part === undefined ? '-' : Buffer.from(part as Buffer | string)).update('\0');
  }
  return hash.update(JSON.stringify([https.servername, https.rejectUnauthorized])).digest('hex');
}

function createDispatcher(kubeConfig: KubeConfig, https: RequestOptions): Dispatcher {
  const cluster = kubeConfig.getCurrentCluster();
  const tls = {
    ...(https.ca === undefined ? {} : { ca: https.ca }),
    ...(https.cert === undefined ? {} : { cert: https.cert }),
    ...(https.key === undefined ? {} : { key: https.key }),
    ...(https.servername === undefined ? {} : { servername: https.servername }),
    ...(https.rejectUnauthorized === undefined ? {} : { rejectUnauthorized: https.rejectUnauthorized }),
  };
  // A half-open connection is found by the kernel within seconds of silence, not by the first lost request.
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: 10_000, timeout: 5_000 };
  if (cluster?.proxyUrl !== undefined) {
    if (!cluster.proxyUrl.startsWith('http'))
      throw new Error(`proxy-url ${cluster.proxyUrl}: only http proxies are supported`);
    return new ProxyAgent({ uri: cluster.proxyUrl, requestTls: connect, allowH2: false });
  }
  // HTTP/2 is off: a watch must own its connection, or one lost connection silences all of them at once.
  return new Agent({ connect, allowH2: false, keepAliveTimeout: 30_000 });
}
