// HTTPS to the operator: long responses to read, small POSTs. Decides nothing; every failure comes back as one of the reasons that people see.
import { readFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type * as Https from 'node:https';
import type { LookupFunction, Socket } from 'node:net';
import { REPLICA_HEADER, REPLICA_NAME } from '../../plan/wire.ts';
import type { FailureReason } from './stream-machine.ts';
import type { Trust } from './trust.ts';

export class OperatorError extends Error {
  override name = 'OperatorError';
  readonly reason: FailureReason;

  constructor(reason: FailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export interface StreamListener {
  opened(): void;
  chunk(bytes: Buffer): void;
  /** Called once, unless `close` came first. */
  failed(error: OperatorError): void;
}

/** What a sidecar does with its operator; OperatorClient does it over HTTPS. */
export interface OperatorConnection {
  /** Opens a long response; `close` ends it without a further call. Nothing is told inside this call. */
  open(path: string, listener: StreamListener): { close(): void };
  /** Sends one report about the stream of that path; rejects with OperatorError unless the operator took it. */
  post(path: string, body: unknown, streamPath: string): Promise<void>;
  close(): void;
}

export interface OperatorClientOptions {
  url: URL;
  tokenFile: string;
  trust: Trust;
  /** Resolves the name of the operator. */
  lookup: LookupFunction;
  /** Bound on a POST, from the connect to the end of the answer. */
  postTimeoutMs: number;
}

/** Loaded by the first stream, and not before the sidecar serves: TLS is a tenth of its start. */
function https(): typeof Https {
  return process.getBuiltinModule('node:https');
}

const KEEP_ALIVE_MS = 15_000;
const POST_IDLE_MS = 4_000;
const MAX_ERROR_BODY_BYTES = 4096;
const MAX_EXPLANATION_LENGTH = 300;

export class OperatorClient implements OperatorConnection {
  readonly #options: OperatorClientOptions;
  /** Reports come in bursts: one connection serves a burst, and is gone before the operator closes it. */
  #postAgent: Https.Agent | null = null;

  /** Path of an open stream → the replica of the operator that holds it. */
  readonly #replicas = new Map<string, string>();

  constructor(options: OperatorClientOptions) {
    this.#options = options;
  }

  close(): void {
    this.#postAgent?.destroy();
  }

  open(path: string, listener: StreamListener): { close(): void } {
    let over = false;
    let outgoing: ClientRequest | null = null;
    const fail = (error: OperatorError) => {
      if (over) return;
      over = true;
      this.#replicas.delete(pathOf(path));
      outgoing?.destroy();
      listener.failed(error);
    };
    try {
      outgoing = https().request(this.#requestOptions('GET', path));
    } catch (error) {
      // Told later, so that the caller holds the handle when it hears of the failure.
      queueMicrotask(() => fail(asOperatorError(error)));
    }
    outgoing?.on('socket', (socket: Socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    outgoing?.on('error', (error) => fail(asOperatorError(error)));
    outgoing?.on('response', (response) => {
      if (response.statusCode !== 200) {
        void readRefusal(response).then(fail);
        return;
      }
      if (over) return;
      const replica = response.headers[REPLICA_HEADER];
      if (typeof replica === 'string' && REPLICA_NAME.test(replica)) this.#replicas.set(pathOf(path), replica);
      listener.opened();
      response.on('data', (bytes: Buffer) => {
        if (!over) listener.chunk(bytes);
      });
      response.on('error', (error) =>
        fail(new OperatorError('lost', `the connection was lost: ${error.message}`, { cause: error })),
      );
      response.on('close', () => fail(new OperatorError('lost', 'the operator closed the connection')));
    });
    outgoing?.end();
    return {
      close: () => {
        if (!over) this.#replicas.delete(pathOf(path));
        over = true;
        outgoing?.destroy();
      },
    };
  }

  post(path: string, body: unknown, streamPath: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(asOperatorError(error));
      try {
        const text = JSON.stringify(body);
        const replica = this.#replicas.get(streamPath);
        const options = this.#requestOptions('POST', path, {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          // Any replica may take it: it goes on to the one that this names.
          ...(replica === undefined ? {} : { [REPLICA_HEADER]: replica }),
        });
        this.#postAgent ??= new (https().Agent)({ keepAlive: true, maxSockets: 1, timeout: POST_IDLE_MS });
        options.agent = this.#postAgent;
        options.signal = AbortSignal.timeout(this.#options.postTimeoutMs);
        const outgoing = https().request(options, (response) => {
          response.on('error', fail);
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300) response.resume().on('end', resolve);
          else void readRefusal(response).then(fail);
        });
        outgoing.on('error', fail);
        outgoing.end(text);
      } catch (error) {
        fail(error);
      }
    });
  }

  #requestOptions(method: string, path: string, headers: OutgoingHttpHeaders = {}): Https.RequestOptions {
    const { url, tokenFile, trust, lookup } = this.#options;
    return {
      method,
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? 443 : Number(url.port),
      path: `${url.pathname.replace(/\/$/, '')}${path}`,
      lookup,
      ca: readAuthorities(trust),
      // The kubelet replaces the token while it is still good; each connection takes the newest.
      headers: {
        ...headers,
        authorization: `Bearer ${readToken(tokenFile)}`,
        accept: 'application/x-ndjson, application/json',
      },
      agent: false,
      minVersion: 'TLSv1.2',
    };
  }
}

function pathOf(pathAndQuery: string): string {
  return pathAndQuery.split('?', 1)[0] ?? '';
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new OperatorError('no-token', `the token cannot be read: ${(error as Error).message}`, { cause: error });
  }
  if (!/^[\x21-\x7e]+$/.test(token)) throw new OperatorError('no-token', `${file} holds no token`);
  return token;
}

function readAuthorities(trust: Trust): string[] {
  try {
    return trust.authorities();
  } catch (error) {
    throw new OperatorError('untrusted', `the CA bundle cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

const STATUS_REASONS: Readonly<Record<number, FailureReason>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  429: 'unavailable',
};

/** What it fails of itself, or something on the way to it, passes: 5xx is no word about what was asked. */
function reasonOf(status: number): FailureReason {
  return STATUS_REASONS[status] ?? (status >= 500 ? 'unavailable' : 'unexpected-answer');
}

/** Turns a refusal into an error that carries what the operator wrote, bounded. */
function readRefusal(response: IncomingMessage): Promise<OperatorError> {
  return new Promise((resolve) => {
    const status = response.statusCode ?? 0;
    let body = '';
    const finish = () => {
      response.destroy();
      const said = explanationIn(body);
      const message = `the operator answered ${status}${said === '' ? '' : `: ${said}`}`;
      resolve(new OperatorError(reasonOf(status), message));
    };
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      body += text;
      if (body.length > MAX_ERROR_BODY_BYTES) finish();
    });
    response.on('error', finish);
    response.on('close', finish);
  });
}

/** The operator explains itself in JSON; whatever else answers at its address is quoted, shortened. */
function explanationIn(body: string): string {
  let text = body;
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === 'string') text = message;
  } catch {
    // Not JSON: quoted as it is.
  }
  return text.slice(0, MAX_EXPLANATION_LENGTH).replaceAll(/\s+/g, ' ').trim();
}

const TLS_CODES = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|HOSTNAME_MISMATCH|EPROTO)/;

function asOperatorError(error: unknown): OperatorError {
  if (error instanceof OperatorError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'ABORT_ERR') return new OperatorError('silent', 'the operator did not answer in time', { cause: error });
  if (TLS_CODES.test(code)) {
    return new OperatorError('untrusted', `no trusted TLS connection: ${message} (${code})`, { cause: error });
  }
  return new OperatorError('unreachable', `the operator cannot be reached: ${message}`, { cause: error });
}
